//! A projection of the figures of a run to a host that is much larger.

use super::{
    churn::{LOOP_OF_RECORD, LOOP_OF_WATCH},
    figure::Figure,
    micro::{MERGE_OF_2, MERGE_OF_128},
    snapshot::{LISTING, OWNERS},
    start::EACH,
};

const CONNECTIONS: f64 = 1e6;
/// Connections a second that a core of that host makes and ends beside its work, with ten
/// transitions each.
const RATE: f64 = 1_000.0;
/// The CPUs of that host, each with a ring of its own: see [`MERGE_OF_128`].
const CORES: f64 = 128.0;
const TRANSITIONS: f64 = 10.0;

/// Returns the paragraph, or nothing where a figure for it is missing.
pub(super) fn paragraph(figures: &[Figure]) -> String {
    let of = |what: &str| {
        let figure = figures.iter().find(|figure| figure.what.starts_with(what))?;
        Some(figure.median()).filter(|median| median.is_finite())
    };
    let reckon = || {
        let (watch, record) = (of(LOOP_OF_WATCH)?, of(LOOP_OF_RECORD)?);
        let megabytes = of(EACH)? * CONNECTIONS / 1e6;
        // The loops were measured with two CPUs. That host has a ring for each of its own.
        let merge = (of(MERGE_OF_128)? - of(MERGE_OF_2)?).max(0.0);
        let (watch, record) = (watch + merge, record + merge);
        // Both were measured with 200,000 sockets.
        let (listing, owners) = (of(LISTING)? * 5.0, of(OWNERS)? * 5.0);
        let events = CORES * RATE * TRANSITIONS;
        let share = |ns: f64| events * ns / 1e9 * 100.0;
        Some(format!(
            "\nA host with {CORES} cores and a million connections, from the figures above: the \
             table takes {megabytes:.0} MB, a listing {listing:.1} s and with owners \
             {owners:.1} s. With {RATE} connections a second for each core there are {events:.0} \
             transitions a second: the one reader of `watch --json` would be busy for {:.0} % of \
             its core, the reader of `record` for {:.0} %, {merge:.0} ns a transition for the \
             merge of {CORES} rings included; at 100 % the rings fill, and losses are reported and \
             repaired. The reader keeps up with {:.1} and {:.1} million transitions a second.\n",
            share(watch),
            share(record),
            1e3 / watch,
            1e3 / record,
        ))
    };
    reckon().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_host_is_reckoned_from_all_figures_or_not_at_all() {
        let figure = |what: &str, measured| Figure::new(what, vec![measured]);
        let mut figures = vec![
            figure(LOOP_OF_WATCH, 500.0),
            figure(LOOP_OF_RECORD, 250.0),
            figure(EACH, 300.0),
            figure(LISTING, 0.2),
            figure(OWNERS, 0.4),
            figure(MERGE_OF_2, 20.0),
            figure(MERGE_OF_128, 50.0),
        ];
        let text = paragraph(&figures);
        for part in [
            "300 MB",
            "listing 1.0 s",
            "owners 2.0 s",
            "68 % of its",
            "36 %, 30 ns a transition for the merge of 128 rings",
            "1.9 and 3.6 million",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
        figures.pop();
        assert_eq!(paragraph(&figures), "");
    }
}
