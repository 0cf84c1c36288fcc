//! The hour around a moment of the past: its changes, its gaps, and the moment.

use ratatui::{
    buffer::Buffer,
    layout::Rect,
    text::{Line, Span},
    widgets::Widget,
};

use super::{DIM, HEADING, bar, header::number};
use crate::view::palette::{Palette, Tone};
use crate::{
    core::time::Wall,
    view::tui::{
        cells::fit,
        layout::TimelineColumns,
        rates::{HEIGHT, heights},
        state::ScreenState,
        time_travel::Timeline,
    },
};

/// The factor that keeps the roots of small numbers apart.
const FINE: u64 = 10_000;
/// The sign of a gap.
const GAP: char = '×';

pub(super) fn draw(state: &ScreenState, theme: Palette, area: Rect, buffer: &mut Buffer) {
    let (Some(past), Some(timeline)) = (&state.past, &state.timeline) else { return };
    if area.height < 2 {
        return;
    }
    let columns = TimelineColumns::of(area);
    let count = usize::from(columns.count);
    let Timeline { span, counts, gaps } = timeline;
    let part = span.to.since(span.from) / u32::from(columns.count.max(1));
    let start = |place: usize| span.from + part * u32::try_from(place).unwrap_or(u32::MAX);
    let sums: Vec<u64> = sums(counts, count);
    let most = sums.iter().copied().max().unwrap_or(0);
    // Roots, so that few changes stay in sight beside a burst.
    let heights = heights(sums.iter().map(|sum| sum.saturating_mul(FINE).isqrt()), count);
    let here = (0..count).rev().find(|place| start(*place) <= past.at.wall).unwrap_or(0);
    let time = |moment: Wall, format: &str| {
        moment.timestamp().to_zoned(state.options.zone.clone()).strftime(format).to_string()
    };
    let mut spans = vec![Span::styled(format!(" {} ", time(span.from, "%H:%M")), DIM)];
    for place in 0..count {
        let (from, to) = (start(place), start(place + 1));
        let has_gap = gaps.iter().any(|gap| gap.from < to && gap.to >= from);
        let height = heights.get(place).copied().unwrap_or(0);
        let (sign, style) = match has_gap {
            true => (GAP, theme.style(Tone::Warning)),
            false => (bar(height), theme.style(Tone::Begin)),
        };
        let style = if place == here { style.patch(HEADING) } else { style };
        spans.push(Span::styled(sign.to_string(), style));
    }
    spans.push(Span::styled(format!(" {} ", time(span.to, "%H:%M")), DIM));
    Line::from(spans).render(Rect { height: 1, ..area }, buffer);
    let legend = match counts.is_empty() {
        true => "reading …".to_owned(),
        #[expect(clippy::cast_precision_loss, reason = "shown with three digits")]
        false => {
            let rate = most as f64 / part.as_secs_f64().max(1.0);
            let gap = if gaps.is_empty() { "" } else { "; × a gap" };
            let (full, part) = (bar(HEIGHT), bar(HEIGHT / 2));
            // Heights are roots.
            let less = rate * (f64::from(HEIGHT / 2) / f64::from(HEIGHT)).powi(2);
            format!("{full} {} changes/s, {part} {}{gap}", number(rate), number(less))
        }
    };
    let indent = usize::from(columns.from - area.x);
    let moment = format!("▲ {}", time(past.at.wall, "%H:%M"));
    // The legend stands where the moment does not.
    let line = if here < count / 2 {
        let room = count.saturating_sub(here + 8);
        format!("{:1$}{moment:<8}{2:>room$}", "", indent + here, fit(&legend, room))
    } else {
        format!("{:indent$}{:<here$}{moment}", "", fit(&legend, here))
    };
    let line = fit(&line, area.width.into());
    Line::styled(line, DIM).render(Rect { y: area.y + 1, height: 1, ..area }, buffer);
}

/// Returns the sums of `count` equal parts of `counts`.
fn sums(counts: &[u64], count: usize) -> Vec<u64> {
    if count == 0 || counts.is_empty() {
        return Vec::new();
    }
    let mut sums = vec![0; count];
    for (place, value) in counts.iter().enumerate() {
        sums[place * count / counts.len()] += value;
    }
    sums
}
