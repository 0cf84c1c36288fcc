//! The table, and the pane of the latest transitions.

use ratatui::{buffer::Buffer, layout::Rect, style::Style, text::Line, widgets::Widget};

use super::{
    DIM, HEADING, STRONG,
    cells::{fit, local_end, remote_end},
    header::number,
};
use crate::{
    core::{
        connection::{Connection, Direction},
        errno,
        event::ResetSide,
        services::Services,
        tcp::TcpState,
    },
    view::{
        palette::{Palette, Tone},
        text::clock::{Clock, Elapsed, TimeStyle},
        tui::{
            groups::program,
            history::{Latest, Mark},
            layout::{Areas, columns},
            rows::Row,
            state::ScreenState,
        },
    },
};

const HEADINGS: [&str; 8] =
    ["PID/Program", "Local Address", "Foreign Address", "State", "In", "Dir", "Age", "Evidence"];

pub(super) fn draw(state: &ScreenState, theme: Palette, areas: &Areas, buffer: &mut Buffer) {
    let list = &state.list;
    heading(state, areas.heading, buffer);
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
            Row::Connection { row, is_gone } => {
                connection(state, theme, row, *is_gone, line, buffer)
            }
        };
        // Reversed, so that the row stands out without colours.
        if at == list.selected {
            buffer.set_style(line, style.patch(HEADING));
        }
        line.y += 1;
    }
    if list.length == 0 {
        let nothing =
            if list.total == 0 { "no connections" } else { "no connection matches the filter" };
        Line::styled(format!(" {nothing}"), DIM).render(Rect { height: 1, ..areas.rows }, buffer);
    }
}

fn heading(state: &ScreenState, area: Rect, buffer: &mut Buffer) {
    for ((column, from, to), name) in columns(area.width).zip(HEADINGS) {
        let is_sorted = column == Some(state.sort) && state.group.is_none();
        let sign = match (is_sorted, state.reversed) {
            (false, _) => "",
            (true, false) => "▲",
            (true, true) => "▼",
        };
        let area = Rect { x: area.x + from, width: to - from, ..area };
        let text = fit(&format!("{name}{sign}"), area.width.into());
        Line::styled(text, if is_sorted { STRONG } else { Style::new() }).render(area, buffer);
    }
    if let Some(by) = state.group {
        let text = format!(
            "{:<width$}",
            format!("By {} (Enter unfolds)", by.name()),
            width = area.width.into()
        );
        Line::styled(text, STRONG).render(area, buffer);
        let right = format!("{:>9} {:>9} {:>9} ", "Sockets", "New/s", "Ended/s");
        Line::styled(right, STRONG).right_aligned().render(area, buffer);
    }
    buffer.set_style(area, Style::new().add_modifier(ratatui::style::Modifier::UNDERLINED));
}

/// Draws a group: its name at the left, its numbers at the right.
fn group(row: &Row, area: Rect, buffer: &mut Buffer) {
    let Row::Group { count, flow, is_expanded, name, .. } = row else { return };
    let sign = if *is_expanded { '-' } else { '+' };
    let rate = |at: usize| flow.map_or("-".to_owned(), |flow| number(flow[at]));
    let numbers = format!("{count:>9} {:>9} {:>9} ", rate(0), rate(1));
    let room = usize::from(area.width).saturating_sub(numbers.len());
    let name = fit(&format!("{sign} {name}"), room);
    Line::styled(format!("{name:<room$}{numbers}"), STRONG).render(area, buffer);
}

/// Draws a connection. Returns the style of its line.
fn connection(
    state: &ScreenState,
    theme: Palette,
    row: &Connection,
    is_gone: bool,
    area: Rect,
    buffer: &mut Buffer,
) -> Style {
    let services = services(state);
    let style = if is_gone { DIM } else { Style::new() };
    let since = row.since.map(|since| Elapsed(state.now.since(since)).to_string());
    let age = row.lifetime(state.now).map(|age| Elapsed(age).to_string());
    for (place, (_, from, to)) in columns(area.width).enumerate() {
        let area = Rect { x: area.x + from, width: to - from, ..area };
        let width = area.width.into();
        let (text, style) = match place {
            0 => (fit(&program(row.owner.as_deref()), width), style),
            1 => (local_end(&row.tuple, &row.binding, services, width), style),
            2 => (remote_end(&row.tuple, services, width), style),
            3 => match row.verdict.filter(|_| is_gone) {
                // Small letters show that the connection has ended.
                Some(verdict) => {
                    let tone = theme.style(Tone::of_verdict(verdict));
                    (verdict.to_string(), style.patch(tone))
                }
                None if is_gone => ("gone".to_owned(), style),
                None => (row.state.to_string(), theme.style(Tone::of_state(row.state))),
            },
            4 => (format!("{:>width$}", since.as_deref().unwrap_or("-")), style),
            5 => {
                let tone = theme.style(Tone::of_direction(row.direction));
                (direction(row.direction).to_owned(), style.patch(tone))
            }
            6 => (format!("{:>width$}", age.as_deref().unwrap_or("-")), style),
            _ => (row.evidence.map_or("-", |evidence| evidence.name()).to_owned(), style),
        };
        Line::styled(text, style).render(area, buffer);
    }
    style
}

pub(super) const fn direction(direction: Option<Direction>) -> &'static str {
    match direction {
        Some(Direction::Outbound) => "out",
        Some(Direction::Inbound) => "in",
        Some(Direction::Listen) => "lis",
        None => "-",
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
    let mut title = format!(" {} of {} ", list.matching, list.total);
    if !state.filter_text.is_empty() {
        title += &format!("· filter: {} ", state.filter_text);
    }
    if state.is_following() {
        title += "· following ";
    }
    let width = usize::from(area.width);
    let title = fit(&title, width.saturating_sub(2));
    Line::from(format!("{title:─^width$}")).render(Rect { height: 1, ..area }, buffer);
    let mut clock = Clock::new(TimeStyle::TimeOfDay(state.options.zone.clone()));
    clock.anchor = state.activity().anchor;
    let lines = usize::from(area.height - 1);
    let latest: Vec<&Latest> = state.activity().histories.latest().rev().take(lines).collect();
    for (y, latest) in (area.y + 1..).zip(latest.into_iter().rev()) {
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
    let mut states = format!("{new} {}", why(&latest.mark));
    let room = if width < 120 {
        time.truncate(SECONDS);
        // The longest usual text: TIME_WAIT closed-locally.
        width.saturating_sub(SECONDS + 4 + 24)
    } else {
        states = format!("{old:>11} → {new:<11} {}", why(&latest.mark));
        width.saturating_sub(15 + 4 + 26 + 32)
    };
    let (program_width, end) = (room / 4, room * 3 / 8);
    let program = fit(&program(latest.owner.as_deref()), program_width);
    let local = local_end(&latest.tuple, &latest.binding, services, end);
    let remote = remote_end(&latest.tuple, services, end);
    format!("{time} {program:<program_width$} {local:<end$} {remote:<end$} {states}")
}

/// Returns the rest of a step: verdict, error, RST, and a mark if the step is inferred.
pub(super) fn why(mark: &Mark) -> String {
    let mut words = Vec::new();
    if let Some(verdict) = mark.verdict {
        words.push(verdict.to_string());
    } else if mark.old == TcpState::TimeWait {
        words.push("expired".to_owned());
    }
    if let Some(number) = mark.errno {
        words.push(errno::name(number).map_or(format!("errno {number}"), ToOwned::to_owned));
    }
    match mark.reset {
        Some(ResetSide::Sent) => words.push("RST sent".to_owned()),
        Some(ResetSide::Received) => words.push("RST received".to_owned()),
        None => {}
    }
    if mark.inferred {
        words.push("(inferred)".to_owned());
    }
    words.join(" ")
}
