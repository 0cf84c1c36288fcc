//! A line that is being written, and the error of the last try.

use ratatui::{
    buffer::Buffer,
    layout::Rect,
    style::Modifier,
    text::{Line, Span},
    widgets::Widget,
};

use super::{HEADING, STRONG};
use crate::view::palette::{Palette, Tone};
use crate::view::tui::{cells::columns, keys::LineEditor};

/// The part of a line that is in sight.
#[derive(Debug, PartialEq, Eq)]
struct InSight {
    /// The number of characters before the part.
    skipped: usize,
    before: String,
    under: String,
    after: String,
}

/// Scrolls the line so that its cursor is in sight, in `room` columns. Marks show that the text
/// goes on.
fn in_sight(line: &LineEditor, room: usize) -> InSight {
    let all: Vec<char> = line.text.chars().collect();
    let width = |chars: &[char]| columns(&String::from_iter(chars));
    let under = all.get(line.at).copied().unwrap_or(' ');
    let mut skipped = 0;
    while skipped < line.at && width(&all[skipped..line.at]) + width(&[under]) > room {
        skipped += 1;
    }
    let mut before = all[skipped..line.at].to_vec();
    if skipped > 0 && !before.is_empty() {
        before[0] = '…';
    }
    let rest = all.get(line.at + 1..).unwrap_or_default();
    let room = room.saturating_sub(width(&before) + width(&[under]));
    let mut after = rest.to_vec();
    if width(rest) > room {
        while width(&after) >= room.max(1) {
            after.pop();
        }
        after.extend((room > 0).then_some('…'));
    }
    let text = |chars: Vec<char>| String::from_iter(chars);
    InSight { skipped, before: text(before), under: under.to_string(), after: text(after) }
}

/// Draws a line that is being written, and above it the error of the last try. A pointer below the
/// line shows the character number `at` of the error.
pub(super) fn draw(
    label: &str,
    line: &LineEditor,
    error: Option<(&str, usize)>,
    theme: Palette,
    area: Rect,
    buffer: &mut Buffer,
) {
    let width = usize::from(area.width);
    let part = in_sight(line, width.saturating_sub(label.len()));
    let text = vec![
        Span::styled(label, STRONG),
        part.before.into(),
        Span::styled(part.under, HEADING),
        part.after.into(),
    ];
    let Some((message, at)) = error else { return Line::from(text).render(area, buffer) };
    let above = |lines| Rect { y: area.y.saturating_sub(lines), ..area };
    let pad = |text: &str| format!("{text:<width$}");
    let column = (label.len() + at).saturating_sub(part.skipped).max(label.len());
    let pointer = format!("{}^", " ".repeat(column.min(width.saturating_sub(1))));
    Line::styled(pad(message), theme.style(Tone::Bad).add_modifier(Modifier::BOLD))
        .render(above(2), buffer);
    Line::from(pad(&pointer)).render(area, buffer);
    Line::from(pad("")).render(above(1), buffer);
    Line::from(text).render(above(1), buffer);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn part(text: &str, at: usize, room: usize) -> String {
        let line = LineEditor { text: text.to_owned(), at };
        let InSight { before, under, after, .. } = in_sight(&line, room);
        format!("{before}[{under}]{after}")
    }

    #[test]
    fn the_cursor_is_in_sight() {
        assert_eq!(part("dport = :443", 12, 20), "dport = :443[ ]");
        assert_eq!(part("dport = :443", 12, 8), "…= :443[ ]");
        assert_eq!(part("dport = :443", 0, 8), "[d]port =…");
        assert_eq!(part("dport = :443", 6, 8), "dport [=]…");
        assert_eq!(part("", 0, 8), "[ ]");
    }

    proptest! {
        /// The part takes no more columns than there are, wherever the cursor is.
        #[test]
        fn it_fits(text in "[a-z世é]{0,60}", at in 0..61_usize, room in 3..40_usize) {
            let line = LineEditor { at: at.min(text.chars().count()), text };
            let InSight { before, under, after, .. } = in_sight(&line, room);
            prop_assert!(columns(&[before, under, after].concat()) <= room);
        }
    }
}
