//! One connection in detail: everything that netmon knows of the connection.

use std::time::Duration;

use ratatui::{
    buffer::Buffer,
    layout::Rect,
    style::Style,
    text::{Line, Span},
    widgets::Widget,
};

use super::{STRONG, state_diagram};
use crate::{
    core::{
        arguments::Arguments,
        cgroup::{Cgroup, Workload},
        connection::Direction,
        escape::{Escaped, EscapedName},
        process::{Evidence, Owner, PidText},
        program::{Ancestor, KnownProcess},
        tcp::TcpState,
        time::Mono,
    },
    view::{
        changes::why::Bytes,
        palette::{Palette, Tone},
        text::clock::{Clock, Elapsed, TimeStyle},
        tui::{
            cells::{fit, local_end, remote_end},
            groups::program,
            state::{Detail, ScreenState},
        },
    },
};

/// Columns of the name before a value.
const NAME: usize = 9;

pub(super) fn draw(
    state: &ScreenState,
    detail: &Detail,
    theme: Palette,
    area: Rect,
    buffer: &mut Buffer,
) {
    let mut clock = Clock::new(TimeStyle::TimeOfDay(state.options.zone.clone()));
    clock.anchor = state.activity().anchor;
    let mut time = |moment| {
        let mut text = Vec::new();
        clock.write(&mut text, moment);
        String::from_utf8_lossy(&text).into_owned()
    };
    let facts = facts(state, detail, theme, &mut time);
    let mut y = area.y;
    for line in facts {
        if y < area.bottom() {
            line.render(Rect { y, height: 1, ..area }, buffer);
        }
        y += 1;
    }
    let below = Rect { y: y.min(area.bottom()), height: area.bottom().saturating_sub(y), ..area };
    let width = state_diagram::WIDTH + 1;
    let is_wide = area.width >= 2 * width;
    let picture = state_diagram::picture(below.height).filter(|_| is_wide);
    let right = if picture.is_some() { width + 1 } else { 0 };
    let steps = Rect { width: area.width - right, ..below };
    history(detail, theme, steps, &mut time, buffer);
    if let Some(picture) = picture {
        let machine = Rect { x: area.right() - width, width, ..below };
        let now = if detail.is_gone { TcpState::Close } else { detail.row.state };
        state_diagram::draw(&picture, &detail.history.steps, now, machine, buffer);
    }
}

fn facts<'a>(
    state: &ScreenState,
    detail: &Detail,
    theme: Palette,
    time: &mut impl FnMut(Mono) -> String,
) -> Vec<Line<'a>> {
    let (row, services) = (&detail.row, state.services());
    let fact = |name: &str, value: String| {
        Line::from(vec![Span::styled(format!(" {name:<NAME$} "), STRONG), Span::raw(value)])
    };
    let ago = |moment: Mono| Elapsed(state.now.since(moment));
    let local = local_end(&row.tuple, &row.binding, services, 60);
    let remote = remote_end(&row.tuple, services, 60);
    let (sign, direction) = match row.direction.or(row.inferred_direction) {
        Some(Direction::Outbound) => ("→", "outbound"),
        Some(Direction::Inbound) => ("←", "inbound"),
        Some(Direction::Listen) => ("←", "listens"),
        None => ("–", "direction not known"),
    };
    let is_inferred = row.direction.is_none() && row.inferred_direction.is_some();
    let inferred = if is_inferred { ", inferred" } else { "" };
    let place = format!("{local} {sign} {remote}   {direction}{inferred}");
    let since = row
        .since
        .map_or("from before netmon looked".to_owned(), |since| format!("for {}", ago(since)));
    let epoch = row.id.epoch;
    let beginning = if row.first_sight {
        "began before netmon looked".to_owned()
    } else {
        format!("began {}, {} ago", time(epoch), ago(epoch))
    };
    let is_gone = if detail.is_gone { "   gone" } else { "" };
    let queues = detail.inspected.as_ref().map_or(String::new(), |inspected| {
        format!("   Recv-Q {}   Send-Q {}", inspected.recv_q, inspected.send_q)
    });
    let owner = row.owner.as_deref().map_or("not known".to_owned(), |owner| {
        let user = detail
            .user
            .as_deref()
            .map_or(String::new(), |user| format!(" ({})", Escaped(user.as_bytes())));
        let (name, uid) = (program(Some(owner)), owner.uid);
        format!("{name}   uid {uid}{user}   {}", row.evidence.map_or("", evidence))
    });
    let mut lines = vec![
        fact("TCP", place),
        fact("State", format!("{} {since}   {beginning}{is_gone}", row.state)),
        fact("Process", owner),
    ];
    let users = row.owner.as_deref().map(other_users).unwrap_or_default();
    if !users.is_empty() {
        lines.push(fact("Users", users));
    }
    if let Some(process) = row.owner.as_ref().and_then(|owner| owner.process.as_deref()) {
        let facts = program_facts(process);
        lines.extend(facts.into_iter().map(|(name, value)| fact(name, value)));
    }
    if let Some(cgroup) = row.owner.as_ref().and_then(|owner| owner.cgroup.as_deref()) {
        let facts = cgroup_facts(cgroup);
        lines.extend(facts.into_iter().map(|(name, value)| fact(name, value)));
    }
    if let Some(holder) = row.holder.as_deref() {
        let number = PidText(holder.pid);
        lines.push(fact("Held by", format!("{number}/{}", EscapedName(&holder.comm))));
        let facts = holder.known.as_deref().map(program_facts).unwrap_or_default();
        lines.extend(facts.into_iter().map(|(name, value)| fact(name, value)));
    }
    lines.push(match row.verdict {
        Some(verdict) => {
            let style = match Tone::of_verdict(verdict) {
                Tone::Plain => Style::new(),
                tone => theme.style(tone).patch(STRONG),
            };
            let mut line = fact("Verdict", String::new());
            line.spans[1] = Span::styled(verdict.to_string(), style);
            line
        }
        None if row.state == TcpState::Listen => fact("Verdict", "none, it listens".to_owned()),
        None if detail.is_gone => fact("Verdict", "not known".to_owned()),
        None => fact("Verdict", "none yet".to_owned()),
    });
    lines.push(fact("Traffic", traffic(detail)));
    lines.push(fact(
        "Socket",
        format!("sk:{:x}   netns {}{queues}", row.id.cookie.get(), state.netns(row)),
    ));
    lines
}

/// Returns the users of a process beside the effective one: the real user, and that of the login.
fn other_users(owner: &Owner) -> String {
    let login = owner.process.as_ref().and_then(|process| process.login.as_ref());
    let login = login.map(|login| login.uid);
    let others = [("real uid", owner.real_uid), ("login of uid", login)].into_iter();
    let others =
        others.filter_map(|(name, uid)| Some((name, uid.filter(|uid| *uid != owner.uid)?)));
    others.map(|(name, uid)| format!("{name} {uid}")).collect::<Vec<_>>().join(", ")
}

/// Returns the executable of a process, its arguments and its ancestors, as far as they are known.
fn program_facts(process: &KnownProcess) -> Vec<(&'static str, String)> {
    let mut facts = Vec::new();
    if let Some(program) = &process.program {
        let deleted = if program.is_deleted { " (deleted)" } else { "" };
        facts.push(("Program", format!("{}{deleted}", Escaped(&program.path))));
        if let Some(Arguments { line, is_cut }) = &program.arguments {
            let cut = if *is_cut { " …" } else { "" };
            facts.push(("Arguments", format!("{}{cut}", Escaped(line))));
        }
    }
    let ancestors = process.ancestors.iter().map(|Ancestor { pid, program }| {
        format!("{}/{}", PidText(*pid), EscapedName(program.name()))
    });
    let ancestors: Vec<_> = ancestors.collect();
    match (ancestors.is_empty(), process.parent) {
        (false, _) => facts.push(("Ancestors", ancestors.join(" < "))),
        (true, 0) => {}
        (true, parent) => facts.push(("Ancestors", parent.to_string())),
    }
    facts
}

/// Returns where the processes of a cgroup run: their container and pod, and the path of the
/// cgroup, which has their unit.
fn cgroup_facts(cgroup: &Cgroup) -> Vec<(&'static str, String)> {
    let mut facts = Vec::new();
    let Workload { path, container, container_name, pod_name, pod_namespace, .. } =
        cgroup.workload();
    if let Some(name) = container_name {
        let engine = container.and_then(|container| container.engine);
        let engine = engine.map_or(String::new(), |engine| format!(" ({})", engine.name()));
        let namespace =
            pod_namespace.map_or(String::new(), |of| format!("{}/", Escaped(of.as_bytes())));
        let pod =
            pod_name.map_or(String::new(), |pod| format!("   pod {namespace}{}", Escaped(&pod)));
        facts.push(("Container", format!("{}{engine}{pod}", Escaped(&name))));
    }
    let path = path.map(|path| Escaped(path).to_string());
    facts.push(("cgroup", path.unwrap_or_else(|| cgroup.id.to_string())));
    facts
}

const fn evidence(evidence: Evidence) -> &'static str {
    match evidence {
        Evidence::Connect => "called connect",
        Evidence::Listen => "called listen",
        Evidence::Accept => "called accept",
        Evidence::FdScan => "holds it (fd-scan)",
    }
}

/// Returns the traffic of the connection: its totals after its end, before its end the kernel's
/// present counts.
fn traffic(detail: &Detail) -> String {
    let rtt = |rtt: Option<u32>| {
        rtt.map_or(String::new(), |us| {
            format!("   rtt {}", Elapsed(Duration::from_micros(us.into())))
        })
    };
    if let Some(totals) = &detail.history.totals {
        let bytes = |bytes: Option<u64>| {
            bytes.map_or("not known".to_owned(), |bytes| Bytes(bytes).to_string())
        };
        let retransmits = totals.retransmits.map_or("not known".to_owned(), |n| n.to_string());
        return format!(
            "sent {}   received {}   retransmitted {retransmits}{}",
            bytes(totals.bytes_sent),
            bytes(totals.bytes_received),
            rtt(totals.rtt_us)
        );
    }
    let info = detail.inspected.as_ref().and_then(|inspected| inspected.info.as_ref());
    info.map_or("not known".to_owned(), |info| {
        format!(
            "sent {}   received {}   retransmitted {}{}   cwnd {}",
            Bytes(info.bytes_sent),
            Bytes(info.bytes_received),
            info.retransmits,
            rtt(info.rtt_us),
            info.cwnd
        )
    })
}

/// Draws the steps, the latest last; leaves the first steps out if there is no room for all.
fn history(
    detail: &Detail,
    theme: Palette,
    area: Rect,
    time: &mut impl FnMut(Mono) -> String,
    buffer: &mut Buffer,
) {
    let steps = &detail.history.steps;
    let lines = usize::from(area.height.saturating_sub(1));
    let heading = match steps.is_empty() {
        true => " History: nothing since netmon looks".to_owned(),
        false => format!(" {:>2} {:<15} {:<11} {:>6}", "#", "History", "came to", "after"),
    };
    Line::styled(fit(&heading, area.width.into()), STRONG)
        .render(Rect { height: 1, ..area }, buffer);
    let skipped = steps.len().saturating_sub(lines);
    let steps = (1..).zip(detail.history.steps()).skip(skipped);
    for (y, (number, (step, after))) in (area.y + 1..area.bottom()).zip(steps) {
        let after = after.map_or("-".to_owned(), |span| Elapsed(span).to_string());
        let text = format!(
            " {number:>2} {:<15} {:<11} {after:>6} {}",
            time(step.time),
            step.new,
            step.why(None)
        );
        let tone = step.verdict.map_or(Tone::Plain, Tone::of_verdict);
        let style = theme.style(tone);
        Line::styled(fit(&text, area.width.into()), style)
            .render(Rect { y, height: 1, ..area }, buffer);
    }
}
