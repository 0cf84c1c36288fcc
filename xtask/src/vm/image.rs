//! The initramfs: programs with their libraries, the kernel's modules, and a script.

use std::{
    collections::BTreeSet,
    fmt::Write,
    fs::{self, File},
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context, ensure};

use super::{Programs, arch::Arch, kernel::Kernel, tally::SUCCESS, userland::Userland};
use crate::shell::{output, root, run, target};

/// The longest run of a machine; one that takes longer hangs. In emulation, on two cores, the tests
/// took 20 to 22 minutes on Linux 6.1 and later, and more than 45 on 5.10.
pub(super) const LONGEST: Duration = Duration::from_secs(90 * 60);
/// Programs that the tests and the script call.
const PROGRAMS: [&str; 35] = [
    "bash", "cat", "cp", "date", "dmesg", "env", "grep", "head", "hostname", "insmod", "ip",
    "kill", "ls", "mkdir", "mkfifo", "mount", "netstat", "nsenter", "nstat", "perl", "prlimit",
    "ps", "sed", "setpriv", "sh", "sleep", "ss", "stty", "tail", "timeout", "tmux", "true",
    "umount", "uname", "unshare",
];
/// Modules that are not built into Debian's kernels: veth pairs, packet sockets, sock_diag.
const MODULES: [&str; 6] = ["veth", "af_packet", "tcp_diag", "udp_diag", "raw_diag", "unix_diag"];
/// Files that give names to numbers, the locale that tmux takes characters by, and a time zone.
const FILES: [&str; 7] = [
    "/etc/group",
    "/etc/nsswitch.conf",
    "/etc/passwd",
    "/etc/protocols",
    "/etc/services",
    "/usr/lib/locale/C.utf8/LC_CTYPE",
    "/usr/share/zoneinfo/Asia/Kolkata",
];

/// An initramfs on disk.
pub(super) struct Image {
    pub(super) path: PathBuf,
    /// Parameters of the kernel.
    pub(super) parameters: &'static str,
}

/// Returns the place of an image with this name, beside the empty directory for its files.
pub(super) fn place(name: &str) -> anyhow::Result<(PathBuf, PathBuf)> {
    let machines = target().join("machines");
    let tree = machines.join(format!("{name}.tree"));
    if tree.exists() {
        fs::remove_dir_all(&tree)?;
    }
    fs::create_dir_all(&tree)?;
    Ok((machines.join(format!("{name}.cpio")), tree))
}

impl Image {
    /// Makes an initramfs that runs `command`, with `programs` and all programs that they call.
    pub(super) fn make(
        kernel: &Kernel,
        userland: &Userland,
        programs: &Programs,
        command: &str,
    ) -> anyhow::Result<Self> {
        let (path, tree) = place(&format!("{}-{}", kernel.name, kernel.arch.facts().debian))?;
        for directory in
            ["dev", "proc", "sys", "tmp", "run", "root", "scratch", "var/tmp", "etc", "modules"]
        {
            fs::create_dir_all(tree.join(directory))?;
        }
        // Programs and their interpreters have paths in /bin and /lib too.
        for part in ["bin", "lib", "lib64", "sbin"] {
            fs::create_dir_all(tree.join("usr").join(part))?;
            symlink(Path::new("usr").join(part), tree.join(part))?;
        }
        let mut libraries = BTreeSet::new();
        for program in [&programs.netmon, &programs.tests] {
            libraries.extend(userland.libraries(program)?);
            copy_program(kernel.arch, program, &inside(&tree, program))?;
        }
        for name in PROGRAMS {
            let program = userland
                .program(name)
                .with_context(|| format!("there is no `{name}`, which the tests call"))?;
            let file = userland.file(&program);
            libraries.extend(userland.libraries(&file)?);
            copy_program(kernel.arch, &file, &inside(&tree, &program))?;
        }
        for library in &libraries {
            copy_file(&userland.file(library), &inside(&tree, library))?;
        }
        for file in FILES.map(Path::new).into_iter().filter(|file| file.exists()) {
            copy_file(file, &inside(&tree, file))?;
        }
        // The only names are these; a test mounts another resolv.conf over the empty one.
        fs::write(tree.join("etc/hosts"), "127.0.0.1 localhost\n::1 localhost\n")?;
        fs::write(tree.join("etc/resolv.conf"), "")?;
        let mut script = SCRIPT.replace("/dev/CHANNEL", kernel.arch.facts().channel_device);
        for (number, module) in modules(kernel)?.iter().enumerate() {
            let name = module.file_name().context("a module")?.to_string_lossy();
            let name = format!("modules/{number:02}-{name}");
            copy_file(module, &tree.join(&name))?;
            writeln!(script, "insmod /{name}")?;
        }
        let here = root();
        writeln!(script, "mkdir -p {0}/netmon; cd {0}/netmon", here.display())?;
        writeln!(script, "export NETMON={}", programs.netmon.display())?;
        writeln!(script, "export TESTS={}", programs.tests.display())?;
        // The process that started the machine may be gone when the machine hangs.
        writeln!(script, "(sleep {}; echo o > /proc/sysrq-trigger) & disown", LONGEST.as_secs())?;
        writeln!(script, "if {command}; then echo '{SUCCESS}'; fi")?;
        // The console may be slower than the power-off.
        writeln!(script, "sleep 1; echo o > /proc/sysrq-trigger; sleep 60")?;
        fs::write(tree.join("init"), script)?;
        fs::set_permissions(tree.join("init"), fs::Permissions::from_mode(0o755))?;
        pack(&tree, &path)?;
        fs::remove_dir_all(&tree)?;
        Ok(Self { path, parameters: "" })
    }
}

/// The script before the tests, which sets a machine up as a distribution does. Nothing is mounted
/// over a place of the checkout, as the programs contain paths of the checkout.
const SCRIPT: &str = "#!/bin/bash
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export HOME=/root TMPDIR=/scratch RUST_BACKTRACE=0
mount -t devtmpfs none /dev
exec < /dev/null > /dev/CHANNEL 2>&1
mount -t proc none /proc
mount -t sysfs none /sys
mount -t tmpfs none /scratch
mount -t tmpfs none /run
mount -t cgroup2 none /sys/fs/cgroup
mkdir -p /dev/shm /dev/pts
mount -t devpts none /dev/pts
ls /proc/self/fd > /dev/null
hostname netmon-vm
ip link set lo up
";

/// Copies a file, or the target of a symbolic link, and makes the directory for it.
pub(super) fn copy_file(from: &Path, to: &Path) -> anyhow::Result<()> {
    let directory = to.parent().context("a file in a directory")?;
    fs::create_dir_all(directory)?;
    fs::copy(from, to).with_context(|| format!("copying {}", from.display()))?;
    Ok(())
}

/// Copies a program, without symbols, which would only fill the machine's memory.
pub(super) fn copy_program(arch: Arch, from: &Path, to: &Path) -> anyhow::Result<()> {
    copy_file(from, to)?;
    if fs::metadata(to)?.len() > 10 << 20 {
        run(arch.tool("strip").arg(to))?;
    }
    Ok(())
}

/// Returns the path in `tree` for a path of the machine.
fn inside(tree: &Path, path: &Path) -> PathBuf {
    tree.join(path.strip_prefix("/").unwrap_or(path))
}

/// Returns the modules to load, in order.
pub(super) fn modules(kernel: &Kernel) -> anyhow::Result<Vec<PathBuf>> {
    run(Command::new("depmod").arg("-b").arg(&kernel.root).arg(&kernel.release))?;
    let mut modules = Vec::new();
    for name in MODULES {
        let mut command = Command::new("modprobe");
        command.arg("-d").arg(&kernel.root).args(["-S", &kernel.release, "--show-depends", name]);
        for line in output(&mut command)?.lines() {
            // "builtin NAME" is a module that needs no loading.
            let Some(path) = line.strip_prefix("insmod ") else { continue };
            let path = PathBuf::from(path.trim());
            if !modules.contains(&path) {
                modules.push(path);
            }
        }
    }
    Ok(modules)
}

/// Packs `tree` into a cpio archive, which the kernel unpacks.
pub(super) fn pack(tree: &Path, path: &Path) -> anyhow::Result<()> {
    let mut find = Command::new("find")
        .arg(".")
        .current_dir(tree)
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot run find")?;
    let status = Command::new("cpio")
        .args(["--create", "--quiet", "--format=newc", "--owner=0:0"])
        .current_dir(tree)
        .stdin(find.stdout.take().context("its output")?)
        .stdout(File::create(path)?)
        .status()
        .context("cannot run cpio: install cpio")?;
    ensure!(find.wait()?.success() && status.success(), "packing {} failed", tree.display());
    Ok(())
}
