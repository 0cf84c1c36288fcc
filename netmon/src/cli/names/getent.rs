//! Names from getent(1), for a static program, whose C library has no name service switch.
//!
//! musl reads `/etc/passwd` and `/etc/hosts` and asks DNS. A host may have other sources, such as a
//! directory service (nsswitch.conf(5)), and its own getent asks them. An answer counts only if it
//! has the right form and is about the question: netmon shows a number rather than a wrong name.

use std::{
    fs,
    io::{self, Read},
    mem,
    net::IpAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{LazyLock, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use rustc_hash::FxHashMap;
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
};

use crate::kernel::host::privilege::narrowed;

/// The places of the program. A search along PATH could find another program.
const PROGRAMS: [&str; 2] = ["/usr/bin/getent", "/bin/getent"];
/// The sources of the host, and those that musl reads itself.
const SOURCES: &str = "/etc/nsswitch.conf";
const OF_USERS: (&str, &[&str]) = ("passwd", &["files"]);
const OF_HOSTS: (&str, &[&str]) = ("hosts", &["files", "dns"]);
/// The longest wait for answers about users in each [`MINUTE`], and for one answer about a host.
const PATIENCE: Duration = Duration::from_secs(2);
const MINUTE: Duration = Duration::from_secs(60);
/// The time between two looks at a process that has closed its output and still runs, and the
/// longest wait for the end of a process that was killed: a dead file system may hold the process.
const LOOK: Duration = Duration::from_millis(1);
const DEATH: Duration = Duration::from_millis(100);
/// The time for which an answer about a user counts, and the most answers that are kept.
const FRESH: Duration = Duration::from_secs(60);
const MOST: usize = 4_096;
/// The longest answer, bytes: a host has no more addresses than fit.
const LARGEST: usize = 16 << 10;

/// Returns the name of a user; nothing if no source besides `/etc/passwd` knows one.
pub(super) fn user(uid: u32) -> Option<String> {
    type Answers = FxHashMap<u32, (Instant, Option<String>)>;
    static ANSWERS: LazyLock<Mutex<Answers>> = LazyLock::new(Mutex::default);
    let getent = Getent::of_users()?;
    let mut answers = ANSWERS.lock().unwrap_or_else(PoisonError::into_inner);
    let fresh = answers.get(&uid).filter(|(at, _)| at.elapsed() < FRESH);
    if let Some((_, name)) = fresh {
        return name.clone();
    }
    if answers.len() == MOST {
        answers.clear();
    }
    let name = getent.user(uid);
    answers.insert(uid, (Instant::now(), name.clone()));
    name
}

/// Returns the id of a user; nothing if no source besides `/etc/passwd` knows the name.
pub(super) fn uid(name: &str) -> Option<u32> {
    Getent::of_users()?.uid(name)
}

/// Returns the name of a host; nothing if no source besides `/etc/hosts` and DNS knows one.
pub(super) fn host(address: IpAddr) -> Option<String> {
    Getent::of_hosts()?.host(address)
}

/// Returns the addresses of a host, as the sources besides `/etc/hosts` and DNS know them.
///
/// # Errors
/// [`NoAnswer`]: the host may have addresses.
pub(super) fn addresses(name: &str) -> Result<Vec<IpAddr>, NoAnswer> {
    Getent::of_hosts().map_or_else(|| Ok(Vec::new()), |getent| getent.addresses(name))
}

/// The sources did not answer in time, or are not asked at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NoAnswer;

/// The rest of the time that netmon waits for the sources of one database.
struct Patience {
    in_a_minute: Duration,
    left: Duration,
    /// The end of this minute, once a question was asked. The next minute has all the time again.
    minute_ends: Option<Instant>,
    /// Processes that were killed and have not ended. No other process is started beside them.
    stuck: Vec<Child>,
}

impl Patience {
    const fn new(in_a_minute: Duration) -> Self {
        Self { in_a_minute, left: in_a_minute, minute_ends: None, stuck: Vec::new() }
    }

    /// Returns the time that is left now.
    fn left(&mut self) -> Duration {
        let now = Instant::now();
        if self.minute_ends.is_none_or(|end| end <= now) {
            (self.left, self.minute_ends) = (self.in_a_minute, Some(now + MINUTE));
        }
        // Only a process that has ended is forgotten.
        self.stuck.retain_mut(|child| matches!(child.try_wait(), Ok(None)));
        if self.stuck.is_empty() { self.left } else { Duration::ZERO }
    }
}

/// The program getent of a host.
struct Getent {
    program: PathBuf,
    patience: &'static Mutex<Patience>,
}

impl Getent {
    fn of_users() -> Option<Self> {
        static USERS: Mutex<Patience> = Mutex::new(Patience::new(PATIENCE));
        Self::of_host(OF_USERS, &USERS)
    }

    fn of_hosts() -> Option<Self> {
        static HOSTS: Mutex<Patience> = Mutex::new(Patience::new(PATIENCE));
        Self::of_host(OF_HOSTS, &HOSTS)
    }

    /// Returns the program, if the host has sources that musl does not read.
    fn of_host(
        (database, known): (&str, &[&str]),
        patience: &'static Mutex<Patience>,
    ) -> Option<Self> {
        let sources = fs::read(SOURCES).ok()?;
        let sources = String::from_utf8_lossy(&sources);
        let program = PROGRAMS.iter().map(Path::new).find(|program| program.is_file())?;
        has_other(&sources, database, known).then(|| Self { program: program.to_owned(), patience })
    }

    fn patience(&self) -> MutexGuard<'_, Patience> {
        self.patience.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn user(&self, uid: u32) -> Option<String> {
        let began = Instant::now();
        let answer = self.ask("passwd", &uid.to_string());
        // A listing has many users, and asks for one after the other.
        let mut patience = self.patience();
        patience.left = patience.left.saturating_sub(began.elapsed());
        let answer = answer.ok()??;
        let (name, found) = user_entry(&answer)?;
        (found == uid).then(|| name.to_owned())
    }

    fn uid(&self, name: &str) -> Option<u32> {
        let answer = self.ask("passwd", name).ok()??;
        let (found, uid) = user_entry(&answer)?;
        (found == name).then_some(uid)
    }

    fn host(&self, address: IpAddr) -> Option<String> {
        let answer = self.ask("hosts", &address.to_string()).ok()??;
        let mut words = only_line(&answer)?.split_ascii_whitespace();
        let found: IpAddr = words.next()?.parse().ok()?;
        let name = words.next().filter(|name| is_host_name(name))?;
        (found.to_canonical() == address.to_canonical()).then(|| name.to_owned())
    }

    fn addresses(&self, name: &str) -> Result<Vec<IpAddr>, NoAnswer> {
        if !is_host_name(name) {
            return Ok(Vec::new());
        }
        let answer = self.ask("ahosts", name)?.unwrap_or_default();
        // A link-local address comes with its device: fe80::1%2.
        let first =
            |line: &str| line.split_ascii_whitespace().next()?.split('%').next()?.parse().ok();
        // One line of another form puts all in doubt.
        Ok(answer.lines().map(first).collect::<Option<_>>().unwrap_or_default())
    }

    /// Returns the answer to a question; nothing if the sources know nothing.
    fn ask(&self, database: &str, key: &str) -> Result<Option<String>, NoAnswer> {
        if key.is_empty() || key.starts_with('-') {
            return Ok(None);
        }
        let left = self.patience().left();
        if left.is_zero() {
            return Err(NoAnswer);
        }
        match narrowed(&[], || self.run(database, key, left)).and_then(|answer| answer) {
            Ok(answer) => Ok(answer),
            Err(error) => {
                // Of questions at one time, the first without an answer is reported.
                if !mem::take(&mut self.patience().left).is_zero() {
                    log::warn!(
                        "{} {database} {key}: {error}; netmon asks again within {} s",
                        self.program.display(),
                        MINUTE.as_secs()
                    );
                }
                Err(NoAnswer)
            }
        }
    }

    /// Runs the program. The error means that another question has no answer either.
    fn run(&self, database: &str, key: &str, patience: Duration) -> io::Result<Option<String>> {
        let mut command = Command::new(&self.program);
        command.args([database, key]).env_clear();
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn()?;
        let end = Instant::now() + patience;
        let answer = read(&mut child, end).and_then(|text| Ok((text, ended(&mut child, end)?)));
        if answer.is_err() {
            let _ = child.kill();
            if ended(&mut child, Instant::now() + DEATH).is_err() {
                self.patience().stuck.push(child);
            }
        }
        let (text, success) = answer?;
        Ok(String::from_utf8(text).ok().filter(|_| success))
    }
}

/// Returns the output of a process.
fn read(child: &mut Child, end: Instant) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    let Some(output) = &mut child.stdout else { return Ok(text) };
    let mut block = [0; 4_096];
    loop {
        let left = end.saturating_duration_since(Instant::now());
        let wait = Timespec::try_from(left).map_err(io::Error::other)?;
        let mut readable = [PollFd::new(&*output, PollFlags::IN)];
        // An interrupted wait begins again, with the time that is left.
        match poll(&mut readable, Some(&wait)) {
            Ok(0) => return Err(io::ErrorKind::TimedOut.into()),
            Err(error) if error != Errno::INTR => return Err(error.into()),
            Err(_) => continue,
            Ok(_) => {}
        }
        match output.read(&mut block)? {
            0 => return Ok(text),
            length => text.extend_from_slice(&block[..length]),
        }
        if text.len() > LARGEST {
            return Err(io::Error::other("the answer is too long"));
        }
    }
}

/// Waits until a process has ended. Returns whether it succeeded.
fn ended(child: &mut Child, end: Instant) -> io::Result<bool> {
    loop {
        match child.try_wait()? {
            Some(status) => return Ok(status.success()),
            None if Instant::now() >= end => return Err(io::ErrorKind::TimedOut.into()),
            None => thread::sleep(LOOK),
        }
    }
}

/// Returns whether the switch has another source for a database than the known ones. A host without
/// the database has the usual sources, which are known.
fn has_other(sources: &str, database: &str, known: &[&str]) -> bool {
    let line = sources.lines().find_map(|line| {
        let line = line.split('#').next().unwrap_or_default();
        line.trim_start().strip_prefix(database)?.trim_start().strip_prefix(':')
    });
    // `[NOTFOUND=return]` is the reaction to the source before.
    let mut is_reaction = false;
    line.unwrap_or_default().split_ascii_whitespace().any(|word| {
        let begins = word.starts_with('[');
        let was_reaction = is_reaction || begins;
        is_reaction = was_reaction && !word.ends_with(']');
        !was_reaction && !known.contains(&word)
    })
}

/// Returns the name and the id of an answer, which is one line of passwd(5).
fn user_entry(answer: &str) -> Option<(&str, u32)> {
    let fields: Vec<_> = only_line(answer)?.split(':').collect();
    let [name, _, uid, _, _, _, _] = fields[..] else { return None };
    let is_digits = !uid.is_empty() && uid.bytes().all(|byte| byte.is_ascii_digit());
    (!name.is_empty() && is_digits).then_some((name, uid.parse().ok()?))
}

fn only_line(answer: &str) -> Option<&str> {
    answer.strip_suffix('\n').filter(|line| !line.contains('\n'))
}

/// Returns whether a text is the name of a host, and no address.
fn is_host_name(text: &str) -> bool {
    let is_of_name = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    text.chars().all(is_of_name)
        && text.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
        && text.parse::<IpAddr>().is_err()
}

#[cfg(test)]
mod tests;
