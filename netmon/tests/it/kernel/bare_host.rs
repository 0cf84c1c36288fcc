//! A host that lacks something: each message names what is missing, and what to do.

use std::process::{Command, Output};

use crate::kernel::{netns::Netns, recording::Directory};

/// The number of prctl(2), that of bpf(2), and the machine for the filter of system calls.
#[cfg(target_arch = "x86_64")]
const NUMBERS: [u32; 3] = [157, 321, 0xc000_003e];
#[cfg(target_arch = "aarch64")]
const NUMBERS: [u32; 3] = [167, 280, 0xc000_00b7];

/// Runs netmon in a mount namespace of its own, after these commands.
fn netmon_after(prepare: &str, args: &str) -> Output {
    let script = format!("{prepare} && exec {} {args}", env!("CARGO_BIN_EXE_netmon"));
    let mut command = Command::new("unshare");
    command.args(["--mount", "bash", "-c", &script]).output().expect("unshare(1)")
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Asserts that netmon fails with one message.
#[track_caller]
fn assert_refused(prepare: &str, args: &str, code: i32, expected: &str) {
    let output = netmon_after(prepare, args);
    let text = stderr(&output);
    assert_eq!(output.status.code(), Some(code), "{args}: {text}");
    assert!(text.contains(expected), "{args}: {text}");
    assert_eq!(text.matches(expected).count(), 1, "once, {args}: {text}");
    assert!(!text.contains("os error"), "{args}: {text}");
}

#[test]
fn without_proc_the_file_system_is_named() {
    let prepare = "mount -t tmpfs none /proc";
    let expected = "/proc is not mounted, and netmon reads processes and network namespaces there: \
                    mount -t proc proc /proc";
    let directory = Directory::new();
    let journal = directory.0.display();
    for args in [
        "snapshot -tan",
        "snapshot -tan --source proc",
        "snapshot -tan --source bpf",
        "snapshot -t --netns 1",
        "watch --duration 1s",
        "top --once",
        "verify --duration 1s",
        &format!("record --journal {journal} --duration 1s"),
    ] {
        assert_refused(prepare, args, 1, expected);
    }
    let doctor = netmon_after(prepare, "doctor");
    assert_eq!(doctor.status.code(), Some(2), "{doctor:?}");
    assert!(stdout(&doctor).contains("/proc is not mounted"), "{doctor:?}");
    assert!(stdout(&doctor).contains("mount -t proc proc /proc"), "{doctor:?}");
}

#[test]
fn without_sys_a_listing_comes_from_proc() {
    Netns::new().run(|| {
        let prepare = "mount -t tmpfs none /sys";
        let expected = "/sys is not mounted, and netmon reads the kernel's types and tracepoints \
                        there: mount -t sysfs sysfs /sys";
        for args in ["watch --duration 1s", "watch --no-btf --duration 1s", "snapshot --source bpf"]
        {
            assert_refused(prepare, args, 1, expected);
        }
        let listing = netmon_after(prepare, "snapshot -tan --netns self");
        assert!(listing.status.success(), "{listing:?}");
        assert!(stdout(&listing).contains("\nProto "), "{listing:?}");
        let doctor = netmon_after(prepare, "doctor");
        assert_eq!(doctor.status.code(), Some(2), "{doctor:?}");
        assert!(stdout(&doctor).contains("/sys is not mounted"), "{doctor:?}");
    });
}

#[test]
fn without_etc_names_are_numbers_and_the_file_is_named() {
    Netns::new().run(|| {
        let prepare = "mount -t tmpfs none /etc";
        let services = "this host has no /etc/services with the names of ports";
        for args in ["services ssh", "services"] {
            assert_refused(prepare, args, 1, services);
        }
        assert_refused(prepare, "snapshot 'dport = :ssh'", 2, services);
        assert_refused(prepare, "snapshot uid = daemon", 2, "this host has no /etc/passwd");
        let listing = netmon_after(prepare, "snapshot -tae --netns self");
        assert!(listing.status.success() && listing.stderr.is_empty(), "{listing:?}");
    });
}

/// Runs netmon behind a filter of system calls by which bpf(2) is as on a kernel without BPF.
fn netmon_without_bpf(args: &[&str]) -> Output {
    let [prctl, bpf, machine] = NUMBERS;
    // `PR_SET_NO_NEW_PRIVS`, then `PR_SET_SECCOMP` with a program that compares the machine and the
    // number (linux/seccomp.h, linux/filter.h); ENOSYS is 38.
    let script = format!(
        "sub op {{ pack('SCCL', @_) }}
         my $code = op(0x20, 0, 0, 4) . op(0x15, 0, 3, {machine}) . op(0x20, 0, 0, 0)
             . op(0x15, 0, 1, {bpf}) . op(0x06, 0, 0, 0x00050026) . op(0x06, 0, 0, 0x7fff0000);
         my $program = pack('Sx6P', 6, $code);
         syscall({prctl}, 38, 1, 0, 0, 0) == 0 or die $!;
         syscall({prctl}, 22, 2, $program) == 0 or die $!;
         exec @ARGV or die $!"
    );
    let mut perl = Command::new("perl");
    perl.args(["-e", &script, env!("CARGO_BIN_EXE_netmon")]).args(args);
    perl.output().expect("perl")
}

#[test]
fn without_bpf_a_listing_comes_from_proc() {
    Netns::new().run(|| {
        let expected = "has no bpf(2) (ENOSYS), which this takes: run a kernel built with \
                        CONFIG_BPF_SYSCALL=y";
        for args in [
            &["watch", "--duration", "1s"][..],
            &["watch", "--no-btf", "--duration", "1s"],
            &["snapshot", "--source", "bpf"],
        ] {
            let output = netmon_without_bpf(args);
            assert_eq!(output.status.code(), Some(1), "{args:?}: {output:?}");
            assert_eq!(stderr(&output).matches(expected).count(), 1, "{args:?}: {output:?}");
        }
        let listing = netmon_without_bpf(&["snapshot", "-tan", "--netns", "self"]);
        assert!(listing.status.success(), "{listing:?}");
        assert!(stdout(&listing).contains("\nProto "), "{listing:?}");
        let doctor = netmon_without_bpf(&["doctor"]);
        assert_eq!(doctor.status.code(), Some(2), "{doctor:?}");
        assert!(stdout(&doctor).contains("CONFIG_BPF_SYSCALL=y"), "{doctor:?}");
    });
}

#[test]
fn a_mount_at_a_path_of_any_bytes_hides_no_cgroup() {
    let directory = Directory::new();
    let place = format!("\"{}/$(printf '\\377')\"", directory.0.display());
    let prepare = format!("mkdir {place} && mount -t tmpfs none {place}");
    let output = netmon_after(&prepare, "snapshot -tn 'cgroup = /'");
    assert!(output.status.success(), "{output:?}");
}
