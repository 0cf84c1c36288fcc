//! `bench growth`: the growth of cost with sockets, and with connections a second.

use clap::Args;

use super::{
    churn::{Runs, follow, load_for},
    figure::Figure,
    hold::Holders,
    plot::{Curve, Plot},
    process,
    snapshot::measure,
    start::{settled_memory, watch},
};
use crate::workload::churn::Ending;

#[derive(Args, Clone, Debug)]
pub(crate) struct Growth {
    /// Rounds of each point
    #[arg(long, default_value_t = 3)]
    pub(super) rounds: u32,
    /// Seconds of each load
    #[arg(long, default_value_t = 5)]
    seconds: u64,
}

const SOCKETS: [u32; 4] = [1_000, 10_000, 100_000, 200_000];
/// Requested connections a second. The last rates are more than two cores make.
const RATES: [u32; 7] = [1_000, 5_000, 10_000, 20_000, 30_000, 45_000, 60_000];
const MIB: f64 = 1_048_576.0;

impl Growth {
    pub(super) fn run(&self) -> anyhow::Result<(Vec<Figure>, Vec<Plot>)> {
        let (mut figures, sizes) = self.sockets()?;
        let (more, rates) = self.rates()?;
        figures.extend(more);
        Ok((figures, sizes.into_iter().chain(rates).collect()))
    }

    /// Measures the growth of cost with the number of sockets.
    #[expect(clippy::cast_precision_loss, reason = "bytes")]
    fn sockets(&self) -> anyhow::Result<(Vec<Figure>, [Plot; 2])> {
        let mut figures = Vec::new();
        let mut curves =
            ["ss -tan", "netmon snapshot -tan", "netmon snapshot -tanp"].map(Curve::new);
        let (mut starts, mut memory) =
            (Curve::new("start to attached, s"), Curve::new("memory, MiB"));
        for sockets in SOCKETS {
            let holders = Holders::start(sockets)?;
            eprintln!("{sockets} sockets held by {} processes", holders.processes());
            let (mut seconds, mut start) = ([const { Vec::new() }; 3], Vec::new());
            for _ in 0..self.rounds {
                let commands = [("ss", "-tan"), ("netmon", "-tan"), ("netmon", "-tanp")];
                for (seconds, (program, flags)) in seconds.iter_mut().zip(commands) {
                    seconds.push(measure(program, flags)?.0);
                }
                let netmon = watch()?;
                start.push(netmon.start.as_secs_f64());
                netmon.stop()?;
            }
            let memory_used = settled_memory()? as f64 / MIB;
            for (curve, seconds) in curves.iter_mut().zip(seconds) {
                let figure = Figure::new(format!("{}, {sockets} sockets: s", curve.name), seconds);
                curve.points.push((f64::from(sockets), figure.median()));
                figures.push(figure);
            }
            let figure = Figure::new(format!("start to attached, {sockets} sockets: s"), start);
            starts.points.push((f64::from(sockets), figure.median()));
            memory.points.push((f64::from(sockets), memory_used));
            figures.push(figure);
            figures.push(Figure::new(format!("watch, {sockets} sockets: MiB"), vec![memory_used]));
        }
        let [ss, tan, tanp] = curves;
        let listing = Plot::new("sockets-time", "sockets", "seconds", vec![ss, tan, tanp, starts]);
        let memory = Plot::new("sockets-memory", "sockets", "MiB", vec![memory]);
        Ok((figures, [listing, memory]))
    }

    /// Measures the growth of cost with the connections that come and go a second.
    fn rates(&self) -> anyhow::Result<(Vec<Figure>, [Plot; 1])> {
        let mut figures = Vec::new();
        let mut user = ["watch --json > file", "record"].map(Curve::new);
        let mut kernel = Curve::new("kernel programs");
        let _statistics = process::Statistics::kept(true)?;
        for rate in RATES {
            let mut share = Vec::new();
            let mut reached = Vec::new();
            for (curve, record) in user.iter_mut().zip([false, true]) {
                let mut runs = Runs::default();
                for _ in 0..self.rounds {
                    let load = || load_for(self.seconds, Some(rate), Ending::Close);
                    reached.push(follow(record, load, &mut runs)?);
                }
                #[expect(clippy::cast_precision_loss, reason = "seconds")]
                let percent =
                    runs.cpu.iter().map(|cpu| cpu / self.seconds as f64 * 100.0).collect();
                let what =
                    format!("{}, {rate} connections a second asked for: % of a core", curve.name);
                let figure = Figure::new(what, percent);
                let made = Figure::new("", reached.clone()).median();
                curve.points.push((made, figure.median()));
                figures.push(figure);
                // Each connection makes ten transitions.
                share.extend(runs.kernel.iter().map(|ns| ns * 10.0 * made / 1e9 * 100.0));
            }
            let what =
                format!("kernel programs, {rate} connections a second asked for: % of a core");
            let figure = Figure::new(what, share);
            let made = Figure::new(format!("connections a second made of {rate}"), reached);
            kernel.points.push((made.median(), figure.median()));
            figures.extend([figure, made]);
        }
        let [watch, record] = user;
        let plot = Plot::new(
            "rate-cpu",
            "connections a second",
            "% of a core",
            vec![watch, record, kernel],
        );
        Ok((figures, [plot]))
    }
}
