//! netmon's kernel program: records of the kernel's TCP sockets, into ring buffers, and dumps of
//! all sockets. Each CPU has a ring buffer of its own where there is room. Records of processes
//! and cgroups have one ring.
//!
//! `netmon/src/kernel` loads and attaches the program. The program decides as little as possible:
//! user space orders, completes and judges. The program must never lose a record without counting
//! the loss.
#![no_std]
#![no_main]

mod accept;
mod cgroup;
mod connect;
mod ending;
mod filter;
mod iter;
mod minisocket;
mod netns;
mod offsets;
mod peek;
mod pid_namespace;
mod probed;
mod process;
mod program;
mod reset;
mod ring;
mod sock;
mod transition;
mod walk;

/// The licence that the kernel asks of programs that call GPL-only helpers.
#[unsafe(no_mangle)]
#[unsafe(link_section = "license")]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    // The verifier refuses a program that could get here, so nothing does.
    loop {}
}
