//! The table, and the pane of the latest transitions.

use std::time::Duration;

use ratatui::{
    buffer::Buffer,
    layout::Rect,
    style::{Modifier, Style},
    text::Line,
    widgets::Widget,
};

use super::{
    DIM, STRONG,
    header::{number, position},
};
use crate::{
    core::{connection::Connection, escape::Escaped},
    view::{
        changes::{cells::direction, why::Mark},
        palette::{Palette, Tone},
        text::clock::{Clock, Elapsed, TimeStyle},
        tui::{
            cells::{fit, local_end, padded, remote_end},
            columns::{ADDRESS, Column, ColumnPlace, group_columns},
            groups::program,
            history::Latest,
            layout::Areas,
            rows::Row,
            state::ScreenState,
        },
    },
};

/// The selected row. One style stands out with colours and without.
const SELECTED: Style = Style::reset().add_modifier(Modifier::REVERSED);

pub(super) fn draw(state: &ScreenState, theme: Palette, areas: &Areas, buffer: &mut Buffer) {
    let list = &state.list;
    heading(state, areas.heading, buffer);
    let places = state.places();
    let mut line = Rect { height: 1, ..areas.rows };
    for (at, row) in (list.top..).zip(&list.rows) {
        if line.y >= areas.rows.bottom() {
            break;
        }
        match row {
            Row::Group { .. } => group(row, line, buffer),
            Row::Connection { row, is_gone, last } => {
                for place in &places {
                    let area =
                        Rect { x: line.x + place.from, width: place.to - place.from, ..line };
                    let cell =
                        ConnectionCell { state, row, last: last.as_ref(), is_gone: *is_gone };
                    let text = cell.text(place.column, area.width.into());
                    let tone = match text.trim_start() {
                        // Other values stand out.
                        "-" | "0" => Tone::Quiet,
                        _ => cell.tone(place.column),
                    };
                    // A failure is read before the row is gone from the screen.
                    let style = if *is_gone && tone != Tone::Bad { DIM } else { Style::new() };
                    Line::styled(text, style.patch(theme.style(tone))).render(area, buffer);
                }
            }
        }
        if at == list.selected {
            buffer.set_style(line, SELECTED);
        }
        line.y += 1;
    }
    if list.length == 0 {
        Line::styled(format!(" {}", nothing(state)), DIM)
            .render(Rect { height: 1, ..areas.rows }, buffer);
    }
}

/// Returns why the list is empty, and the keys that lead on.
fn nothing(state: &ScreenState) -> String {
    match (state.list.tally.total(), &state.past) {
        _ if state.is_waiting => "reading …".to_owned(),
        (_, None) if state.options.at.is_some() => "no moment: t leads to a time".to_owned(),
        (_, None) if !state.has_rows => "reading …".to_owned(),
        (0, None) => "this host has no TCP sockets".to_owned(),
        (0, Some(_)) => "no TCP sockets at this moment: . leads to the next event".to_owned(),
        (count, _) => {
            format!("the filter admits none of {count} sockets: / changes it, Esc clears it")
        }
    }
}

fn heading(state: &ScreenState, area: Rect, buffer: &mut Buffer) {
    let settings = &state.settings;
    let sign = |column: Column| match column == settings.sort {
        true => column.order_sign(settings.reversed && settings.group.is_none()).to_string(),
        false => String::new(),
    };
    if let Some(by) = settings.group {
        Line::from(format!("By {} (Enter unfolds)", by.name())).render(area, buffer);
        let name = |column: &Column| {
            let width = usize::from(column.least(area.width, ADDRESS)) + 1;
            format!("{:>width$}", format!("{}{}", sign(*column), column.name()))
        };
        let traffic: String = group_columns(area.width).iter().map(name).collect();
        let count = if settings.sort.is_traffic() { "Sockets" } else { "▼Sockets" };
        let right = format!("{count:>9} {:>9} {:>9}{traffic} ", "New/s", "Ended/s");
        Line::from(right).right_aligned().render(area, buffer);
    } else {
        for ColumnPlace { column, from, to } in state.places() {
            let (name, sign) = (column.name(), sign(column));
            let (from, text) = match (column.is_number(), from) {
                // The sign stands in the gap before the column.
                (true, 1..) => {
                    let width = usize::from(to - from) + 1;
                    (from - 1, format!("{:>width$}", format!("{sign}{name}")))
                }
                _ => {
                    let room = usize::from(to - from) - sign.chars().count();
                    (from, format!("{}{sign}", fit(name, room)))
                }
            };
            let style = if sign.is_empty() { Style::new() } else { STRONG };
            let area = Rect { x: area.x + from, width: to - from, ..area };
            Line::styled(text, style).render(area, buffer);
        }
    }
    buffer.set_style(area, Style::new().add_modifier(Modifier::UNDERLINED));
}

/// Draws a group: its name at the left, its numbers at the right.
fn group(row: &Row, area: Rect, buffer: &mut Buffer) {
    let Row::Group { count, flow, traffic, is_expanded, name, .. } = row else { return };
    let sign = if *is_expanded { '-' } else { '+' };
    let rate = |at: usize| flow.map_or("-".to_owned(), |flow| number(flow[at]));
    let figure = |column: &Column| {
        let width = usize::from(column.least(area.width, ADDRESS));
        format!(" {:>width$}", column.figure_text(traffic))
    };
    let traffic: String = group_columns(area.width).iter().map(figure).collect();
    let numbers = format!("{count:>9} {:>9} {:>9}{traffic} ", rate(0), rate(1));
    let room = usize::from(area.width).saturating_sub(numbers.len());
    let name = padded(&format!("{sign} {name}"), room);
    Line::styled(format!("{name}{numbers}"), STRONG).render(area, buffer);
}

/// The facts of a connection, cell by cell.
struct ConnectionCell<'a> {
    state: &'a ScreenState,
    row: &'a Connection,
    last: Option<&'a Mark>,
    is_gone: bool,
}

impl ConnectionCell<'_> {
    /// Returns the meaning of a column, for its colour.
    fn tone(&self, column: Column) -> Tone {
        let verdict = self.row.verdict.map_or(Tone::Plain, Tone::of_verdict);
        match column {
            Column::State if !self.is_gone => Tone::of_state(self.row.state),
            Column::State | Column::Why => verdict,
            Column::Direction => Tone::of_direction(direction(self.row).1),
            _ => Tone::Plain,
        }
    }

    /// Returns the text of a column.
    fn text(&self, column: Column, width: usize) -> String {
        let (row, services, now) = (self.row, self.state.services(), self.state.list_time());
        let span = |span: Option<Duration>| {
            format!("{:>width$}", span.map_or("-".to_owned(), |span| Elapsed(span).to_string()))
        };
        match column {
            Column::Program => fit(&program(row.owner.as_deref()), width),
            Column::Local => local_end(&row.tuple, &row.binding, services, width),
            Column::Remote => remote_end(&row.tuple, services, width),
            // Small letters show that the connection has ended.
            Column::State if self.is_gone => {
                row.verdict.map_or("gone".to_owned(), |verdict| verdict.to_string())
            }
            Column::State => row.state.to_string(),
            Column::InState => span(row.since.map(|since| now.since(since))),
            Column::Direction => direction(row).0.to_owned(),
            Column::Age => span(row.lifetime(now)),
            Column::Why => {
                let verdict = || row.verdict.map(|verdict| verdict.to_string());
                let why = self.last.map(|step| step.why(None)).filter(|why| !why.is_empty());
                fit(&why.or_else(verdict).unwrap_or_default(), width)
            }
            Column::Netns => fit(&self.state.netns(row).to_string(), width),
            Column::Evidence => row.evidence.map_or("-", |evidence| evidence.name()).to_owned(),
            Column::Exe | Column::Unit | Column::Container => {
                let text = column.owner_text(row);
                fit(&text.map_or(String::new(), |text| Escaped(&text).to_string()), width)
            }
            // Nothing for a figure that is not known.
            _ => {
                let figures = self.state.figures(row).unwrap_or_default();
                format!("{:>width$}", column.figure_text(&figures))
            }
        }
    }
}

/// Draws the latest transitions as they come, the newest at the bottom.
pub(super) fn latest(state: &ScreenState, theme: Palette, area: Rect, buffer: &mut Buffer) {
    if area.height == 0 {
        return;
    }
    let mut title = format!("─ {} ", position(state));
    let settings = &state.settings;
    let is_in_sight = state.places().iter().any(|place| place.column == settings.sort);
    if !is_in_sight && settings.group.is_none() {
        let sign = settings.sort.order_sign(settings.reversed);
        title += &format!("· by {sign}{} ", settings.sort.name());
    }
    if state.has_rare_traffic() {
        title += &format!("· traffic every {} ", Elapsed(state.traffic.interval()));
    }
    if !state.filter_text.is_empty() {
        title += &format!("· filter: {} ", state.filter_text);
    }
    let width = usize::from(area.width);
    let title = fit(&title, width);
    Line::from(format!("{title:─<width$}")).render(Rect { height: 1, ..area }, buffer);
    let mut clock = Clock::new(TimeStyle::TimeOfDay(state.options.zone.clone()));
    clock.anchor = state.activity().anchor;
    let lines = usize::from(area.height - 1);
    let latest = state.latest();
    if latest.is_empty() && lines > 0 {
        let which = if state.is_filtered() { " that the filter admits" } else { "" };
        Line::styled(format!(" no transition yet{which}"), DIM)
            .render(Rect { y: area.y + 1, height: 1, ..area }, buffer);
    }
    let latest = latest.iter().take(lines).rev();
    for (y, latest) in (area.y + 1..).zip(latest) {
        let text = latest_line(latest, &mut clock, state, width);
        let text = fit(&text, width);
        let style = latest
            .mark
            .verdict
            .map_or(Style::new(), |verdict| theme.style(Tone::of_verdict(verdict)));
        Line::styled(text, style).render(Rect { y, height: 1, ..area }, buffer);
    }
}

/// Returns a transition as a line, without the old state and the totals if there is little room.
fn latest_line(latest: &Latest, clock: &mut Clock, state: &ScreenState, width: usize) -> String {
    const SECONDS: usize = 8;
    let services = state.services();
    let mut time = Vec::new();
    clock.write(&mut time, latest.mark.time);
    let mut time = String::from_utf8_lossy(&time).into_owned();
    let Mark { old, new, .. } = latest.mark;
    let mut states = format!("{new} {}", latest.mark.why(None));
    let room = if width < 120 {
        time.truncate(SECONDS);
        // The longest usual text: TIME_WAIT closed-locally.
        width.saturating_sub(SECONDS + 4 + 24)
    } else {
        let why = latest.mark.why(latest.totals.as_ref());
        states = format!("{old:>11} → {new:<11} {why}");
        width.saturating_sub(15 + 4 + 26 + 16)
    };
    let (program_width, end) = ((room / 4).min(24), (room * 3 / 8).min(state.address_width.into()));
    let program = padded(&program(latest.owner.as_deref()), program_width);
    let local = local_end(&latest.tuple, &latest.binding, services, end);
    let remote = remote_end(&latest.tuple, services, end);
    format!("{time} {program} {local:<end$} {remote:<end$} {states}")
}
