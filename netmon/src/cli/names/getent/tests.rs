use std::{env, net::Ipv4Addr, os::unix::fs::PermissionsExt, process};

use super::*;

/// A program in the place of getent, removed on drop.
struct Script(Getent);

impl Script {
    fn new(name: &str, script: &str) -> Self {
        let program = env::temp_dir().join(format!("netmon-getent-{name}-{}", process::id()));
        fs::write(&program, format!("#!/bin/sh\n{script}\n")).expect("a script");
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("chmod");
        Self(Getent { program, patience: patience(Duration::from_secs(10)) })
    }
}

fn patience(in_a_minute: Duration) -> &'static Mutex<Patience> {
    Box::leak(Box::new(Mutex::new(Patience::new(in_a_minute))))
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
        ahosts:local.example) printf 'fe80::1%%eth0 STREAM local.example\n10.0.0.1 RAW\n';;
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
    assert_eq!(getent.addresses("one.example"), Ok(expected.to_vec()));
    let expected: Vec<IpAddr> = vec!["fe80::1".parse().expect("an address"), one];
    assert_eq!(getent.addresses("local.example"), Ok(expected));
    for name in ["two.example", "-x", "", "a b", "10.0.0.1"] {
        assert_eq!(getent.addresses(name), Ok(Vec::new()), "{name}");
    }
}

#[test]
fn a_process_without_an_answer_is_ended_and_not_started_again() {
    for (name, script) in
        [("hangs", "exec sleep 60"), ("lingers", "exec >&-; exec sleep 60"), ("floods", "exec yes")]
    {
        let mut script = Script::new(name, &format!("echo $$ >> $0.pids; {script}"));
        script.0.patience = patience(Duration::from_millis(500));
        let Script(getent) = &script;
        assert_eq!((getent.user(1), getent.user(2), getent.uid("ada")), (None, None, None));
        assert_eq!(getent.addresses("one.example"), Err(NoAnswer));
        let pids = PathBuf::from(format!("{}.pids", getent.program.display()));
        let started = fs::read_to_string(&pids).expect("its ids");
        fs::remove_file(&pids).expect("removed");
        let [pid] = started.lines().collect::<Vec<_>>()[..] else { panic!("{started}") };
        assert!(!Path::new("/proc").join(pid).exists(), "{name}");
    }
}

/// Each answer comes in time, but a listing waits for all of them.
#[test]
fn waits_for_users_do_not_add_up() {
    let mut script = Script::new("slow", "sleep 1.2; echo u$2:x:$2:$2::/:/bin/sh");
    script.0.patience = patience(PATIENCE);
    let names: Vec<_> = (1..10).map(|uid| script.0.user(uid)).collect();
    assert_eq!(names[0].as_deref(), Some("u1"));
    assert!(names[1..].iter().all(Option::is_none), "{names:?}");
}

#[test]
fn only_a_host_with_other_sources_is_asked() {
    let users = |sources: &str| has_other(sources, OF_USERS.0, OF_USERS.1);
    let hosts = |sources: &str| has_other(sources, OF_HOSTS.0, OF_HOSTS.1);
    for sources in ["", "passwd: files", "passwd:\tfiles # sss", "#passwd: sss", "passwd_x: sss"] {
        assert!(!users(sources), "{sources}");
    }
    for sources in ["passwd: files sss", "group: files\n passwd :sss", "passwd: files [a=b] ldap"] {
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
    let getent = Getent { program, patience: patience(Duration::from_secs(10)) };
    assert_eq!(getent.user(0).as_deref(), Some("root"));
    assert_eq!(getent.uid("root"), Some(0));
    assert_eq!(getent.user(4_000_000_000), None);
    let local = getent.addresses("localhost").expect("an answer");
    assert!(local.iter().all(IpAddr::is_loopback), "{local:?}");
}
