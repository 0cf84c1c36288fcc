//! `docs`: the pictures of README, drawn again; the queries of docs/journal.md, run against a
//! journal and compared with netmon; and netstat's output, read by another program.

use std::{
    env, fs,
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    thread,
    time::Duration,
};

use anyhow::{Context, ensure};
use clap::Args;
use rustix::process::{getgid, getuid};

use super::{
    daemon::RunningNetmon,
    python::python,
    run::PROGRAM,
    shell::{as_root, cargo, is_root, output, root, run},
};

/// Packages that the page needs, as PyPI calls them: the engines (duckdb, pandas, polars, chdb),
/// the reader of Parquet that pandas uses (pyarrow), the time zones that DuckDB uses (pytz), and a
/// server that speaks S3 (moto); and the reader of netstat's output (jc).
const PACKAGES: [&str; 8] =
    ["duckdb", "pyarrow", "pandas", "polars", "chdb", "pytz", "moto[server]", "jc"];
/// Spark's package: 456 MB, and a minute to install.
const SPARK: &str = "pyspark";
/// Connections of a load: enough for every kind of query to count something.
const CONNECTIONS: &str = "2000";
/// Options of a load that lasts some seconds, as long as recorders take to start.
const CHURN: [&str; 4] = ["--connections", "8000", "--rate", "1000"];
/// The length of a segment, the shortest that netmon takes.
const SEGMENT: &str = "10s";
/// The time after a signal in which a recorder begins a segment.
const PAUSE: Duration = Duration::from_secs(1);

/// Draw the pictures of README again; run the queries of docs/journal.md against a journal, and
/// compare the answers with netmon's
#[derive(Args, Debug, Default)]
pub(crate) struct Docs {
    /// Draw the pictures only
    #[arg(long, conflicts_with = "spark")]
    pictures: bool,
    /// Check Spark too, with its default settings, on several worker processes
    #[arg(long)]
    spark: bool,
}

impl Docs {
    /// Draws the pictures. Then records a journal and runs every query against it.
    pub(crate) fn run(&self) -> anyhow::Result<()> {
        // The test that compares the pictures writes them.
        run(cargo().args(PROGRAM).args(["--", "pictures::"]).env("SCENARIOS", "write"))?;
        if self.pictures {
            return Ok(());
        }
        // The debug build, which the tests have made: speed does not matter here. The build leaves
        // the file of this program alone, which the scene runs.
        run(cargo().args(["build", "--quiet", "--workspace", "--bin", "netmon"]))?;
        let xtask = env::current_exe().context("the path of this program")?;
        let netmon = xtask.with_file_name("netmon");
        let spark = self.spark.then_some(SPARK);
        let packages: Vec<_> = PACKAGES.into_iter().chain(spark).collect();
        let python = python("docs", &packages)?;
        let scratch = env::temp_dir().join(format!("netmon-docs-{}", std::process::id()));
        let journal = scratch.join("journal");
        fs::create_dir(&scratch).with_context(|| format!("making {}", scratch.display()))?;
        let checked = record(&netmon, &xtask, &journal).and_then(|()| {
            run(script(&python, "check.py").arg(&netmon).current_dir(&journal))?;
            let netstat = root().join("xtask/src/docs/netstat.py");
            run(as_root("unshare").args(["--net", "--"]).arg(&python).arg(netstat).arg(&netmon))?;
            if self.spark {
                let mut spark = script(&python, "spark.py");
                run(spark.arg(&netmon).arg(&journal).current_dir(&scratch))?;
            }
            Ok(())
        });
        run(as_root("rm").args(["-r", "--"]).arg(&scratch))?;
        checked
    }
}

/// Returns the command of a script in `docs/`, with the page as its first argument.
fn script(python: &Path, name: &str) -> Command {
    let mut command = Command::new(python);
    command.arg(root().join("xtask/src/docs").join(name)).arg(root().join("docs/journal.md"));
    // The checkout may be another user's.
    command.env("PYTHONDONTWRITEBYTECODE", "1");
    command
}

/// Records a journal of two hosts, each in several segments. One host is recorded twice, with a
/// break between.
fn record(netmon: &Path, xtask: &Path, journal: &Path) -> anyhow::Result<()> {
    let mut scene = Scene::start(xtask)?;
    // Recorders that start during churn meet connections whose beginning they have not seen.
    let mut churn = Command::new(xtask)
        .args(["load", "--ending", "close"])
        .args(CHURN)
        .stdout(Stdio::null())
        .spawn()
        .context("cannot start the load")?;
    let second = recorder("web2", netmon, journal)?;
    let first = recorder("web1", netmon, journal)?;
    scene.next()?;
    rotate(&first)?;
    load(xtask)?;
    scene.done()?;
    ensure!(churn.wait()?.success(), "the churn failed");
    first.stop()?;
    let first = recorder("web1", netmon, journal)?;
    scene.next()?;
    scene.done()?;
    rotate(&first)?;
    load(xtask)?;
    scene.end()?;
    first.stop()?;
    second.stop()?;
    if !is_root() {
        let owner = format!("{}:{}", getuid().as_raw(), getgid().as_raw());
        run(as_root("chown").args(["-R", &owner]).arg(journal))?;
    }
    Ok(())
}

/// Starts a recorder on a host with the name `host`, in a UTS namespace.
fn recorder(host: &str, netmon: &Path, journal: &Path) -> anyhow::Result<RunningNetmon> {
    let [netmon, journal] =
        [netmon, journal].map(|path| path.to_str().context("a path that is text"));
    let script =
        format!("hostname {host}; exec \"$0\" record --journal \"$1\" --segment-time {SEGMENT}");
    let words = ["--uts", "sh", "-ec", &script, netmon?, journal?];
    RunningNetmon::start(Path::new("unshare"), &words, Stdio::null())
}

/// Makes a recorder begin a segment.
fn rotate(recorder: &RunningNetmon) -> anyhow::Result<()> {
    output(as_root("kill").args(["-HUP", &recorder.id().to_string()]))?;
    thread::sleep(PAUSE);
    Ok(())
}

/// Makes connections that are reset, and connections that are closed.
fn load(xtask: &Path) -> anyhow::Result<()> {
    for ending in ["reset", "close"] {
        let words = ["load", "--connections", CONNECTIONS, "--ending", ending];
        output(Command::new(xtask).args(words))?;
    }
    Ok(())
}

/// The traffic besides the load, which ends when the value is dropped.
struct Scene {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
}

impl Scene {
    fn start(xtask: &Path) -> anyhow::Result<Self> {
        let mut child = as_root("python3")
            .arg(root().join("xtask/src/docs/scene.py"))
            .arg(xtask)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("starting the scene")?;
        let stdin = child.stdin.take();
        let stdout = BufReader::new(child.stdout.take().context("its output")?);
        let mut scene = Self { child, stdin, stdout };
        scene.wait_for("ready")?;
        Ok(scene)
    }

    /// Begins the next part of the scene.
    fn next(&mut self) -> anyhow::Result<()> {
        let stdin = self.stdin.as_mut().context("its input")?;
        writeln!(stdin).context("the scene has ended")
    }

    /// Waits until the current part is done.
    fn done(&mut self) -> anyhow::Result<()> {
        self.wait_for("done")
    }

    fn wait_for(&mut self, word: &str) -> anyhow::Result<()> {
        let mut line = String::new();
        self.stdout.read_line(&mut line)?;
        ensure!(line.trim() == word, "the scene failed: it printed '{}'", line.trim());
        Ok(())
    }

    fn end(mut self) -> anyhow::Result<()> {
        drop(self.stdin.take());
        let status = self.child.wait()?;
        ensure!(status.success(), "the scene failed: {status}");
        Ok(())
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        // The scene ends with its input, and removes its namespace.
        drop(self.stdin.take());
        let _ = self.child.wait();
    }
}
