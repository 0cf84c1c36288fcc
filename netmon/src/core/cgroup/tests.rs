//! Paths as each engine lays them out.

use proptest::{collection::vec, prelude::*, sample::select};

use super::{names::unescaped, *};

const A: &str = "3f2a9c0d4b5e6f708192a3b4c5d6e7f8091a2b3c4d5e6f708192a3b4c5d6e7f8";
const B: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";
const UID: &str = "0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0";

fn cgroup(path: &str) -> Cgroup {
    Cgroup::new(7, Some(path.as_bytes().into()))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The facts of a path in one line: `unit user-unit slice engine:name pod`, `-` for none.
fn facts(path: &str) -> String {
    let cgroup = cgroup(path);
    let Workload { unit, user_unit, slice, container, container_name, pod_uid, .. } =
        cgroup.workload();
    let or_dash = |fact: Option<&[u8]>| fact.map_or("-".to_owned(), text);
    let engine = container.map(|container| container.engine.map_or("?", Engine::name));
    let container = engine.zip(container_name);
    let container = container.map(|(engine, name)| format!("{engine}:{}", text(&name)));
    let container = container.unwrap_or("-".to_owned());
    let pod = or_dash(pod_uid.as_deref());
    format!("{} {} {} {container} {pod}", or_dash(unit), or_dash(user_unit), or_dash(slice))
}

#[test]
fn units_are_those_of_the_journal() {
    for (path, wanted) in [
        ("/", "- - - - -"),
        ("/init.scope", "init.scope - - - -"),
        ("/system.slice", "- - system.slice - -"),
        ("/system.slice/nginx.service", "nginx.service - system.slice - -"),
        ("/system.slice/nginx.service/worker", "nginx.service - system.slice - -"),
        (
            "/system.slice/system-getty.slice/getty@tty1.service",
            "getty@tty1.service - system-getty.slice - -",
        ),
        ("/system.slice/_cgroup.service", "cgroup.service - system.slice - -"),
        ("/user.slice/user-1000.slice/session-3.scope", "session-3.scope - user-1000.slice - -"),
        (
            "/user.slice/user-1000.slice/user@1000.service/app.slice/app-firefox-77.scope",
            "user@1000.service app-firefox-77.scope user-1000.slice - -",
        ),
        (
            "/user.slice/user-1000.slice/user@1000.service",
            "user@1000.service - user-1000.slice - -",
        ),
        // Names of anything else.
        ("/batch/job-7", "- - - - -"),
        ("/.service", "- - - - -"),
        ("/a b.service", "- - - - -"),
        ("…/nginx.service", "- - - - -"),
        ("//system.slice//x.mount", "x.mount - system.slice - -"),
    ] {
        assert_eq!(facts(path), wanted, "{path}");
    }
}

#[test]
fn every_engine_is_known_by_its_names() {
    let short = &A[..12];
    for (path, wanted) in [
        (
            format!("/system.slice/docker-{A}.scope"),
            format!("docker-{A}.scope - system.slice docker:{short} -"),
        ),
        (format!("/docker/{A}"), format!("- - - docker:{short} -")),
        (format!("/docker/{A}/init"), format!("- - - docker:{short} -")),
        (
            format!("/machine.slice/libpod-{A}.scope/container"),
            format!("libpod-{A}.scope - machine.slice podman:{short} -"),
        ),
        (format!("/libpod_parent/libpod-{A}"), format!("- - - podman:{short} -")),
        (
            format!("/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-{A}.scope"),
            format!(
                "user@1000.service libpod-{A}.scope user-1000.slice podman:user-1000/{short} -"
            ),
        ),
        (
            format!("/machine.slice/machine-libpod_pod_{B}.slice/libpod-{A}.scope"),
            format!("libpod-{A}.scope - machine-libpod_pod_{B}.slice podman:{short} {B}"),
        ),
        (
            format!("/machine.slice/web.service/libpod-payload-{A}"),
            format!("web.service - machine.slice podman:web.service/{short} -"),
        ),
        (
            format!(
                "/user.slice/user-1000.slice/user@1000.service/user.slice/\
                 user-libpod_pod_{B}.slice/libpod-{A}.scope"
            ),
            format!(
                "user@1000.service libpod-{A}.scope user-1000.slice podman:user-1000/{short} {B}"
            ),
        ),
        (
            format!("/system.slice/nerdctl-{A}.scope"),
            format!("nerdctl-{A}.scope - system.slice containerd:{short} -"),
        ),
        (format!("/default/{A}"), format!("- - - ?:{short} -")),
        ("/lxc.payload.web".to_owned(), "- - - lxc:web -".to_owned()),
        ("/lxc.payload/web/system.slice/ssh.service".to_owned(), "- - - lxc:web -".to_owned()),
        ("/lxc/101/ns".to_owned(), "- - - lxc:101 -".to_owned()),
        (
            "/machine.slice/systemd-nspawn@web.service/payload/system.slice/nginx.service"
                .to_owned(),
            "systemd-nspawn@web.service - machine.slice systemd-nspawn:web -".to_owned(),
        ),
        (
            r"/machine.slice/machine-my\x2dweb.scope/payload".to_owned(),
            r"machine-my\x2dweb.scope - machine.slice systemd-nspawn:my-web -".to_owned(),
        ),
        // Those who watch over a container are not in it.
        (
            format!("/machine.slice/libpod-conmon-{A}.scope"),
            format!("libpod-conmon-{A}.scope - machine.slice - -"),
        ),
        (
            format!("/system.slice/crio-conmon-{A}.scope"),
            format!("crio-conmon-{A}.scope - system.slice - -"),
        ),
        ("/lxc.monitor.web".to_owned(), "- - - - -".to_owned()),
        (
            "/machine.slice/systemd-nspawn@web.service/supervisor".to_owned(),
            "systemd-nspawn@web.service - machine.slice - -".to_owned(),
        ),
        // A virtual machine is no container.
        (
            r"/machine.slice/machine-qemu\x2d1\x2dweb.scope/libvirt".to_owned(),
            r"machine-qemu\x2d1\x2dweb.scope - machine.slice - -".to_owned(),
        ),
        (format!("/docker-{}.scope", &A[..63]), format!("docker-{}.scope - - - -", &A[..63])),
    ] {
        assert_eq!(facts(&path), wanted, "{path}");
    }
}

#[test]
fn pods_are_known_from_both_drivers_of_kubernetes() {
    let (short, systemd) = (&A[..12], UID.replace('-', "_"));
    let slices = "/kubepods.slice/kubepods-burstable.slice";
    let file = "0f1e2d3c4b5a69788796a5b4c3d2e1f0";
    for (path, wanted) in [
        (
            format!("{slices}/kubepods-burstable-pod{systemd}.slice/cri-containerd-{A}.scope"),
            format!(
                "cri-containerd-{A}.scope - kubepods-burstable-pod{systemd}.slice \
                 containerd:{short} {UID}"
            ),
        ),
        (
            format!("/kubepods.slice/kubepods-pod{systemd}.slice/crio-{A}.scope"),
            format!("crio-{A}.scope - kubepods-pod{systemd}.slice cri-o:{short} {UID}"),
        ),
        (format!("/kubepods/burstable/pod{UID}/{A}"), format!("- - - ?:{short} {UID}")),
        (format!("/kubepods/pod{UID}/{A}"), format!("- - - ?:{short} {UID}")),
        (format!("/kubepods/besteffort/pod{file}/crio-{A}"), format!("- - - cri-o:{short} {file}")),
        (
            format!("/system.slice/kubepods-burstable-pod{systemd}.slice:cri-containerd:{A}"),
            format!("- - system.slice containerd:{short} {UID}"),
        ),
        // The cgroup of the pod itself.
        (format!("/kubepods/burstable/pod{UID}"), format!("- - - - {UID}")),
        (format!("/elsewhere/pod{UID}"), "- - - - -".to_owned()),
        ("/kubepods/podcast".to_owned(), "- - - - -".to_owned()),
    ] {
        assert_eq!(facts(&path), wanted, "{path}");
    }
}

/// A process in a container may make cgroups with the names of others.
#[test]
fn the_outermost_name_tells() {
    let path = format!("/docker/{A}/docker/{B}");
    assert_eq!(facts(&path), format!("- - - docker:{} -", &A[..12]));
    let path = format!("/docker/{A}/kubepods/pod{UID}/{B}");
    assert_eq!(facts(&path), format!("- - - docker:{} -", &A[..12]));
    let user = "/user.slice/user-1000.slice/user@1000.service";
    let path = format!("{user}/nginx.service/sshd.service");
    assert_eq!(facts(&path), "user@1000.service nginx.service user-1000.slice - -");
    assert_eq!(facts("/batch/system.slice/sshd.service"), "- - - - -");
}

#[test]
fn a_name_stands_in_for_an_id() {
    let cgroup = cgroup(&format!("/kubepods/pod{UID}/{A}"));
    let shown = || {
        let Workload { container_name, pod_name, .. } = cgroup.workload();
        (container_name.map(|of| text(&of)), pod_name.map(|of| text(&of)))
    };
    let some = |text: &str| Some(text.to_owned());
    assert_eq!(shown(), (some(&A[..12]), some(UID)));
    let pod = Some(("web-7d9".to_owned(), "shop".to_owned()));
    cgroup.name(Names { container: None, pod });
    assert_eq!(shown(), (some(&A[..12]), some("web-7d9")));
    // The first names stay.
    let pod = Some(("other".to_owned(), "other".to_owned()));
    cgroup.name(Names { container: some("nginx"), pod });
    assert_eq!(shown(), (some("nginx"), some("web-7d9")));
    assert_eq!((cgroup.workload().pod_namespace, cgroup.known()), (Some("shop"), 3));
}

#[test]
fn a_pod_cannot_pass_for_another() {
    let shown = |path: &str| {
        let cgroup = cgroup(path);
        let Workload { pod_name, pod_uid, .. } = cgroup.workload();
        (pod_name.map(|of| text(&of)), pod_uid.map(|of| text(&of)))
    };
    let path = format!("/user.slice/user-1000.slice/user@1000.service/kubepods/pod{UID}");
    assert_eq!(shown(&path), (Some(format!("user-1000/{UID}")), Some(UID.to_owned())));
    let path = format!("/system.slice/ci.service/kubepods/pod{UID}/{A}");
    assert_eq!(shown(&path).0, Some(format!("ci.service/{UID}")));
    let slice = format!("/kubepods.slice/kubepods-pod{}.slice", UID.replace('-', "_"));
    assert_eq!(shown(&format!("{slice}/crio-{A}.scope")).0, Some(UID.to_owned()));
}

/// A path may come after the first owners.
#[test]
fn a_late_path_tells_the_same() {
    let cgroup = Cgroup::new(7, None);
    let known = Cgroup::clone(&cgroup);
    assert_eq!((cgroup.workload(), cgroup.known()), (Workload::default(), 0));
    assert!(cgroup.found_at(b"/a.service"[..].into()));
    assert!(!cgroup.found_at(b"/b.service"[..].into()), "the first path stays");
    assert_eq!((cgroup.workload().unit, cgroup.known()), (Some(&b"a.service"[..]), 1));
    assert_eq!(cgroup, known, "the id is the identity");
    let [a, b] = [b"/a", b"/b"].map(|path| Cgroup::new(0, Some(path[..].into())));
    assert_ne!(a, b, "without an id, the path is");
}

/// A process in a container or a unit may make cgroups below, and not above.
#[test]
fn the_reserved_part_ends_where_others_may_name() {
    let user = "/user.slice/user-1000.slice/user@1000.service";
    for (path, wanted) in [
        (format!("/docker/{A}/own/{B}"), format!("/docker/{A}")),
        (format!("/system.slice/docker-{A}.scope/x"), format!("/system.slice/docker-{A}.scope")),
        ("/system.slice/a.service/b/c".to_owned(), "/system.slice/a.service".to_owned()),
        (format!("{user}/app.slice/docker-{A}.scope"), user.to_owned()),
        ("/batch/job".to_owned(), "/batch/job".to_owned()),
        (
            format!("/system.slice/jenkins.service/docker-{A}.scope/x"),
            "/system.slice/jenkins.service".to_owned(),
        ),
        (
            format!("/system.slice/jenkins.service/user-0.slice/docker-{A}.scope"),
            "/system.slice/jenkins.service".to_owned(),
        ),
        (
            "/system.slice/jenkins.service/lxc.payload.web".to_owned(),
            "/system.slice/jenkins.service".to_owned(),
        ),
    ] {
        let cgroup = cgroup(&path);
        let workload = cgroup.workload();
        assert_eq!(path[..workload.reserved], wanted);
        let within = workload.container.and_then(|container| container.within).map(text);
        let above = path.contains("user@").then_some("user-1000");
        let above = above.or(path.contains("jenkins").then_some("jenkins.service"));
        assert_eq!(within.as_deref(), above, "{path}");
    }
}

#[test]
fn escapes_that_are_none_stay() {
    for (name, wanted) in [
        (r"a\x2db", "a-b"),
        (r"a\x2", r"a\x2"),
        (r"\", r"\"),
        (r"\xzz", r"\xzz"),
        (r"\x5cx2d", r"\x2d"),
    ] {
        assert_eq!(text(&unescaped(name.as_bytes())), wanted);
    }
}

proptest! {
    /// Every user may make cgroups, with names of any bytes but `/`, a line break and NUL.
    #[test]
    fn any_path_has_facts_that_are_parts_of_it(names in vec(some_name(), 0..6)) {
        let path = format!("/{}", names.join("/"));
        let cgroup = cgroup(&path);
        let Workload { unit, user_unit, slice, container, pod_uid, reserved, .. } =
            cgroup.workload();
        let is_part = |fact: Option<&[u8]>| fact.is_none_or(|fact| path.contains(&text(fact)));
        prop_assert!([unit, user_unit, slice].into_iter().all(is_part), "{}", path);
        let id = container.as_ref().map(|container| &*container.id);
        prop_assert!(is_part(id) || path.contains('\\'), "{}", path);
        prop_assert!(path.get(..reserved).is_some(), "{}", path);
        let pod = pod_uid.as_deref().map(|uid| text(uid).replace('-', "_"));
        let plain = path.replace('-', "_");
        prop_assert!(pod.is_none_or(|uid| plain.contains(&uid)), "{}", path);
    }
}

/// A name of parts that engines use.
fn some_name() -> impl Strategy<Value = String> {
    let parts = [
        ".slice",
        ".scope",
        ".service",
        ":",
        "-",
        "_",
        "\\x2d",
        "\\",
        "docker",
        "cri-containerd",
        "crio-",
        "libpod-",
        "libpod_pod_",
        "machine-",
        "kubepods",
        "burstable",
        "pod",
        "lxc",
        "lxc.payload",
        "lxc.payload.",
        "systemd-nspawn@",
        "payload",
        "user@",
        "user",
        A,
        UID,
        "é",
        "a",
    ];
    vec(select(parts.to_vec()), 1..4).prop_map(|parts| parts.concat())
}
