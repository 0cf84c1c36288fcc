//! Names from getent(1), for a static program, whose C library has no name service switch.
//!
//! musl reads `/etc/passwd` and `/etc/hosts` and asks DNS. A host may have other sources, such as a
//! directory service (nsswitch.conf(5)), and its own getent asks them. An answer counts only if it
//! has the right form and is about the question: netmon shows a number rather than a wrong name.

use std::{
    fs,
    io::{self, Read},
    net::IpAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{LazyLock, Mutex, PoisonError},
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
/// The longest time for an answer, and the time for which nothing is asked after no answer came.
const PATIENCE: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_secs(60);
/// The time between two looks at a process that has closed its output and still runs.
const LOOK: Duration = Duration::from_millis(1);
/// The time for which an answer about a user counts, and the most answers that are kept.
const FRESH: Duration = Duration::from_secs(60);
const MOST: usize = 4_096;
/// The longest answer, bytes: a host has no more addresses than fit.
const LARGEST: usize = 16 << 10;

/// Returns the name of a user; nothing if no source besides `/etc/passwd` knows one.
pub(super) fn user(uid: u32) -> Option<String> {
    type Answers = FxHashMap<u32, (Instant, Option<String>)>;
    static ANSWERS: LazyLock<Mutex<Answers>> = LazyLock::new(Mutex::default);
    let getent = Getent::of_host(OF_USERS)?;
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
    Getent::of_host(OF_USERS)?.uid(name)
}

/// Returns the name of a host; nothing if no source besides `/etc/hosts` and DNS knows one.
pub(super) fn host(address: IpAddr) -> Option<String> {
    Getent::of_host(OF_HOSTS)?.host(address)
}

/// Returns the addresses of a host, as the sources besides `/etc/hosts` and DNS know them.
pub(super) fn addresses(name: &str) -> Vec<IpAddr> {
    Getent::of_host(OF_HOSTS).map(|getent| getent.addresses(name)).unwrap_or_default()
}

/// The program getent of a host.
struct Getent {
    program: PathBuf,
    patience: Duration,
    /// The time at which questions make sense again, after one without an answer.
    resume: &'static Mutex<Option<Instant>>,
}

impl Getent {
    /// Returns the program, if the host has sources that musl does not read.
    fn of_host((database, known): (&str, &[&str])) -> Option<Self> {
        static RESUME: Mutex<Option<Instant>> = Mutex::new(None);
        let sources = fs::read_to_string(SOURCES).ok()?;
        let program = PROGRAMS.iter().map(Path::new).find(|program| program.is_file())?;
        has_other(&sources, database, known).then(|| Self {
            program: program.to_owned(),
            patience: PATIENCE,
            resume: &RESUME,
        })
    }

    fn user(&self, uid: u32) -> Option<String> {
        let answer = self.ask("passwd", &uid.to_string())?;
        let (name, found) = user_entry(&answer)?;
        (found == uid).then(|| name.to_owned())
    }

    fn uid(&self, name: &str) -> Option<u32> {
        let answer = self.ask("passwd", name)?;
        let (found, uid) = user_entry(&answer)?;
        (found == name).then_some(uid)
    }

    fn host(&self, address: IpAddr) -> Option<String> {
        let answer = self.ask("hosts", &address.to_string())?;
        let mut words = only_line(&answer)?.split_ascii_whitespace();
        let found: IpAddr = words.next()?.parse().ok()?;
        let name = words.next().filter(|name| is_host_name(name))?;
        (found.to_canonical() == address.to_canonical()).then(|| name.to_owned())
    }

    fn addresses(&self, name: &str) -> Vec<IpAddr> {
        if !is_host_name(name) {
            return Vec::new();
        }
        let answer = self.ask("ahosts", name).unwrap_or_default();
        let first = |line: &str| line.split_ascii_whitespace().next()?.parse().ok();
        // One line of another form puts all in doubt.
        answer.lines().map(first).collect::<Option<_>>().unwrap_or_default()
    }

    /// Returns the answer to a question; nothing if there is none, or none in time.
    fn ask(&self, database: &str, key: &str) -> Option<String> {
        let resume = || self.resume.lock().unwrap_or_else(PoisonError::into_inner);
        let pauses = resume().is_some_and(|resume| Instant::now() < resume);
        if key.is_empty() || key.starts_with('-') || pauses {
            return None;
        }
        match narrowed(&[], || self.run(database, key)).and_then(|answer| answer) {
            Ok(answer) => answer,
            Err(error) => {
                log::warn!(
                    "{} {database} {key}: {error}; netmon asks again in {} s",
                    self.program.display(),
                    PAUSE.as_secs()
                );
                *resume() = Some(Instant::now() + PAUSE);
                None
            }
        }
    }

    /// Runs the program. The error means that another question has no answer either.
    fn run(&self, database: &str, key: &str) -> io::Result<Option<String>> {
        let mut command = Command::new(&self.program);
        command.args([database, key]).env_clear();
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn()?;
        let end = Instant::now() + self.patience;
        let answer = read(&mut child, end).and_then(|text| Ok((text, ended(&mut child, end)?)));
        if answer.is_err() {
            // Only a process that has ended is forgotten.
            let _ = child.kill();
            let _ = child.wait();
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
mod tests {
    use std::{env, net::Ipv4Addr, os::unix::fs::PermissionsExt, process};

    use super::*;

    /// A program in the place of getent, removed on drop.
    struct Script(Getent);

    impl Script {
        fn new(name: &str, script: &str) -> Self {
            let program = env::temp_dir().join(format!("netmon-getent-{name}-{}", process::id()));
            fs::write(&program, format!("#!/bin/sh\n{script}\n")).expect("a script");
            fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("chmod");
            let resume = Box::leak(Box::new(Mutex::new(None)));
            Self(Getent { program, patience: Duration::from_secs(10), resume })
        }
    }

    impl Drop for Script {
        fn drop(&mut self) {
            let _ = fs::remove_file(&self.0.program);
        }
    }

    #[test]
    fn a_user_has_the_name_of_the_only_line() {
        let users = "case $1:$2 in
            passwd:1001|passwd:ada) echo 'ada:x:1001:1001:Ada,,,:/home/ada:/bin/sh';;
            passwd:1002) echo 'bob:x:1003:1003::/:/bin/sh';;
            passwd:1004) echo 'eve:x:1004:1004::/:/bin/sh'; echo 'eva:x:1004:1004::/:/bin/sh';;
            passwd:1005) echo 'mallory:x:1005';;
            passwd:1006) printf 'trent:x:1006:1006::/:/bin/sh';;
            passwd:1007) echo 'peggy:x:+1007:1007::/:/bin/sh';;
            passwd:1008) echo 'victor:x:1008:1008::/:/bin/sh'; exit 2;;
            *) exit 2;;
        esac";
        let Script(getent) = &Script::new("users", users);
        assert_eq!(getent.user(1001).as_deref(), Some("ada"));
        assert_eq!(getent.uid("ada"), Some(1001));
        for uid in 1002..1010 {
            assert_eq!(getent.user(uid), None, "{uid}");
        }
        for name in ["1001", "-s", "", "carol"] {
            assert_eq!(getent.uid(name), None, "{name}");
        }
    }

    #[test]
    fn a_host_has_the_name_of_its_own_address() {
        let hosts = "case $1:$2 in
            hosts:10.0.0.1) echo '10.0.0.1        one.example one';;
            hosts:10.0.0.2) echo '10.0.0.3        three.example';;
            hosts:10.0.0.4) echo '10.0.0.4        10.0.0.4';;
            hosts:10.0.0.5) echo '10.0.0.5';;
            hosts:2001:db8::1) echo '2001:db8::1     six.example';;
            ahosts:one.example) printf '10.0.0.1 STREAM one.example\n10.0.0.1 DGRAM\n::1 RAW\n';;
            ahosts:two.example) printf '10.0.0.1 STREAM two.example\nan error\n';;
            *) exit 2;;
        esac";
        let Script(getent) = &Script::new("hosts", hosts);
        let host = |address: &str| getent.host(address.parse().expect("an address"));
        assert_eq!(host("10.0.0.1").as_deref(), Some("one.example"));
        assert_eq!(host("2001:db8::1").as_deref(), Some("six.example"));
        for address in ["10.0.0.2", "10.0.0.4", "10.0.0.5", "10.0.0.6"] {
            assert_eq!(host(address), None, "{address}");
        }
        let one = IpAddr::from(Ipv4Addr::new(10, 0, 0, 1));
        let expected = [one, one, "::1".parse().expect("an address")];
        assert_eq!(getent.addresses("one.example"), expected);
        for name in ["two.example", "-x", "", "a b", "10.0.0.1"] {
            assert!(getent.addresses(name).is_empty(), "{name}");
        }
    }

    #[test]
    fn a_process_without_an_answer_is_ended_and_not_started_again() {
        for (name, script) in [
            ("hangs", "exec sleep 60"),
            ("lingers", "exec >&-; exec sleep 60"),
            ("floods", "exec yes"),
        ] {
            let mut script = Script::new(name, &format!("echo $$ >> $0.pids; {script}"));
            script.0.patience = Duration::from_millis(500);
            let Script(getent) = &script;
            assert_eq!((getent.user(1), getent.user(2), getent.uid("ada")), (None, None, None));
            let pids = PathBuf::from(format!("{}.pids", getent.program.display()));
            let started = fs::read_to_string(&pids).expect("its ids");
            fs::remove_file(&pids).expect("removed");
            let [pid] = started.lines().collect::<Vec<_>>()[..] else { panic!("{started}") };
            assert!(!Path::new("/proc").join(pid).exists(), "{name}");
        }
    }

    #[test]
    fn only_a_host_with_other_sources_is_asked() {
        let users = |sources: &str| has_other(sources, OF_USERS.0, OF_USERS.1);
        let hosts = |sources: &str| has_other(sources, OF_HOSTS.0, OF_HOSTS.1);
        for sources in
            ["", "passwd: files", "passwd:\tfiles # sss", "#passwd: sss", "passwd_x: sss"]
        {
            assert!(!users(sources), "{sources}");
        }
        for sources in
            ["passwd: files sss", "group: files\n passwd :sss", "passwd: files [a=b] ldap"]
        {
            assert!(users(sources), "{sources}");
        }
        assert!(!hosts("hosts: files [NOTFOUND=return] dns"));
        assert!(!hosts("hosts: files [!UNAVAIL=return SUCCESS=merge] dns"));
        assert!(hosts("hosts: files mdns4_minimal [NOTFOUND=return] dns"));
    }

    #[test]
    fn the_getent_of_this_host_answers() {
        let program = PROGRAMS.iter().map(PathBuf::from).find(|path| path.is_file());
        let program = program.expect("getent: on Debian, libc-bin");
        let resume = Box::leak(Box::new(Mutex::new(None)));
        let getent = Getent { program, patience: Duration::from_secs(10), resume };
        assert_eq!(getent.user(0).as_deref(), Some("root"));
        assert_eq!(getent.uid("root"), Some(0));
        assert_eq!(getent.user(4_000_000_000), None);
        assert!(getent.addresses("localhost").iter().all(IpAddr::is_loopback));
    }
}
