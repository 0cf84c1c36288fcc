//! Units, containers and pods: cgroups laid out as systemd and the engines do.

use std::{
    fs,
    io::Write,
    net::{SocketAddr, TcpListener},
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::Duration,
};

use serde_json::Value;

use super::programs::{bash, clients, listing, run, with_server};
use crate::kernel::{
    harness::Watch,
    recording::{Directory, Record, history, settle},
    tier::{Tier, sources, tier},
};

/// A client of the address that its first argument has, in the cgroup of the second one: a script
/// of bash.
const CONNECTS: &str = "echo $$ > $1/cgroup.procs; exec 3<>/dev/tcp/${0%:*}/${0##*:}";
/// A process that waits in the cgroup of its first argument.
const WAITS: &str = "echo $$ > $0/cgroup.procs; read line";

/// A cgroup of version 2, with those above it that were not there; removed on drop.
struct Cgroup {
    root: PathBuf,
    made: Vec<PathBuf>,
}

impl Cgroup {
    /// Makes the cgroup at a path below the root.
    fn new(path: &str) -> Self {
        let mounts = fs::read_to_string("/proc/mounts").expect("/proc");
        let mut mounts = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>());
        let mount = mounts.find(|words| words[2] == "cgroup2").expect("cgroup v2");
        let root = PathBuf::from(mount[1]);
        let mut cgroup = Self { made: Vec::new(), root };
        let mut at = cgroup.root.clone();
        for name in path.split('/').filter(|name| !name.is_empty()) {
            at.push(name);
            if !at.exists() {
                fs::create_dir(&at).expect("a cgroup");
                cgroup.made.push(at.clone());
            }
        }
        cgroup
    }

    fn directory(&self) -> &str {
        self.made.last().and_then(|last| last.to_str()).expect("made")
    }

    /// The path below the root.
    fn path(&self) -> String {
        let below = Path::new(self.directory()).strip_prefix(&self.root).expect("below");
        format!("/{}", below.display())
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        for cgroup in self.made.iter().rev() {
            // The kernel may still be ending the last process.
            let is_gone = |_| fs::remove_dir(cgroup).is_ok();
            let pause = || thread::sleep(Duration::from_millis(20));
            let _ = (0..50).any(|time| {
                is_gone(time) || {
                    pause();
                    false
                }
            });
        }
    }
}

/// A container's id that no other test has.
fn id() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    format!(
        "{:08x}{number:04x}{}",
        std::process::id(),
        "c0ffee0123456789abcd".repeat(3).get(..52).expect("60")
    )
}

fn connect_in(cgroup: &Cgroup, address: SocketAddr) {
    run(&bash(), &["-c", CONNECTS, &address.to_string(), cgroup.directory()]);
}

#[track_caller]
fn assert_fields(event: &Value, fields: &[(&str, &str)]) {
    for (name, value) in fields {
        let wanted = if value.is_empty() { Value::Null } else { Value::from(*value) };
        assert_eq!(event[*name], wanted, "{name} of {event:#}");
    }
}

#[test]
fn a_container_that_is_gone_is_known() {
    with_server(|address| {
        let mut watch = Watch::start(&[]);
        let id = id();
        let cgroup = Cgroup::new(&format!("/docker-{id}.scope"));
        connect_in(&cgroup, address);
        let path = cgroup.path();
        drop(cgroup);
        let [client] = &clients(&mut watch, address, 1)[..] else { panic!("one") };
        // Without the hooks, a dump may have found the cgroup in its short life.
        if tier() == Tier::Basic && client["cgroup"].is_null() {
            return;
        }
        let unit = format!("docker-{id}.scope");
        let fields = [
            ("cgroup", &*path),
            ("unit", &unit),
            ("user_unit", ""),
            ("slice", ""),
            ("container", &id[..12]),
            ("container_id", &id),
            ("container_engine", "docker"),
            ("pod", ""),
        ];
        assert_fields(client, &fields);
    });
}

/// As that of a unit which starts again.
#[test]
fn a_filter_follows_the_path_of_a_cgroup() {
    // Without the hooks, the path of a new cgroup is not known in time.
    if tier() == Tier::Basic {
        return;
    }
    with_server(|address| {
        let path = format!("/netmon-test-{}.service", &id()[..12]);
        let mut watch = Watch::start(&[&format!("cgroup = {path}")]);
        for count in 1..=2 {
            let cgroup = Cgroup::new(&path);
            connect_in(&cgroup, address);
            drop(cgroup);
            clients(&mut watch, address, count);
        }
    });
}

#[test]
fn cgroups_from_before_are_known() {
    let (id, uid) = (id(), "0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0");
    let own = format!("netmon-{}", &id[..12]);
    let pod = Cgroup::new(&format!("/{own}/kubepods/burstable/pod{uid}/{id}"));
    let unit = Cgroup::new(&format!("/{own}.slice/web.service"));
    with_server(|address| {
        let mut watch = Watch::start(&[]);
        connect_in(&pod, address);
        let [client] = &clients(&mut watch, address, 1)[..] else { panic!("one") };
        let fields =
            [("container", &id[..12]), ("container_engine", ""), ("pod", uid), ("unit", "")];
        assert_fields(client, &fields);
        connect_in(&unit, address);
        let ends = clients(&mut watch, address, 2);
        let slice = format!("{own}.slice");
        assert_fields(&ends[1], &[("unit", "web.service"), ("slice", &slice), ("container", "")]);
    });
}

/// A process may make cgroups of any name below its own.
#[test]
fn a_container_cannot_pass_for_another() {
    let (own, other) = (id(), id());
    let cgroup = Cgroup::new(&format!("/docker-{own}.scope/docker-{other}.scope"));
    let uid = std::process::id();
    let user = format!("/user.slice/user-{uid}.slice/user@{uid}.service/nginx.service");
    let user = Cgroup::new(&user);
    with_server(|address| {
        let filters = [
            format!("dir = out and container = {}", &own[..12]),
            format!("dir = out and container = {}", &other[..12]),
            "dir = out and unit = nginx.service".to_owned(),
            "dir = out and user_unit = nginx.*".to_owned(),
        ];
        let mut watches = filters.each_ref().map(|filter| Watch::start(&[filter]));
        connect_in(&cgroup, address);
        connect_in(&user, address);
        for at in [0, 3] {
            clients(&mut watches[at], address, 1);
        }
        let ends = watches.each_mut().map(|watch| {
            watch.stop();
            watch.events.iter().filter(|event| event["type"] == "closed").count()
        });
        assert_eq!(ends, [1, 0, 0, 1]);
    });
}

#[test]
fn a_journal_keeps_where_a_process_ran() {
    let directory = Directory::new();
    with_server(|address| {
        let record = Record::start(&directory.0);
        let id = id();
        let cgroup = Cgroup::new(&format!("/netmon-{}.slice/libpod-{id}.scope", &id[..12]));
        let slice = format!("netmon-{}.slice", &id[..12]);
        connect_in(&cgroup, address);
        let path = cgroup.path();
        drop(cgroup);
        record.stop();
        settle(&directory);
        let of_client = format!("dport = :{} and dir = out", address.port());
        let rows = history(&directory.0, &of_client);
        let [row] = &rows[..] else { panic!("{rows:#?}") };
        if tier() == Tier::Basic && row["cgroup"].is_null() {
            return;
        }
        let unit = format!("libpod-{id}.scope");
        let fields = [
            ("cgroup", &*path),
            ("unit", &unit),
            ("slice", &slice),
            ("container", &id[..12]),
            ("container_id", &id),
            ("container_engine", "podman"),
        ];
        assert_fields(row, &fields);
        for filter in [
            format!("container = {}", &id[..12]),
            format!("unit = libpod-{}*", &id[..12]),
            format!("cgroup = {path}"),
        ] {
            let found = history(&directory.0, &format!("{of_client} and {filter}"));
            assert_eq!(found.len(), 1, "{filter}");
        }
        let filter = format!("{of_client} and container = {}", &"0".repeat(12));
        assert_eq!(history(&directory.0, &filter).len(), 0);
    });
}

#[test]
fn a_listing_knows_where_a_holder_runs() {
    let id = id();
    let cgroup = Cgroup::new(&format!("/docker-{id}.scope"));
    with_server(|_| {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
        let port = listener.local_addr().expect("bound").port();
        let held = OwnedFd::from(listener.try_clone().expect("a copy"));
        let mut child = Command::new(bash());
        child.args(["-c", WAITS, cgroup.directory()]).stdin(Stdio::piped()).stdout(held);
        let mut child = child.spawn().expect("a process");
        let filter = format!("sport = :{port} and container = {}", &id[..12]);
        for source in sources() {
            // The process needs a moment to move.
            let rows = || listing(&["-p", "--source", source, &filter]);
            let found = (0..100).map(|_| rows()).find(|rows| !rows.is_empty());
            let row = found.expect("the listener")[0].clone();
            let owners = row["owners"].as_array().expect("a list");
            assert_eq!(owners.len(), 2, "{row:#}");
            let owner = owners.iter().find(|owner| owner["pid"] == child.id());
            let owner = owner.expect("the child");
            assert_fields(owner, &[("container_engine", "docker"), ("cgroup", &cgroup.path())]);
            let other = owners.iter().find(|owner| owner["pid"] != child.id());
            assert_ne!(other.expect("this process")["container_id"], Value::from(&*id));
        }
        writeln!(child.stdin.take().expect("piped")).expect("written");
        child.wait().expect("its end");
    });
}
