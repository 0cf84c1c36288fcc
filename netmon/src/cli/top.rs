//! `netmon top`: the live table, full screen.

mod answers;
mod kept_settings;
mod played;
mod traffic;

use std::{
    collections::VecDeque,
    env,
    io::{self, IsTerminal, Write},
    slice,
    sync::{
        Arc,
        mpsc::{Sender, channel, sync_channel},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::{Context, bail};
use clap::Args;
use log::LevelFilter;
use netmon_common::KernelFilter;
use tokio::sync::{
    Notify,
    mpsc::{self, Sender as Inputs},
};

use answers::answer;
use kept_settings::KeptSettings;

use super::{
    args::{
        journal::{JournalArgs, report_unknown_self},
        tracing::{CONFINING, TracingArgs, attach, is_coloured, runtime, stop_on_signals},
    },
    io::{log_writer::HeldLog, stderr::report, stdout::Stdout},
    names::{LocalNames, RecordedNames, filter_at_once, own_netns},
};
use crate::{
    core::{
        change::Change,
        escape::Escaped,
        event::Event,
        filter::{Filter, FilterNames, RowKind},
        services::Services,
        table::ConnectionTable,
    },
    kernel::host::{
        clock::now,
        privilege::{Duty, narrow},
    },
    session::{Limits, Session, SessionScope, SessionSummary, Source, View, run},
    view::tui::{
        Channels, ScreenAnswer, ScreenInput, ScreenOptions, ScreenQuery, ScreenSettings,
        ScreenState, Size, TopView, frame,
        terminal::{self, TerminalGuard},
        text,
    },
};

/// The longest time for the end after a signal.
const GRACE: Duration = Duration::from_secs(5);
/// The most inputs on their way to the loop: more than a person makes in a frame.
const INPUTS: usize = 256;
/// The time that `--once` follows the connections, so that there are rates.
const GLANCE: Duration = Duration::from_millis(2_100);
/// The longest time that the terminal may take for its last frame, and the number of checks.
const LAST_FRAME: Duration = Duration::from_millis(500);
const LAST_FRAME_TRIES: u32 = 100;
/// Columns and lines of a terminal that does not report its size.
const USUAL: (u16, u16) = (80, 24);
/// The most columns and lines that the environment may ask for.
const LARGEST: u16 = 1_000;

/// Show the live table of connections, full screen; `?` shows the keys
#[derive(Debug, Args)]
#[command(before_help = EXAMPLES, after_help = super::FILTER_HELP)]
pub(super) struct TopCommand {
    /// Show only the past: begin at this moment of the journal, and trace nothing
    #[arg(long, value_name = "TIME")]
    at: Option<String>,
    /// Show port numbers instead of service names
    #[arg(short = 'n', long)]
    numeric: bool,
    /// Print one frame as text and end
    #[arg(long)]
    once: bool,
    #[command(flatten)]
    past: JournalArgs,
    #[command(flatten)]
    tracing: TracingArgs,
    /// Connections to show, as for ss: dport = :443; `/` changes the filter
    #[arg(value_name = "FILTER")]
    filter: Vec<String>,
}

const EXAMPLES: &str = "\
Examples:
  sudo netmon top                                the live table
  sudo netmon top 'comm = nginx'                 only connections of nginx
  sudo netmon top --journal /var/log/netmon      with the past, by [ and ]";

/// The duties of the thread that answers: it inspects sockets of other namespaces.
const ANSWER_DUTIES: &[Duty] = &[Duty::Enter];
/// The duties of that thread where it also opens journals.
const PAST_ANSWER_DUTIES: &[Duty] = &[Duty::Enter, Duty::Open];

/// The channels to the screen and from the screen.
struct Outside {
    to: Inputs<ScreenInput>,
    inputs: mpsc::Receiver<ScreenInput>,
    asks: Sender<ScreenQuery>,
}

impl TopCommand {
    pub(super) fn duties(&self) -> &'static [Duty] {
        if self.at.is_some() { super::READING } else { &Duty::ALL }
    }

    pub(super) fn run(self, log: LevelFilter) -> anyhow::Result<()> {
        let is_terminal = io::stdin().is_terminal() && io::stdout().is_terminal();
        if !self.once && !is_terminal {
            bail!("`netmon top` takes a terminal: `netmon top --once` prints one frame anywhere");
        }
        runtime()?.block_on(self.show(log))
    }

    async fn show(self, log: LevelFilter) -> anyhow::Result<()> {
        // A bad filter ends the program, as everywhere.
        // One frame is the same for every user.
        let kept = if self.once { KeptSettings::none() } else { KeptSettings::read() };
        let names: Box<dyn FilterNames + Send> = match self.at {
            Some(_) => Box::new(RecordedNames(LocalNames::new())),
            None => Box::new(LocalNames::new()),
        };
        let text = self.filter.join(" ");
        let filter = Filter::parse(&text, &*names, RowKind::Connection)
            .unwrap_or_else(|error| super::refuse(&error));
        let state = ScreenState::new(self.options((filter, text), kept.settings.clone())?, size());
        let stop = stop_on_signals(GRACE, if self.once { || {} } else { terminal::give_back })?;
        let (to, inputs) = mpsc::channel(INPUTS);
        let (asks, questions) = channel();
        let (past, answers) = (self.past.clone(), to.clone());
        // Before the privileges for loading are given up: a journal may be another user's.
        let duties = match (self.at.is_some(), state.has_past()) {
            (true, _) => super::READING,
            (false, true) => PAST_ANSWER_DUTIES,
            (false, false) => ANSWER_DUTIES,
        };
        spawn(terminal::PANIC_EXEMPT_THREAD, duties, move || {
            answer(&questions, &answers, &past, &*names);
        })?;
        let outside = Outside { to, inputs, asks };
        if self.at.is_some() {
            narrow(&[]).context(CONFINING)?;
            return self.screen(state, &mut IdleSource, outside, kept, &stop).await;
        }
        let mut live = attach(self.tracing.options(log, KernelFilter::ANY))?;
        self.screen(state, &mut live, outside, kept, &stop).await
    }

    fn options(
        &self,
        filter: (Filter, String),
        settings: ScreenSettings,
    ) -> anyhow::Result<ScreenOptions> {
        let services = Services::load();
        let known = services.clone();
        let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
        let past = self.past.is_chosen() || self.at.is_some();
        // Errors of the journal are better reported before the screen is taken over.
        let journal = past.then(|| self.past.open_one()).transpose()?;
        let at = self.at.as_ref().map(|at| self.past.moment(at));
        if let (Some(journal), Some(at)) = (&journal, at) {
            journal.enclosed(|| self.past.check_host(journal, at))?;
        }
        if let Some(journal) = &journal {
            report_unknown_self(slice::from_ref(journal), filter.0.names_own_netns());
        }
        Ok(ScreenOptions {
            host: escaped(journal.as_ref().map_or(&*host, |journal| &**journal.name())),
            own_netns: own_netns(),
            at,
            filter,
            parse: Box::new(move |text| filter_at_once(text, &known)),
            services,
            numeric: self.numeric,
            zone: self.past.zone(),
            colour: is_coloured(),
            settings,
            past,
            moment: Box::new(self.past.reader_of_moments()),
        })
    }

    /// Shows the events of `source` on the screen, or prints one frame.
    async fn screen(
        &self,
        state: ScreenState,
        source: &mut impl Source,
        outside: Outside,
        kept: KeptSettings,
        stop: &Arc<Notify>,
    ) -> anyhow::Result<()> {
        let scope = SessionScope { filter: Filter::default(), initial: true, include_dumped: true };
        let Outside { to, inputs, asks } = outside;
        if self.once {
            return once(state, source, &scope, (&asks, inputs), stop).await;
        }
        // Before the guard of the terminal, so that the terminal is given back before messages are
        // written.
        let _held_log = HeldLog::new();
        let guard = TerminalGuard::new().context("taking the terminal over")?;
        let (frames, receiver) = sync_channel(1);
        let screen = spawn("netmon:screen", &[], move || {
            // The sender of the next frame notices an error.
            let _ = terminal::show(receiver);
        })?;
        spawn("netmon:keys", &[], move || terminal::listen(to))?;
        let channels = Channels { inputs, asks, frames, stop: Arc::clone(stop), now };
        let mut top = TopView::new(state, channels);
        let result = run(source, &mut top, &scope, Limits::default(), stop).await;
        let settings = top.settings().clone();
        // No frame may come after the terminal was given back. A terminal that does not take its
        // last frame is not waited for.
        drop(top);
        for _ in 0..LAST_FRAME_TRIES {
            if screen.is_finished() {
                break;
            }
            thread::sleep(LAST_FRAME / LAST_FRAME_TRIES);
        }
        drop(guard);
        kept.write(&settings);
        let summary = result?;
        if self.at.is_none() {
            let SessionSummary { seen, lost, .. } = summary;
            report(format_args!("{seen} transitions seen, {lost} events lost"));
        }
        Ok(())
    }
}

/// Follows the connections for a while, or reads a moment of the past, and prints the frame that a
/// screen would show.
async fn once(
    state: ScreenState,
    source: &mut impl Source,
    scope: &SessionScope,
    (asks, mut inputs): (&Sender<ScreenQuery>, mpsc::Receiver<ScreenInput>),
    stop: &Notify,
) -> anyhow::Result<()> {
    let mut glance = Glance { state };
    let mut session = Session::new(scope);
    let questions = glance.state.asks();
    if questions.is_empty() {
        let limits = Limits { duration: Some(GLANCE), count: None };
        session.follow(source, &mut glance, limits, stop).await?;
        // A frame without the kernel's connections would be taken for the truth.
        if session.reconciled() == 0 {
            bail!("ended before the kernel's connections were read: there is no frame to print");
        }
    }
    for question in questions {
        let _ = asks.send(question);
        match inputs.recv().await {
            Some(ScreenInput::Answer(ScreenAnswer::Nowhere(why))) => bail!("{why}"),
            Some(ScreenInput::Answer(answer)) => glance.state.answer(answer),
            _ => {}
        }
    }
    glance.state.settle(session.table(), now());
    let names = glance.state.asks().into_iter().filter(|ask| matches!(ask, ScreenQuery::Name(_)));
    for question in names {
        let _ = asks.send(question);
        if let Some(ScreenInput::Answer(answer)) = inputs.recv().await {
            glance.state.answer(answer);
        }
    }
    let frame = frame(&glance.state, glance.state.size());
    let mut out = Stdout::lock();
    out.write_all(text(&frame).as_bytes())?;
    Ok(out.flush()?)
}

/// The view of `--once`.
struct Glance {
    state: ScreenState,
}

impl View for Glance {
    fn change(&mut self, change: &Change<'_>) -> io::Result<bool> {
        self.state.change(change);
        Ok(true)
    }

    fn flush(&mut self, table: &ConnectionTable) -> io::Result<()> {
        let now = now();
        if self.state.due().is_none_or(|due| due <= now) {
            self.state.settle(table, now);
        }
        Ok(())
    }
}

fn escaped(text: &str) -> String {
    Escaped(text.as_bytes()).to_string()
}

/// The source when nothing is traced.
struct IdleSource;

impl Source for IdleSource {
    type Item = Event;

    async fn next(&mut self, _: &mut VecDeque<Event>) -> io::Result<bool> {
        std::future::pending().await
    }

    async fn finish(&mut self, _: &mut VecDeque<Event>) -> io::Result<()> {
        Ok(())
    }
}

/// Starts a thread with no more privileges than its duties take.
fn spawn(
    name: &str,
    duties: &'static [Duty],
    work: impl FnOnce() + Send + 'static,
) -> anyhow::Result<JoinHandle<()>> {
    let narrowed = move || match narrow(duties) {
        Ok(()) => work(),
        Err(error) => log::error!("{CONFINING}: {error}"),
    };
    thread::Builder::new().name(name.to_owned()).spawn(narrowed).context("starting a thread")
}

/// Returns columns and lines of the terminal. Without a terminal, COLUMNS and LINES of the
/// environment, or the usual ones.
fn size() -> Size {
    match rustix::termios::tcgetwinsize(io::stdout()) {
        Ok(size) if size.ws_col > 0 => Size::new(size.ws_col, size.ws_row),
        _ => {
            let dimension = |name| {
                let number: u16 = env::var(name).ok()?.parse().ok()?;
                (number > 0).then_some(number.min(LARGEST))
            };
            Size::new(
                dimension("COLUMNS").unwrap_or(USUAL.0),
                dimension("LINES").unwrap_or(USUAL.1),
            )
        }
    }
}
