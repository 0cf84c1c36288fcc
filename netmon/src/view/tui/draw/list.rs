//! The table, and the pane of the latest transitions.

use std::time::Duration;

use ratatui::{buffer::Buffer, layout::Rect, style::Style, text::Line, widgets::Widget};

use super::{
    DIM, HEADING, STRONG,
    cells::{fit, local_end, remote_end},
    header::number,
};
use crate::{
    core::{connection::Connection, escape::Escaped, services::Services},
    view::{
        changes::{cells::direction, why::Mark},
        palette::{Palette, Tone},
        text::clock::{Clock, Elapsed, TimeStyle},
        tui::{
            columns::{Column, ColumnPlace, group_columns},
            groups::program,
            history::Latest,
            layout::Areas,
            rows::Row,
            state::ScreenState,
            time_travel::NameQuery,
        },
    },
};

pub(super) fn draw(state: &ScreenState, theme: Palette, areas: &Areas, buffer: &mut Buffer) {
    let list = &state.list;
    heading(state, areas.heading, buffer);
    let places = state.places();
    let mut line = Rect { height: 1, ..areas.rows };
    for (at, row) in (list.top..).zip(&list.rows) {
        if line.y >= areas.rows.bottom() {
            break;
        }
        let style = match row {
            Row::Group { .. } => {
                group(row, line, buffer);
                STRONG
            }
            Row::Connection { row, is_gone, last } => {
                let style = if *is_gone { DIM } else { Style::new() };
                for place in &places {
                    let area =
                        Rect { x: line.x + place.from, width: place.to - place.from, ..line };
                    let cell =
                        ConnectionCell { state, row, last: last.as_ref(), is_gone: *is_gone };
                    let text = cell.text(place.column, area.width.into());
                    let style = style.patch(theme.style(cell.tone(place.column)));
                    Line::styled(text, style).render(area, buffer);
                }
                style
            }
        };
        // Reversed, so that the row stands out without colours.
        if at == list.selected {
            buffer.set_style(line, style.patch(HEADING));
        }
        line.y += 1;
    }
    if list.length == 0 {
        let nothing = if list.tally.total() == 0 {
            "no connections"
        } else {
            "no connection matches the filter"
        };
        Line::styled(format!(" {nothing}"), DIM).render(Rect { height: 1, ..areas.rows }, buffer);
    }
}

fn heading(state: &ScreenState, area: Rect, buffer: &mut Buffer) {
    let settings = &state.settings;
    for ColumnPlace { column, from, to } in state.places() {
        let is_sorted = column == settings.sort && settings.group.is_none();
        let sign = match (is_sorted, settings.reversed) {
            (false, _) => "",
            (true, false) => "▲",
            (true, true) => "▼",
        };
        let area = Rect { x: area.x + from, width: to - from, ..area };
        let text = fit(&format!("{}{sign}", column.name()), area.width.into());
        Line::styled(text, if is_sorted { STRONG } else { Style::new() }).render(area, buffer);
    }
    if let Some(by) = settings.group {
        let text = format!(
            "{:<width$}",
            format!("By {} (Enter unfolds)", by.name()),
            width = area.width.into()
        );
        Line::styled(text, STRONG).render(area, buffer);
        let name = |column: &Column| {
            let sign = if *column == settings.sort { "▲" } else { "" };
            format!(
                " {:>1$}",
                format!("{}{sign}", column.name()),
                usize::from(column.least(area.width))
            )
        };
        let traffic: String = group_columns(area.width).iter().map(name).collect();
        let right = format!("{:>9} {:>9} {:>9}{traffic} ", "Sockets", "New/s", "Ended/s");
        Line::styled(right, STRONG).right_aligned().render(area, buffer);
    }
    buffer.set_style(area, Style::new().add_modifier(ratatui::style::Modifier::UNDERLINED));
}

/// Draws a group: its name at the left, its numbers at the right.
fn group(row: &Row, area: Rect, buffer: &mut Buffer) {
    let Row::Group { count, flow, traffic, is_expanded, name, .. } = row else { return };
    let sign = if *is_expanded { '-' } else { '+' };
    let rate = |at: usize| flow.map_or("-".to_owned(), |flow| number(flow[at]));
    let figure = |column: &Column| {
        format!(" {:>1$}", column.figure_text(traffic), usize::from(column.least(area.width)))
    };
    let traffic: String = group_columns(area.width).iter().map(figure).collect();
    let numbers = format!("{count:>9} {:>9} {:>9}{traffic} ", rate(0), rate(1));
    let room = usize::from(area.width).saturating_sub(numbers.len());
    let name = fit(&format!("{sign} {name}"), room);
    Line::styled(format!("{name:<room$}{numbers}"), STRONG).render(area, buffer);
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
        let (row, services, now) = (self.row, services(self.state), self.state.list_time());
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
            Column::Netns => fit(&self.netns(), width),
            Column::Evidence => row.evidence.map_or("-", |evidence| evidence.name()).to_owned(),
            // Nothing for a figure that is not known.
            _ => {
                let figures = self.state.figures(row).unwrap_or_default();
                format!("{:>width$}", column.figure_text(&figures))
            }
        }
    }

    /// Returns the name of the namespace, that of then in the past, or its number.
    fn netns(&self) -> String {
        let inum = self.row.tuple.netns;
        let recorded = self.row.labels.as_ref().and_then(|labels| labels.netns.as_deref());
        let name = recorded.or_else(|| self.state.known_name(NameQuery::Netns(inum)));
        name.map_or(inum.to_string(), |name| Escaped(name.as_bytes()).to_string())
    }
}

pub(super) fn services(state: &ScreenState) -> Option<&Services> {
    (!state.options.numeric).then_some(&state.options.services)
}

/// Draws the latest transitions as they come, the newest at the bottom.
pub(super) fn latest(state: &ScreenState, theme: Palette, area: Rect, buffer: &mut Buffer) {
    if area.height < 2 {
        return;
    }
    let list = &state.list;
    let mut title = format!(" {} of {} ", list.tally.matching(), list.tally.total());
    if !state.filter_text.is_empty() {
        title += &format!("· filter: {} ", state.filter_text);
    }
    if state.has_rare_traffic() {
        title += &format!("· traffic every {} ", Elapsed(state.traffic.interval()));
    }
    let settings = &state.settings;
    let is_in_sight = state.places().iter().any(|place| place.column == settings.sort);
    if !is_in_sight && settings.group.is_none() {
        let order = if settings.reversed { "▼" } else { "▲" };
        title += &format!("· by {}{order} ", settings.sort.name());
    }
    let width = usize::from(area.width);
    let title = fit(&title, width.saturating_sub(2));
    Line::from(format!("{title:─^width$}")).render(Rect { height: 1, ..area }, buffer);
    let mut clock = Clock::new(TimeStyle::TimeOfDay(state.options.zone.clone()));
    clock.anchor = state.activity().anchor;
    let lines = usize::from(area.height - 1);
    let latest = state.latest();
    let latest = latest.iter().take(lines).rev();
    for (y, latest) in (area.y + 1..).zip(latest) {
        let text = latest_line(latest, &mut clock, services(state), width);
        let text = fit(&text, width);
        let style = latest
            .mark
            .verdict
            .map_or(Style::new(), |verdict| theme.style(Tone::of_verdict(verdict)));
        Line::styled(text, style).render(Rect { y, height: 1, ..area }, buffer);
    }
}

/// Returns a transition as a line, without the old state if there is little room.
fn latest_line(
    latest: &Latest,
    clock: &mut Clock,
    services: Option<&Services>,
    width: usize,
) -> String {
    const SECONDS: usize = 8;
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
        width.saturating_sub(15 + 4 + 26 + 32)
    };
    let (program_width, end) = (room / 4, room * 3 / 8);
    let program = fit(&program(latest.owner.as_deref()), program_width);
    let local = local_end(&latest.tuple, &latest.binding, services, end);
    let remote = remote_end(&latest.tuple, services, end);
    format!("{time} {program:<program_width$} {local:<end$} {remote:<end$} {states}")
}
