//! A machine with systemd as process 1: a Debian system as the initramfs, with netmon installed.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::symlink,
    path::PathBuf,
    process::Command,
};

use anyhow::Context;

use super::{
    Netmon,
    arch::Arch,
    debian::{CACHE, suite_here},
    image::{Image, LONGEST, copy_file, copy_program, modules, pack, place},
    kernel::Kernel,
    tally::SUCCESS,
};
use crate::{
    debian::{bootstrap, cache},
    shell::{as_root, root, run},
};

/// The packages beside those that every Debian system has: runc makes a container.
const PACKAGES: &str = "systemd,systemd-sysv,kmod,runc";
/// No terminal has a login: without udev, systemd waits 90 s for its device.
const PARAMETERS: &str = "rdinit=/sbin/init systemd.unit=multi-user.target \
     systemd.mask=serial-getty@ttyS0.service systemd.mask=serial-getty@ttyAMA0.service \
     systemd.mask=getty.target";
/// Leaves out of the system in `$1` what a machine has no use for, packs the rest into `$2`, and
/// removes the system.
const PACK: &str = "cd \"$1\"
rm -rf usr/share/doc usr/share/info usr/share/locale usr/share/man var/cache/apt var/lib/apt/lists
find . | cpio --create --quiet --format=newc > \"$2\"
rm -rf \"$1\"";
const CHECK: &str = include_str!("system/check.sh");
/// The place of the tests' files in the machine.
const PLACE: &str = "opt/netmon-vm";
const UNITS: &str = "etc/systemd/system";

/// Makes an initramfs that tests the unit: that of the package, or that of the checkout beside the
/// built program.
pub(super) fn make(kernel: &Kernel, netmon: &Netmon, refresh: bool) -> anyhow::Result<Image> {
    let system = system(refresh).context("a Debian system with systemd")?;
    let (path, tree) = place(&format!("{}-systemd", kernel.name))?;
    let wants = tree.join(UNITS).join("multi-user.target.wants");
    for directory in [&tree.join(PLACE), &wants] {
        fs::create_dir_all(directory)?;
    }
    match netmon {
        Netmon::Package(deb) => copy_file(deb, &tree.join(PLACE).join("netmon.deb"))?,
        Netmon::Built(programs) => {
            copy_program(kernel.arch, &programs.netmon, &tree.join("usr/bin/netmon"))?;
            let unit = "netmon.service";
            copy_file(&root().join("dist").join(unit), &tree.join(UNITS).join(unit))?;
        }
    }
    let lists = ["modules.order", "modules.builtin", "modules.builtin.modinfo"];
    let of_kernel = kernel.root.join("lib/modules").join(&kernel.release);
    let lists = lists.map(|list| of_kernel.join(list));
    for module in modules(kernel)?.into_iter().chain(lists) {
        let within = module.strip_prefix(&kernel.root).context("a module of the kernel")?;
        copy_file(&module, &tree.join("usr").join(within))?;
    }
    run(Command::new("depmod").arg("-b").arg(tree.join("usr")).arg(&kernel.release))?;
    // debootstrap copies these from this host.
    fs::write(tree.join("etc/hostname"), "netmon-vm\n")?;
    fs::write(tree.join("etc/hosts"), "127.0.0.1 localhost\n::1 localhost\n")?;
    fs::write(tree.join("etc/resolv.conf"), "")?;
    fs::write(tree.join(PLACE).join("check"), CHECK)?;
    let check = format!(
        "[Unit]\nDescription=Tests of netmon's unit\n\n[Service]\n\
         ExecStart=/bin/bash /{PLACE}/check {} {} '{SUCCESS}'\n",
        kernel.arch.facts().channel_device,
        LONGEST.as_secs()
    );
    fs::write(tree.join(UNITS).join("netmon-vm.service"), check)?;
    symlink("../netmon-vm.service", wants.join("netmon-vm.service"))?;
    // The kernel unpacks one archive after the other.
    let added = tree.with_extension("added");
    pack(&tree, &added)?;
    fs::copy(system, &path)?;
    io::copy(&mut File::open(&added)?, &mut OpenOptions::new().append(true).open(&path)?)?;
    fs::remove_file(added)?;
    fs::remove_dir_all(tree)?;
    Ok(Image { path, parameters: PARAMETERS })
}

/// Finds the system in the cache, or makes it with debootstrap. Returns the archive.
fn system(refresh: bool) -> anyhow::Result<PathBuf> {
    let suite = suite_here()?;
    // A system with other packages is another one.
    let packages = PACKAGES.replace(',', "-");
    let name = format!("{suite}-{packages}-{}", Arch::HOST.facts().debian);
    let directory = cache(CACHE)?.join(name);
    let archive = directory.join("system.cpio");
    if !refresh && archive.exists() {
        return Ok(archive);
    }
    fs::create_dir_all(&directory)?;
    let (tree, fresh) = (directory.join("tree"), directory.join("fresh"));
    bootstrap(&suite, PACKAGES, &tree)?;
    run(as_root("sh").args(["-ec", PACK, "sh"]).arg(&tree).arg(&fresh))?;
    fs::rename(fresh, &archive)?;
    Ok(archive)
}
