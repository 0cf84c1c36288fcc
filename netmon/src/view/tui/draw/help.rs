//! The keys of the screen.

use ratatui::{
    buffer::Buffer,
    layout::Rect,
    text::{Line, Span},
    widgets::Widget,
};

use super::STRONG;

const KEYS: [(&str, &str); 22] = [
    ("↑ ↓ j k, wheel", "select a row, which then stays selected"),
    ("PgUp PgDn", "by screens"),
    ("Home End G", "the first row; the last; in the past, End is back to now"),
    ("Enter, click", "look at a connection closely; unfold a group"),
    ("Shift and mouse", "choose text on the screen, to copy it"),
    ("Esc", "back; in the list: no filter any more"),
    ("/ F4", "filter, as everywhere: dport = :443 and not src ::1"),
    ("s S", "sort by the next column; backwards; or click a heading"),
    ("c F2", "choose columns, and their order; top keeps both"),
    ("< >", "scroll the columns"),
    ("g", "group: by process, program, unit, container, …, not"),
    ("Space", "hold the list still, to read it; again: let it go on"),
    ("n", "ports as numbers, or by name"),
    ("← →", "through the past, by seconds: with --journal"),
    ("[ ] Shift-← Shift-→", "by minutes; or click the timeline"),
    (", .", "to the event before, to the next"),
    ("t", "to a time: 03:12:07, yesterday 14:00, 5m ago"),
    ("q Ctrl-C", "quit"),
    ("small letters", "the row is gone, and why; for five seconds"),
    ("in? out?", "the side that must have begun it, as a listener shows"),
    ("12/345", "connections that the filter admits, and all"),
    ("lost, corrected", "events that did not come; rows that the kernel set right"),
];

pub(super) fn draw(area: Rect, buffer: &mut Buffer) {
    for (y, (key, what)) in (area.y..area.bottom()).zip(KEYS) {
        let line = Line::from(vec![Span::styled(format!(" {key:<20} "), STRONG), Span::raw(what)]);
        line.render(Rect { y, height: 1, ..area }, buffer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_key_is_cut() {
        // The title and the footer take a line each.
        assert!(KEYS.len() <= 24 - 2);
        for (key, text) in KEYS {
            assert!(key.chars().count() <= 20 && text.chars().count() <= 80 - 22, "{text}");
        }
    }
}
