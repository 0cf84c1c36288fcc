//! The terminal that standard output is.

use std::{
    env,
    io::{self, IsTerminal},
};

/// The columns of a terminal that does not tell, as those of a serial line.
const USUAL: usize = 80;

/// Returns the columns of the terminal that standard output is; `None` for anything else.
pub(in crate::cli) fn width() -> Option<usize> {
    let out = io::stdout();
    if !out.is_terminal() {
        return None;
    }
    let columns = rustix::termios::tcgetwinsize(&out).map_or(0, |size| size.ws_col.into());
    let set = || env::var("COLUMNS").ok()?.parse().ok();
    let is_some = |columns: &usize| *columns > 0;
    Some(columns).filter(is_some).or_else(|| set().filter(is_some)).or(Some(USUAL))
}
