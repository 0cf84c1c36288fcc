//! The image, unpacked by umoci and run by runc, as a container runtime does.

use std::{
    fs,
    path::Path,
    process::{Command, id},
};

use anyhow::Context;
use serde_json::{Value, json};

use super::Trial;
use crate::{
    capabilities,
    dist::image::{name, reference},
    shell::{as_root, run as shell},
};

/// The mounts of docs/containers.md, and the file of hosts, which container engines mount.
const MOUNTS: [&str; 4] = ["/etc/passwd", "/etc/services", "/etc/hosts", "/sys/kernel/tracing"];

pub(super) fn run(trial: &mut Trial<'_>) -> anyhow::Result<()> {
    let layout = trial.work.join("layout");
    fs::create_dir_all(&layout)?;
    let archive = trial.release.directory.join(name(trial.release, trial.target.name()));
    shell(
        Command::new("tar")
            .arg("--extract")
            .arg("--directory")
            .arg(&layout)
            .arg("--file")
            .arg(archive),
    )?;
    let bundle = trial.work.join("bundle");
    let image = format!("{}:{}", layout.display(), reference(trial.release));
    shell(as_root("umoci").args(["unpack", "--image", &image]).arg(&bundle))?;
    let version = format!("netmon {}", trial.release.version);
    trial.shows("image: version", &mut container(&bundle, &["--version"])?, &[&version]);
    trial.lists("image: snapshot", &mut container(&bundle, &["snapshot", "-tulpen"])?);
    trial.shows(
        "image: snapshot with names of users and hosts",
        &mut container(&bundle, &["snapshot", "-tlpre"])?,
        &["localhost:", "root"],
    );
    // The one connection that the trial makes meanwhile.
    let port = trial.port;
    let mut watch = container(&bundle, &["watch", "--duration", "3s", &format!("port = :{port}")])?;
    let connecting = std::thread::spawn(move || {
        for _ in 0..30 {
            std::thread::sleep(std::time::Duration::from_millis(200));
            drop(std::net::TcpStream::connect(("127.0.0.1", port)));
        }
    });
    trial.shows("image: watch", &mut watch, &["ESTABLISHED", &port.to_string()]);
    let _ = connecting.join();
    Ok(())
}

/// Returns the command for a container that runs netmon with `arguments`.
fn container(bundle: &Path, arguments: &[&str]) -> anyhow::Result<Command> {
    let path = bundle.join("config.json");
    let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let mut config: Value = serde_json::from_str(&text)?;
    let process = &mut config["process"];
    let program = process["args"][0].clone();
    process["args"] =
        [program].into_iter().chain(arguments.iter().map(|&one| one.into())).collect();
    process["terminal"] = false.into();
    process["noNewPrivileges"] = true.into();
    let all: Vec<_> = capabilities::ALL.iter().map(|name| format!("CAP_{name}")).collect();
    for set in ["bounding", "effective", "permitted"] {
        process["capabilities"][set] = json!(all);
    }
    for set in ["inheritable", "ambient"] {
        process["capabilities"][set] = json!([]);
    }
    config["root"]["readonly"] = true.into();
    // `--pid host --network host` of other runtimes.
    if let Some(namespaces) = config["linux"]["namespaces"].as_array_mut() {
        namespaces.retain(|namespace| namespace["type"] != "pid" && namespace["type"] != "network");
    }
    let mounts = config["mounts"].as_array_mut().context("a configuration with mounts")?;
    mounts.retain(|mount| !MOUNTS.iter().any(|place| mount["destination"] == *place));
    mounts.extend(MOUNTS.iter().filter(|place| Path::new(place).exists()).map(|place| {
        json!({
            "destination": place, "source": place, "type": "bind", "options": ["rbind", "ro"],
        })
    }));
    // umoci has made the file as root.
    let changed = bundle.with_file_name("config.json");
    fs::write(&changed, serde_json::to_string_pretty(&config)?)?;
    shell(as_root("cp").args([&changed, &path]))?;
    let mut command = as_root("runc");
    command.arg("--root").arg(bundle.with_file_name("runc"));
    command.args(["run", "--bundle"]).arg(bundle).arg(format!("netmon-{}", id()));
    Ok(command)
}
