//! The keys of the screen.

use ratatui::{
    buffer::Buffer,
    layout::Rect,
    text::{Line, Span},
    widgets::Widget,
};

use super::STRONG;

const KEYS: [(&str, &str); 17] = [
    ("↑ ↓ j k, wheel", "select a row"),
    ("PgUp PgDn Home", "by screens; the first row"),
    ("End G", "the last row; in the past, back to now"),
    ("Enter, click", "look at a connection closely; unfold a group"),
    ("Esc", "back"),
    ("/", "filter, as everywhere: dport = :443 and not src ::1"),
    ("s S", "sort by the next column; backwards (or click its heading)"),
    ("g", "group: by process, address, port, cgroup, state, not"),
    ("F", "follow the selected connection wherever it goes"),
    ("n", "ports as numbers, or by name"),
    ("← →", "through the past, by seconds: with --journal"),
    ("[ ] Shift-← Shift-→", "by minutes"),
    (", .", "to the event before, to the next"),
    ("q Ctrl-C", "quit"),
    ("", ""),
    ("dimmed rows", "are gone; small letters show why; for five seconds"),
    ("lost, corrected", "events that did not come; rows set right by the kernel's"),
];

pub(super) fn draw(area: Rect, buffer: &mut Buffer) {
    for (y, (key, what)) in (area.y + 1..area.bottom()).zip(KEYS) {
        let line = Line::from(vec![Span::styled(format!(" {key:<20} "), STRONG), Span::raw(what)]);
        line.render(Rect { y, height: 1, ..area }, buffer);
    }
}
