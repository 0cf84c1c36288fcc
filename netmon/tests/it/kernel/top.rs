//! `netmon top` in a real terminal, that of tmux: keys are sent, and the screen is read.

use std::{
    cell::Cell,
    io::Write,
    net::{TcpListener, TcpStream},
    path::PathBuf,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use netmon::testing::TerminalGuard;

use crate::kernel::{
    harness::{here, patience},
    netns::{Netns, sh},
};
use crate::schema::object;

/// The variable that makes this program panic when it starts itself.
const PANICS: &str = "NETMON_TEST_PANICS";
/// The text that a shell prints when the command before has ended.
pub(crate) const ENDED: &str = "ended with";

/// A terminal, by default of 100 columns and 40 lines.
pub(crate) struct Terminal {
    socket: String,
    _settings: Option<Settings>,
}

/// A directory for settings, removed on drop. Settings that a user of this host keeps would change
/// the screen.
struct Settings(PathBuf);

impl Settings {
    fn new(name: &str) -> Self {
        let name = format!("netmon-top-{name}-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path).expect("a directory");
        Self(path)
    }

    /// Returns the command line of a top with these settings.
    fn top(&self, arguments: &str) -> String {
        let (settings, netmon) = (self.0.display(), env!("CARGO_BIN_EXE_netmon"));
        format!("XDG_STATE_HOME={settings} {netmon} top {arguments}")
    }
}

impl Drop for Settings {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

const SIZE: (u16, u16) = (100, 40);

impl Terminal {
    /// Runs a command in a new terminal of 100 columns and 40 lines, in the namespace of this
    /// thread, and then a shell.
    pub(crate) fn run(name: &str, command: &str) -> Self {
        Self::sized(name, SIZE, command)
    }

    /// Runs a command in a new terminal of so many columns and lines.
    pub(crate) fn sized(name: &str, (columns, lines): (u16, u16), command: &str) -> Self {
        let socket = format!("netmon-{name}-{}", std::process::id());
        let terminal = Self { socket, _settings: None };
        let script = format!("{command}; echo {ENDED} $?; stty -a; exec sleep 60");
        let (columns, lines) = (columns.to_string(), lines.to_string());
        let size = ["-x", &columns, "-y", &lines, &script];
        terminal.tmux(&[&["-f", "/dev/null", "new-session", "-d"][..], &size].concat());
        terminal
    }

    pub(crate) fn netmon(name: &str, arguments: &str) -> Self {
        let settings = Settings::new(name);
        let mut terminal = Self::run(name, &settings.top(arguments));
        terminal._settings = Some(settings);
        terminal
    }

    fn tmux(&self, words: &[&str]) -> String {
        let mut command = Command::new("tmux");
        command.args(["-u", "-L", &self.socket]).args(words).env("LC_ALL", "C.UTF-8");
        let output = command.output().expect("tmux: `apt-get install tmux`");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "tmux {words:?}: {stderr}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    pub(crate) fn press(&self, keys: &[&str]) {
        self.tmux(&[&["send-keys"], keys].concat());
    }

    pub(crate) fn write(&self, text: &str) {
        self.tmux(&["send-keys", "-l", text]);
    }

    fn screen(&self) -> String {
        self.tmux(&["capture-pane", "-p"])
    }

    /// Everything that was written, with the parts of a wrapped line joined.
    pub(crate) fn joined_lines(&self) -> String {
        self.tmux(&["capture-pane", "-p", "-J", "-S", "-"])
    }

    /// Waits until `done` holds for the screen. Returns the screen.
    pub(crate) fn until(&self, what: &str, done: impl Fn(&str) -> bool) -> String {
        let end = Instant::now() + patience();
        loop {
            let screen = self.screen();
            if done(&screen) {
                return screen;
            }
            assert!(Instant::now() < end, "waiting for {what}:\n{screen}");
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// Waits until the shell has a child. Returns its process id.
    pub(crate) fn pid(&self) -> u32 {
        let shell = self.tmux(&["display", "-p", "#{pane_pid}"]);
        let path = format!("/proc/{0}/task/{0}/children", shell.trim());
        let child = Cell::new(None);
        self.until("one child of the shell", |_| {
            let children = std::fs::read_to_string(&path).expect("its children");
            child.set(children.trim().parse().ok());
            child.get().is_some()
        });
        child.get().expect("just seen")
    }

    /// Asserts that the terminal is as before: the normal screen, no mouse, the cursor, echo,
    /// lines. Returns the screen.
    fn assert_given_back(&self) -> String {
        let screen =
            self.until("the end", |screen| screen.contains(ENDED) && screen.contains("-echoprt"));
        let flags = "#{alternate_on} #{mouse_any_flag} #{cursor_flag}";
        assert_eq!(self.tmux(&["display", "-p", flags]).trim(), "0 0 1", "{screen}");
        for setting in ["icanon", "echo", "isig", "opost"] {
            assert!(screen.split_whitespace().any(|word| word == setting), "{setting}:\n{screen}");
        }
        screen
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = Command::new("tmux").args(["-L", &self.socket, "kill-server"]).status();
    }
}

/// Makes connections to a listener. Returns the listener and both ends of each connection.
fn connections(count: usize) -> (TcpListener, Vec<(TcpStream, TcpStream)>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let address = listener.local_addr().expect("bound");
    let connect = |_| {
        let client = TcpStream::connect(address).expect("connected");
        (client, listener.accept().expect("accepted").0)
    };
    let held = (0..count).map(connect).collect();
    (listener, held)
}

/// The number of TCP sockets in a state, as a listing of this namespace counts them.
fn listed(state: &str) -> usize {
    let mut command = Command::new(env!("CARGO_BIN_EXE_netmon"));
    let output =
        command.args(here(&["snapshot", "-tan", "--summary", "--json"])).output().expect("netmon");
    let counts = String::from_utf8(output.stdout).expect("text");
    let counts = counts.lines().map(object);
    let in_state = counts.filter(|count: &serde_json::Value| count["state"] == state);
    in_state
        .map(|count| usize::try_from(count["count"].as_u64().expect("a count")).expect("few"))
        .sum()
}

/// The rows of the table with an address of loopback or of a listener, above the pane of the latest
/// transitions.
fn rows(screen: &str) -> Vec<&str> {
    let table = screen.lines().skip(7).take_while(|line| !line.starts_with('─'));
    table.filter(|line| line.contains("127.0.0.1") || line.contains("0.0.0.0")).collect()
}

#[test]
fn top_lists_filters_and_inspects_connections() {
    let netns = Netns::new();
    netns.run(|| {
        let (listener, held) = connections(5);
        let (other, _more) = connections(2);
        let port = listener.local_addr().expect("bound").port();
        let terminal = Terminal::netmon("looks", &format!("-n 'netns = {}'", netns.inum));
        // 2 listeners, 7 connections with two ends.
        let screen = terminal.until("all rows", |screen| screen.contains(" of 16 "));
        assert_eq!(rows(&screen).len(), 16, "{screen}");
        let established = rows(&screen).iter().filter(|row| row.contains(" ESTABLISHED")).count();
        assert_eq!((established, listed("ESTABLISHED")), (14, 14));
        assert_eq!(listed("LISTEN"), 2);
        // No row of another port is left.
        terminal.press(&["/", "C-u"]);
        terminal.write(&format!("netns = {} and sport = {port}", netns.inum));
        terminal.press(&["Enter"]);
        let screen = terminal.until("its rows", |screen| screen.contains(" of 6 "));
        assert!(
            rows(&screen).iter().all(|row| row.contains(&format!("127.0.0.1:{port} "))),
            "{screen}"
        );
        assert_eq!(rows(&screen).len(), 6, "{screen}");
        assert!(!screen.contains(&format!(":{} ", other.local_addr().expect("bound").port())));
        // The end of a connection is shown, and stays to be read.
        terminal.press(&["s", "s", "s", "s", "s", "/", "C-u"]);
        let client = held[0].0.local_addr().expect("bound").port();
        terminal.write(&format!("netns = {} and sport = {client}", netns.inum));
        terminal.press(&["Enter"]);
        terminal.until("one row", |screen| rows(screen).len() == 1);
        drop(held);
        let gone =
            |screen: &str| screen.contains("closed-by-peer") || screen.contains("closed-locally");
        terminal.until("verdicts", gone);
        terminal.press(&["Enter"]);
        let screen = terminal.until("its history", |screen| screen.contains("History"));
        for part in ["TIME_WAIT", "FIN_WAIT1", "closed-locally", "began before netmon looked"] {
            assert!(screen.contains(part), "{part}:\n{screen}");
        }
        terminal.press(&["q"]);
        let screen = terminal.assert_given_back();
        assert!(screen.contains("ended with 0"), "{screen}");
    });
}

#[test]
fn the_list_freezes_and_settings_are_kept() {
    let netns = Netns::new();
    netns.run(|| {
        let (listener, mut held) = connections(3);
        let settings = Settings::new("kept");
        let command = settings.top(&format!("-n 'netns = {}'", netns.inum));
        let terminal = Terminal::sized("freezes", (80, 24), &command);
        terminal.until("all rows", |screen| screen.contains(" of 7 "));
        terminal.press(&["Down", "Space"]);
        terminal.until("the ice", |screen| screen.contains("list frozen for"));
        held.clear();
        // The header goes on: TIME_WAITs are counted. The list stays.
        let is_later = |screen: &str| {
            let count = screen.split("TIME_WAIT").nth(1).unwrap_or_default().trim_start();
            !count.is_empty() && !count.starts_with("0/")
        };
        let screen = terminal.until("the end of the connections", is_later);
        let established = rows(&screen).iter().filter(|row| row.contains(" ESTABLISHED")).count();
        assert_eq!((established, rows(&screen).len()), (6, 7), "{screen}");
        terminal.press(&["Space"]);
        terminal.until("the thaw", |screen| !screen.contains("frozen"));
        // No process any more.
        terminal.press(&["F2"]);
        terminal.until("the columns", |screen| screen.contains("[x] PID/Program"));
        terminal.press(&["Space"]);
        terminal.until("the choice", |screen| screen.contains("[ ] PID/Program"));
        terminal.press(&["q"]);
        terminal.until("the end", |screen| screen.contains(ENDED));
        let terminal = Terminal::sized("kept", (200, 60), &command);
        let screen = terminal.until("all rows", |screen| screen.contains("Evidence"));
        assert!(screen.contains("Why") && !screen.contains("PID/Program"), "{screen}");
        terminal.press(&["q"]);
        terminal.until("the end", |screen| screen.contains(ENDED));
        drop(listener);
    });
}

#[test]
fn a_signal_gives_the_terminal_back() {
    Netns::new().run(|| {
        let terminal = Terminal::netmon("signal", "");
        terminal.until("the screen", |screen| screen.contains("ESTABLISHED"));
        sh(&format!("kill -TERM {}", terminal.pid()));
        let screen = terminal.assert_given_back();
        assert!(screen.contains("ended with 0"), "{screen}");
    });
}

/// The test starts itself in a terminal, and panics there.
#[test]
fn a_panic_gives_the_terminal_back() {
    if std::env::var_os(PANICS).is_some() {
        let _taken = TerminalGuard::new().expect("a terminal");
        let _ = write!(std::io::stdout(), "on the screen");
        panic!("on purpose");
    }
    let own = std::env::current_exe().expect("this program");
    let name = "kernel::top::a_panic_gives_the_terminal_back";
    let command = format!("{PANICS}=1 {} --exact {name} --nocapture", own.display());
    let terminal = Terminal::run("panic", &command);
    let screen = terminal.assert_given_back();
    assert!(screen.contains("on purpose") && !screen.contains("on the screen"), "{screen}");
    assert!(screen.contains("ended with 101"), "{screen}");
}

#[test]
fn one_frame_without_a_terminal() {
    let netns = Netns::new();
    netns.run(|| {
        let (_listener, _held) = connections(3);
        let mut command = Command::new(env!("CARGO_BIN_EXE_netmon"));
        command.args(["top", "--once", "-n", &format!("netns = {}", netns.inum)]);
        let output = command.env("COLUMNS", "100").env("LINES", "40").output().expect("netmon");
        let screen = String::from_utf8(output.stdout).expect("text");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert_eq!((rows(&screen).len(), screen.lines().count()), (7, 40), "{screen}");
        assert!(!screen.contains('\u{1b}'), "{screen}");
        let output =
            Command::new(env!("CARGO_BIN_EXE_netmon")).arg("top").output().expect("netmon");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && stderr.contains("netmon top --once"), "{stderr}");
    });
}
