//! The names of containers and pods, from the files that engines keep on this host.
//!
//! No engine is asked: its socket takes a privilege, and an engine that hangs would be waited for.
//! A file of another form, of another size or of another kind gives no name.

use std::{
    fs::{self, File, OpenOptions},
    io::Read,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use rustc_hash::FxHashMap;
use serde_json::Value;

use super::cgroups::is_made_by_root;
use crate::core::cgroup::{Cgroup, Container, Engine, Names, Workload};

/// Docker's containers: a directory each, by id.
const DOCKER: &str = "var/lib/docker/containers";
/// The containers of Podman as root, and of CRI-O.
const PODMAN: &str = "var/lib/containers/storage/overlay-containers";
/// The kubelet's links to the logs of containers: `POD_NAMESPACE_CONTAINER-ID.log`.
const KUBELET_CONTAINERS: &str = "var/log/containers";
/// The kubelet's directories of logs: `NAMESPACE_POD_UID`.
const KUBELET_PODS: &str = "var/log/pods";

/// The largest file that is read, bytes: Podman describes all its containers in one.
const LARGEST: u64 = 4 << 20;
/// The most entries of a directory that are read.
const MOST: usize = 1 << 16;
/// The longest name, bytes: that of a pod may have 253.
const LONGEST: usize = 255;

/// A pod's name and its namespace.
type Pod = (String, String);

/// Returns whether the files of engines may have names for the processes of a cgroup.
///
/// A user may name a cgroup like the container of another one.
pub(in crate::kernel) fn may_have_names(workload: &Workload<'_>) -> bool {
    let Some(Container { engine, is_of_user, .. }) = workload.container else { return false };
    !is_of_user && !matches!(engine, Some(Engine::Lxc | Engine::Nspawn))
}

/// The files of the engines, each of which is read once, when it is first needed.
pub(in crate::kernel) struct EngineFiles {
    root: PathBuf,
    /// Returns whether only root can have made the cgroup at a path.
    is_made_by_root: fn(&[u8]) -> bool,
    /// The names of containers, by id.
    podman: Option<FxHashMap<String, String>>,
    /// The container's name and its pod, by id.
    kubelet_containers: Option<FxHashMap<String, (String, Pod)>>,
    /// The pod, by uid.
    kubelet_pods: Option<FxHashMap<String, Pod>>,
}

impl EngineFiles {
    /// The files of this host.
    pub(in crate::kernel) fn of_host() -> Self {
        Self::below("/", is_made_by_root)
    }

    fn below(root: &str, is_made_by_root: fn(&[u8]) -> bool) -> Self {
        let (podman, kubelet_containers, kubelet_pods) = (None, None, None);
        Self { root: root.into(), is_made_by_root, podman, kubelet_containers, kubelet_pods }
    }

    /// Returns the names of the container and the pod of a cgroup, as far as the files have them.
    /// Nothing for a cgroup that no engine has made, or that a user may have made.
    pub(in crate::kernel) fn names(&mut self, cgroup: &Cgroup) -> Option<Names> {
        let workload = cgroup.workload();
        let container = workload.container.as_ref()?;
        if !may_have_names(&workload) || !(self.is_made_by_root)(container.path) {
            return None;
        }
        let mut names = self.container(container);
        if names.pod.is_none()
            && let Some(uid) = &workload.pod_uid
        {
            names.pod = self.kubelet_pod(&String::from_utf8_lossy(uid));
        }
        Some(names)
    }

    fn container(&mut self, container: &Container<'_>) -> Names {
        let Ok(id) = std::str::from_utf8(&container.id) else { return Names::default() };
        if let Some((container, pod)) = self.kubelet_container(id) {
            return Names { container: Some(container), pod: Some(pod) };
        }
        // A container whose engine is not known is Kubernetes', or Docker's in another place.
        let may_be = |engine| container.engine.is_none_or(|known| known == engine);
        let mut name = None;
        if may_be(Engine::Podman) || may_be(Engine::CriO) {
            name = self.podman(id);
        }
        if name.is_none() && may_be(Engine::Docker) {
            name = self.docker(id);
        }
        match name.as_deref().and_then(of_pod) {
            Some((container, pod)) => Names { container: Some(container), pod: Some(pod) },
            None => Names { container: name, pod: None },
        }
    }

    /// `Name` in the file of a container, with a slash before it.
    fn docker(&self, id: &str) -> Option<String> {
        let container: Value = json(&self.root.join(DOCKER).join(id).join("config.v2.json"))?;
        let name = container["Name"].as_str()?;
        plain(name.strip_prefix('/').unwrap_or(name))
    }

    /// `names` of a container in the list; those that end with their process have a list of their
    /// own.
    fn podman(&mut self, id: &str) -> Option<String> {
        let root = self.root.join(PODMAN);
        let known = self.podman.get_or_insert_with(|| {
            let lists = ["containers.json", "volatile-containers.json"];
            let lists = lists.iter().filter_map(|list| json(&root.join(list)));
            let all = lists.filter_map(|list| match list {
                Value::Array(containers) => Some(containers),
                _ => None,
            });
            let name = |container: Value| {
                let id = container["id"].as_str()?.to_owned();
                Some((id, plain(container["names"][0].as_str()?)?))
            };
            all.flatten().filter_map(name).collect()
        });
        known.get(id).cloned()
    }

    fn kubelet_container(&mut self, id: &str) -> Option<(String, Pod)> {
        let directory = self.root.join(KUBELET_CONTAINERS);
        let known = self.kubelet_containers.get_or_insert_with(|| {
            entries(&directory).filter_map(|entry| container_of_log(&entry)).collect()
        });
        known.get(id).cloned()
    }

    fn kubelet_pod(&mut self, uid: &str) -> Option<Pod> {
        let directory = self.root.join(KUBELET_PODS);
        let known = self.kubelet_pods.get_or_insert_with(|| {
            entries(&directory).filter_map(|entry| pod_of_logs(&entry)).collect()
        });
        known.get(uid).cloned()
    }
}

/// Reads `POD_NAMESPACE_CONTAINER-ID.log` (`logSymlink`, pkg/kubelet/kuberuntime of Kubernetes).
fn container_of_log(name: &str) -> Option<(String, (String, Pod))> {
    let (rest, id) = name.strip_suffix(".log")?.rsplit_once('-')?;
    let [pod, namespace, container] = parts(rest)?;
    Some((id.to_owned(), (plain(container)?, (plain(pod)?, plain(namespace)?))))
}

/// Reads `NAMESPACE_POD_UID` (`BuildPodLogsDirectory`, pkg/kubelet/kuberuntime of Kubernetes).
fn pod_of_logs(name: &str) -> Option<(String, Pod)> {
    let [namespace, pod, uid] = parts(name)?;
    Some((uid.to_owned(), (plain(pod)?, plain(namespace)?)))
}

/// Reads `k8s_CONTAINER_POD_NAMESPACE_UID_ATTEMPT`, as Docker and CRI-O call the containers of the
/// kubelet (`makeContainerName`, core/naming.go of cri-dockerd).
fn of_pod(name: &str) -> Option<(String, Pod)> {
    let [container, pod, namespace, _uid, _attempt] = parts(name.strip_prefix("k8s_")?)?;
    Some((plain(container)?, (plain(pod)?, plain(namespace)?)))
}

/// Returns names between underscores, which names of Kubernetes never have (RFC 1123).
fn parts<const COUNT: usize>(text: &str) -> Option<[&str; COUNT]> {
    let parts: Vec<_> = text.split('_').take(COUNT + 1).collect();
    parts.try_into().ok()
}

/// Returns a name, if it is one.
fn plain(name: &str) -> Option<String> {
    (!name.is_empty() && name.len() <= LONGEST).then(|| name.to_owned())
}

/// Returns the names of a directory's entries.
fn entries(directory: &Path) -> impl Iterator<Item = String> + use<> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.take(MOST).filter_map(|entry| entry.file_name().into_string().ok())
}

/// Reads a file, which may be neither a link nor a pipe.
fn json(path: &Path) -> Option<Value> {
    // A pipe without a writer would be waited for.
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
    let file: File = OpenOptions::new().read(true).custom_flags(flags).open(path).ok()?;
    let metadata = file.metadata().ok()?;
    if !metadata.is_file() || metadata.len() > LARGEST {
        log::debug!("{} is no file of an engine", path.display());
        return None;
    }
    let mut text = Vec::new();
    file.take(LARGEST).read_to_end(&mut text).ok()?;
    serde_json::from_slice(&text)
        .inspect_err(|error| log::debug!("{}: {error}", path.display()))
        .ok()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    const A: &str = "3f2a9c0d4b5e6f708192a3b4c5d6e7f8091a2b3c4d5e6f708192a3b4c5d6e7f8";
    const B: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";
    const UID: &str = "0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0";

    /// A host with files as the engines lay them out, removed on drop.
    struct Host(PathBuf);

    impl Host {
        fn new(name: &str) -> Self {
            let root = std::env::temp_dir().join(format!("netmon-{name}-{}", std::process::id()));
            Self(root)
        }

        fn directory(&self, path: &str) -> PathBuf {
            let path = self.0.join(path);
            fs::create_dir_all(&path).expect("a directory");
            path
        }

        fn write(&self, path: &str, text: &str) {
            self.directory(Path::new(path).parent().and_then(Path::to_str).expect("a parent"));
            fs::write(self.0.join(path), text).expect("written");
        }

        /// The names of a cgroup: `CONTAINER NAMESPACE/POD`, `-` for none.
        fn names(&self, path: &str) -> String {
            let root = self.0.to_str().expect("UTF-8");
            let mut files = EngineFiles::below(root, |path| !path.starts_with(b"/delegated/"));
            let cgroup = Cgroup::new(7, Some(path.as_bytes().into()));
            let Names { container, pod } = files.names(&cgroup).unwrap_or_default();
            let pod = pod.map(|(pod, namespace)| format!("{namespace}/{pod}"));
            format!("{} {}", container.as_deref().unwrap_or("-"), pod.as_deref().unwrap_or("-"))
        }
    }

    impl Drop for Host {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn each_engine_has_its_own_files() {
        let host = Host::new("engines");
        host.write(&format!("{DOCKER}/{A}/config.v2.json"), r#"{"ID":"x","Name":"/web"}"#);
        host.write(
            &format!("{PODMAN}/containers.json"),
            &format!(r#"[{{"id":"{B}","names":["db"],"metadata":"{{}}"}},{{"id":"c"}},7]"#),
        );
        assert_eq!(host.names(&format!("/docker/{A}")), "web -");
        assert_eq!(host.names(&format!("/system.slice/docker-{B}.scope")), "- -");
        assert_eq!(host.names(&format!("/machine.slice/libpod-{B}.scope/container")), "db -");
        assert_eq!(host.names(&format!("/system.slice/crio-{B}.scope")), "db -");
        host.write(
            &format!("{PODMAN}/volatile-containers.json"),
            &format!(r#"[{{"id":"{A}","names":["once"]}}]"#),
        );
        assert_eq!(host.names(&format!("/machine.slice/libpod-{A}.scope")), "once -");
        let name = format!("k8s_nginx_web-7d9_shop_{UID}_0");
        host.write(
            &format!("{PODMAN}/containers.json"),
            &format!(r#"[{{"id":"{B}","names":["{name}"]}}]"#),
        );
        assert_eq!(host.names(&format!("/system.slice/crio-{B}.scope")), "nginx shop/web-7d9");
        host.write(&format!("{DOCKER}/{B}/config.v2.json"), &format!(r#"{{"Name":"/{name}"}}"#));
        assert_eq!(host.names(&format!("/docker/{B}")), "nginx shop/web-7d9");
    }

    #[test]
    fn the_kubelet_names_containers_and_pods() {
        let host = Host::new("kubelet");
        host.write(&format!("{KUBELET_CONTAINERS}/web-7d9_shop_nginx-{A}.log"), "");
        host.directory(&format!("{KUBELET_PODS}/shop_web-7d9_{UID}"));
        let pod = format!("/kubepods/burstable/pod{UID}");
        assert_eq!(host.names(&format!("{pod}/{A}")), "nginx shop/web-7d9");
        assert_eq!(host.names(&format!("{pod}/cri-containerd-{B}.scope")), "- shop/web-7d9");
        assert_eq!(host.names("/kubepods/pod0f1e2d3c4b5a69788796a5b4c3d2e1f0"), "- -");
    }

    /// A user may name a cgroup like the container of another one.
    #[test]
    fn a_users_cgroup_gets_no_name() {
        let host = Host::new("user");
        host.write(&format!("{DOCKER}/{A}/config.v2.json"), r#"{"Name":"/web"}"#);
        let user = "/user.slice/user-1000.slice/user@1000.service";
        assert_eq!(host.names(&format!("{user}/docker-{A}.scope")), "- -");
        assert_eq!(
            host.names(&format!("/user.slice/user-1000.slice/session-3.scope/docker-{A}.scope")),
            "- -"
        );
        assert_eq!(host.names(&format!("/docker-{A}.scope")), "web -");
        assert_eq!(host.names(&format!("/delegated/docker-{A}.scope")), "- -");
        assert_eq!(host.names(&format!("/lxc/{A}")), "- -");
    }

    #[test]
    fn files_of_another_form_give_no_name() {
        let host = Host::new("forms");
        let directory = host.directory(&format!("{DOCKER}/{A}"));
        let file = directory.join("config.v2.json");
        let name = || host.names(&format!("/docker/{A}"));
        for text in ["", "{", "[]", r#"{"Name":7}"#, r#"{"Name":""}"#, "\0", &"[".repeat(100_000)] {
            fs::write(&file, text).expect("written");
            assert_eq!(name(), "- -", "{text:.10}");
        }
        fs::write(&file, format!(r#"{{"Name":"/{}"}}"#, "x".repeat(LONGEST + 1))).expect("written");
        assert_eq!(name(), "- -");
        fs::remove_file(&file).expect("removed");
        let elsewhere = host.0.join("elsewhere");
        fs::write(&elsewhere, r#"{"Name":"/secret"}"#).expect("written");
        symlink(&elsewhere, &file).expect("a link");
        assert_eq!(name(), "- -");
        fs::remove_file(&file).expect("removed");
        rustix::fs::mkfifoat(rustix::fs::CWD, &file, rustix::fs::Mode::from_raw_mode(0o600))
            .expect("a pipe");
        assert_eq!(name(), "- -");
        fs::remove_file(&file).expect("removed");
        File::create(&file).and_then(|file| file.set_len(LARGEST + 1)).expect("a huge file");
        assert_eq!(name(), "- -");
    }

    #[test]
    fn other_names_in_the_directories_of_the_kubelet_are_passed_over() {
        for name in ["", ".log", "a-b.log", "a_b_c.log", "a_b-x.log", "_b_c-x.log", "a_b_c-x"] {
            assert_eq!(container_of_log(name), None, "{name}");
        }
        for name in ["", "a", "a_b", "_b_c", "a__c", "a_b_c_d"] {
            assert_eq!(pod_of_logs(name), None, "{name}");
        }
        let pod = ("b".to_owned(), "a".to_owned());
        assert_eq!(pod_of_logs("a_b_c"), Some(("c".to_owned(), pod)));
        for name in ["k8s_a_b_c_d", "k8s_a_b_c_d_e_f", "k8s__b_c_d_e", "a_b_c_d_e"] {
            assert_eq!(of_pod(name), None, "{name}");
        }
    }
}
