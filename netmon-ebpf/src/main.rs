//! netmon's kernel program: what the kernel tells about its TCP sockets, into one ring buffer, and
//! dumps of what it holds.
//!
//! Loaded and attached by `netmon/src/kernel`. It decides as little as it can: user space orders,
//! completes and judges. It must never lose a record without counting it.
#![no_std]
#![no_main]

mod accept;
mod connect;
mod filter;
mod iter;
mod minisocket;
mod netns;
mod offsets;
mod peek;
mod probed;
mod process;
mod reset;
mod ring;
mod sock;
mod transition;

/// The licence that the kernel asks of programs that call GPL-only helpers.
#[unsafe(no_mangle)]
#[unsafe(link_section = "license")]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    // The verifier refuses a program that could get here, so nothing does.
    loop {}
}
