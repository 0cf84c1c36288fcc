//! The state machine of TCP (RFC 9293, section 3.3.2) with the path that a connection took.

use ratatui::{buffer::Buffer, layout::Rect, style::Style, text::Line, widgets::Widget};

use super::{DIM, HEADING, STRONG};
use crate::{core::tcp::TcpState, view::changes::why::Mark};

/// The picture of the states. Lines between states lead from the upper state to the lower one.
const PICTURE: [&str; 15] = [
    "                 CLOSE",
    "         ┌─────────┴────────┐",
    "      LISTEN            SYN_SENT",
    "         │                  │",
    "      SYN_RECV ─────────────┤",
    "         └─────────┬────────┘",
    "              ESTABLISHED",
    "         ┌─────────┴────────┐",
    "     FIN_WAIT1          CLOSE_WAIT",
    "    ┌────┴─────┐            │",
    "FIN_WAIT2   CLOSING      LAST_ACK",
    "    └────┬─────┘            │",
    "     TIME_WAIT              │",
    "         └─────────┬────────┘",
    "                 CLOSE",
];

/// Columns of the picture.
pub(super) const WIDTH: u16 = 37;

/// Returns the lines of the picture for a height: without the lines between the states if there is
/// no room for all. Returns none if there is no room for the states.
pub(super) fn picture(height: u16) -> Option<Vec<&'static str>> {
    let fits = |picture: &Vec<&str>| picture.len() <= usize::from(height);
    let states = |line: &'static str| {
        let states = line.trim_end_matches(|letter: char| !letter.is_ascii_alphanumeric());
        (!states.is_empty()).then_some(states)
    };
    let whole = Some(PICTURE.to_vec()).filter(fits);
    whole.or_else(|| Some(PICTURE.into_iter().filter_map(states).collect()).filter(fits))
}

/// Draws a picture. Each state that the connection came to has the number of the step.
pub(super) fn draw(
    picture: &[&str],
    steps: &[Mark],
    now: TcpState,
    area: Rect,
    buffer: &mut Buffer,
) {
    for (y, line) in (area.y..area.bottom()).zip(picture) {
        Line::styled(*line, DIM).render(Rect { y, height: 1, ..area }, buffer);
    }
    let Some(first) = steps.first() else {
        return mark(picture, now, None, true, area, buffer);
    };
    // A connection begins at the first CLOSE, and ends at the second.
    mark(picture, first.old, Some(0), false, area, buffer);
    for (number, step) in (1..).zip(steps) {
        let is_now = step.new == now && number == steps.len();
        mark(picture, step.new, Some(number), is_now, area, buffer);
    }
}

/// Marks a state: bold with the number of its step, and reversed if the connection is there now.
fn mark(
    picture: &[&str],
    state: TcpState,
    number: Option<usize>,
    is_now: bool,
    area: Rect,
    buffer: &mut Buffer,
) {
    let Some((x, y)) = place(picture, state, number) else { return };
    // The picture is dim.
    let style = Style::reset().patch(if is_now { STRONG.patch(HEADING) } else { STRONG });
    let name = shown(state).name();
    let text = match number {
        Some(number) => format!("{name} {number}"),
        None => name.to_owned(),
    };
    let (left, top) = (area.x.saturating_add(x), area.y.saturating_add(y));
    if left < area.right() && top < area.bottom() {
        let room = usize::from(area.right() - left);
        buffer.set_stringn(left, top, text, room, style);
    }
}

/// Returns the state that stands in the picture for a state.
fn shown(state: TcpState) -> TcpState {
    if state == TcpState::NewSynRecv { TcpState::SynRecv } else { state }
}

/// Returns the column and the line of a state.
fn place(picture: &[&str], state: TcpState, number: Option<usize>) -> Option<(u16, u16)> {
    let lines = (0u16..).zip(picture);
    let mut places = lines.filter_map(|(y, line)| {
        // Whole words are compared: CLOSE is a part of other names.
        let mut x = 0;
        line.split(' ').find_map(|word| {
            let at = x;
            x += u16::try_from(word.chars().count()).ok()? + 1;
            (word == shown(state).name()).then_some((at, y))
        })
    });
    let first = places.next();
    let is_end = state == TcpState::Close && number != Some(0);
    if is_end { places.next() } else { first }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_state_has_a_place_in_the_picture() {
        for (height, lines) in [(20, 15), (15, 15), (14, 8), (8, 8)] {
            let picture = picture(height).expect("room");
            assert_eq!(picture.len(), lines, "{height}");
            for state in TcpState::ALL {
                assert!(place(&picture, state, Some(1)).is_some(), "{state}");
            }
            let last = u16::try_from(lines - 1).expect("few");
            assert_eq!(place(&picture, TcpState::Close, Some(0)), Some((17, 0)));
            assert_eq!(place(&picture, TcpState::Close, Some(1)), Some((17, last)));
            assert!(picture.iter().all(|line| line.chars().count() <= usize::from(WIDTH)));
        }
        assert_eq!(picture(7), None);
    }
}
