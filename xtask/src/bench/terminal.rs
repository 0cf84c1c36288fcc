//! A terminal for a program to write to.

use std::{
    fs::{File, OpenOptions},
    os::fd::OwnedFd,
};

use rustix::{
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
    termios::{Winsize, tcsetwinsize},
};

/// Opens a terminal. Returns our side, and the side that a program takes for its terminal.
pub(super) fn open(lines: u16, columns: u16) -> anyhow::Result<(File, OwnedFd)> {
    let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
    grantpt(&ours)?;
    unlockpt(&ours)?;
    let name = ptsname(&ours, Vec::new())?;
    let theirs = OpenOptions::new().read(true).write(true).open(name.to_str()?)?;
    let size = Winsize { ws_row: lines, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(&ours, size)?;
    Ok((File::from(ours), theirs.into()))
}
