//! From state to frame: a pure function.

mod choose;
mod detail;
mod header;
mod help;
mod list;
mod prompt;
mod state_diagram;
mod timeline;

use ratatui::{
    buffer::Buffer,
    layout::Rect,
    style::{Modifier, Style},
    text::{Line, Span},
    widgets::Widget,
};

use super::{
    layout::Areas,
    rates::HEIGHT,
    state::{Mode, ScreenState},
};
use crate::{
    core::filter::FilterError,
    view::palette::{Palette, Tone},
};

/// The least columns and lines of a screen: a smaller frame could not be understood.
const LEAST: (u16, u16) = (40, 10);

const HEADING: Style = Style::new().add_modifier(Modifier::REVERSED);
const STRONG: Style = Style::new().add_modifier(Modifier::BOLD);
const DIM: Style = Style::new().add_modifier(Modifier::DIM);

/// Draws the whole frame.
pub(super) fn draw(state: &ScreenState, area: Rect, buffer: &mut Buffer) {
    if area.width < LEAST.0 || area.height < LEAST.1 {
        let (width, height) = LEAST;
        Line::from(format!("netmon top needs {width}x{height}")).render(area, buffer);
        return;
    }
    let (areas, theme) =
        (Areas::of(area, state.past.is_some()), Palette { colour: state.options.colour });
    header::title(state, theme, Rect { height: 1, ..areas.header }, buffer);
    match (&state.mode, &state.detail) {
        (Mode::Detail(_), Some(detail)) => detail::draw(state, detail, theme, areas.body(), buffer),
        (Mode::Help, _) => help::draw(areas.body(), buffer),
        (Mode::Columns(choice), _) => choose::draw(choice, areas.body(), buffer),
        _ => {
            header::draw(state, theme, areas.header, buffer);
            list::draw(state, theme, &areas, buffer);
            list::latest(state, theme, areas.latest, buffer);
            timeline::draw(state, theme, areas.timeline, buffer);
        }
    }
    footer(state, theme, areas.footer, buffer);
}

/// Draws the filter that is being written, a message, or the keys.
fn footer(state: &ScreenState, theme: Palette, area: Rect, buffer: &mut Buffer) {
    if let Mode::Filter(line, error) = &state.mode {
        let place = |error: &FilterError| {
            error.text.get(..error.at).map_or(0, |before| before.chars().count())
        };
        let message = |error: &FilterError| format!("{}: {}", error.message, error.advice);
        let error = error.as_ref().map(|error| (message(error), place(error)));
        let error = error.as_ref().map(|(message, place)| (&**message, *place));
        let label = if state.resolving.is_some() { "Resolving: " } else { "Filter: " };
        return prompt::draw(label, line, error, theme, area, buffer);
    }
    if let Mode::Time(line, error) = &state.mode {
        let error = error.as_ref().map(|error| (&**error, 0));
        return prompt::draw("Time: ", line, error, theme, area, buffer);
    }
    if let Some(message) = &state.message {
        Line::styled(format!(" {message}"), theme.style(Tone::Warning)).render(area, buffer);
        return;
    }
    let mut room = area.width;
    let fits = |(key, word): &(&str, &str)| {
        let width = key.chars().count() + word.chars().count() + 3;
        let left = u16::try_from(width).ok().and_then(|width| room.checked_sub(width));
        room = left.unwrap_or(0);
        left.is_some()
    };
    let keys = keys(state).into_iter().take_while(fits);
    let keys = keys.flat_map(|(key, word)| {
        [Span::styled(format!(" {key}"), HEADING), Span::raw(format!(" {word} "))]
    });
    Line::from_iter(keys).render(area, buffer);
}

/// Returns the keys and their meanings. A narrow screen has room for the first of them.
fn keys(state: &ScreenState) -> Vec<(&'static str, &'static str)> {
    let mut keys = match (state.options.past, &state.past) {
        (_, Some(_)) => {
            vec![("←→", "second"), ("[]", "minute"), (",.", "event"), ("t", "time"), ("End", "now")]
        }
        (true, None) => vec![("←", "past")],
        (false, None) => Vec::new(),
    };
    match &state.mode {
        Mode::Detail(_) => keys.push(("Esc", "back")),
        Mode::Help => return vec![("any key", "back")],
        Mode::Columns(_) => return vec![("Space", "choose"), ("←→", "move"), ("Esc", "back")],
        Mode::List | Mode::Filter(..) | Mode::Time(..) => {
            keys.extend([("?", "help"), ("/", "filter"), ("s", "sort"), ("g", "group")]);
            keys.push(("c", "columns"));
            keys.extend(state.has_more_columns().then_some(("<>", "scroll")));
            keys.extend([("Space", "freeze"), ("q", "quit"), ("Enter", "look")]);
        }
    }
    keys
}

/// Returns the bar of a height up to [`HEIGHT`]. No bar fills its line: bars of lines above each
/// other stay apart.
fn bar(height: u8) -> char {
    const BARS: [char; HEIGHT as usize + 1] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇'];
    BARS[usize::from(height.min(HEIGHT))]
}
