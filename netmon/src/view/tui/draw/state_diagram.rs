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

/// Columns and lines of the picture.
pub(super) const SIZE: (u16, u16) = (37, 15);

/// Draws the picture. Each state that the connection came to has the number of the step.
pub(super) fn draw(steps: &[Mark], now: TcpState, area: Rect, buffer: &mut Buffer) {
    for (y, line) in (area.y..area.bottom()).zip(PICTURE) {
        Line::styled(line, DIM).render(Rect { y, height: 1, ..area }, buffer);
    }
    let Some(first) = steps.first() else {
        return mark(now, None, true, area, buffer);
    };
    // A connection begins at the first CLOSE, and ends at the second.
    mark(first.old, Some(0), false, area, buffer);
    for (number, step) in (1..).zip(steps) {
        let is_now = step.new == now && number == steps.len();
        mark(step.new, Some(number), is_now, area, buffer);
    }
}

/// Marks a state: bold with the number of its step, and reversed if the connection is there now.
fn mark(state: TcpState, number: Option<usize>, is_now: bool, area: Rect, buffer: &mut Buffer) {
    let state = if state == TcpState::NewSynRecv { TcpState::SynRecv } else { state };
    let Some((x, y)) = place(state, number) else { return };
    // The picture is dim.
    let style = Style::reset().patch(if is_now { STRONG.patch(HEADING) } else { STRONG });
    let text = match number {
        Some(number) => format!("{state} {number}"),
        None => state.to_string(),
    };
    let (left, top) = (area.x.saturating_add(x), area.y.saturating_add(y));
    if left < area.right() && top < area.bottom() {
        let room = usize::from(area.right() - left);
        buffer.set_stringn(left, top, text, room, style);
    }
}

/// Returns the column and the line of a state.
fn place(state: TcpState, number: Option<usize>) -> Option<(u16, u16)> {
    let lines = (0u16..).zip(PICTURE);
    let mut places = lines.filter_map(|(y, line)| {
        // Whole words are compared: CLOSE is a part of other names.
        let mut x = 0;
        line.split(' ').find_map(|word| {
            let at = x;
            x += u16::try_from(word.chars().count()).ok()? + 1;
            (word == state.name()).then_some((at, y))
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
        for state in TcpState::ALL.into_iter().filter(|state| *state != TcpState::NewSynRecv) {
            assert!(place(state, Some(1)).is_some(), "{state}");
        }
        assert_eq!(place(TcpState::Close, Some(0)), Some((17, 0)));
        assert_eq!(place(TcpState::Close, Some(1)), Some((17, 14)));
        assert!(PICTURE.iter().all(|line| line.chars().count() <= usize::from(SIZE.0)));
        assert_eq!(PICTURE.len(), usize::from(SIZE.1));
    }
}
