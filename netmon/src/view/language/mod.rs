//! The languages of the texts for people: a file for each, with every text.
//!
//! A text is a field of [`Language`]. The compiler refuses a language that lacks a field, so no
//! text is missing where netmon runs. Long texts are files in a directory of the language.
//!
//! JSON, filters, journals, exit codes and messages on standard error have no language.
//! docs/languages.md tells how to add one.

mod en;
mod pt_br;
#[cfg(test)]
mod tests;

use std::fmt;

pub(crate) use self::en::ENGLISH;
pub use self::pt_br::PT_BR;
use crate::core::{
    socket::{TimerKind, UnixSocket},
    tcp::TcpState,
};

/// The texts in one language.
pub struct Language {
    /// The name of the locale, without a charset: `pt_BR`.
    pub locale: &'static str,

    /// The headings of a listing.
    pub headings: Headings,
    /// The line above a listing of IP sockets.
    pub internet: &'static str,
    /// The line above a listing of unix sockets.
    pub unix: &'static str,
    /// The sockets of a listing that has no servers.
    pub without_servers: &'static str,
    /// The sockets of a listing that has servers alone.
    pub only_servers: &'static str,
    /// The sockets of a listing that has both.
    pub servers_and_established: &'static str,
    /// The line above a listing of the past; `{host}` and `{time}` stand in it.
    pub past: &'static str,

    /// The name of a state.
    pub state: fn(TcpState) -> &'static str,
    /// The name of a unix socket's state; empty for a socket to which no process can connect.
    pub unix_state: fn(&UnixSocket) -> &'static str,
    /// The name of a timer, or of its absence.
    pub timer: fn(Option<TimerKind>) -> &'static str,

    /// The words of a summary.
    pub summary: SummaryWords,
    /// The headings of `netmon services`.
    pub services: ServicesHeadings,
    /// The texts of netstat's other tables.
    pub tables: TableWords,
    /// Topics of `netmon help`.
    pub topics: Topics,
}

/// The headings of a listing: those of netstat, and netmon's own.
pub struct Headings {
    pub proto: &'static str,
    pub recv_q: &'static str,
    pub send_q: &'static str,
    pub local_address: &'static str,
    /// The same in a narrow column.
    pub local: &'static str,
    pub foreign_address: &'static str,
    /// The same in a narrow column.
    pub foreign: &'static str,
    pub state: &'static str,
    pub user: &'static str,
    pub inode: &'static str,
    pub program: &'static str,
    pub netns: &'static str,
    pub timer: &'static str,
    pub references: &'static str,
    pub flags: &'static str,
    pub kind: &'static str,
    pub unix_inode: &'static str,
    pub path: &'static str,
}

/// The words of a summary that a listing has not.
pub struct SummaryWords {
    pub sockets: &'static str,
    pub total: &'static str,
    pub remote_address: &'static str,
    pub port: &'static str,
    /// The rest of a table, after its number.
    pub others: &'static str,
}

/// The headings of `netmon services`.
pub struct ServicesHeadings {
    pub service: &'static str,
    pub port: &'static str,
    pub aliases: &'static str,
    pub listening: &'static str,
}

/// The texts of netstat's tables besides sockets. A line of headings is whole: net-tools' widths
/// are not those of its rows.
pub struct TableWords {
    pub routes: &'static str,
    pub route_cache: &'static str,
    /// With the columns of TCP, with the metric, and with both.
    pub route_headings: [&'static str; 3],
    /// As for routes.
    pub cache_headings: [&'static str; 3],
    pub ipv6_routes: &'static str,
    pub ipv6_route_cache: &'static str,
    pub ipv6_route_headings: &'static str,
    pub devices: &'static str,
    pub device_headings: &'static str,
    /// In place of the letters of a device without flags.
    pub no_flags: &'static str,
    pub groups: &'static str,
    pub group_headings: &'static str,
    /// Translates the sentence of a counter, or the heading of a list of messages of ICMP. `{}`
    /// stands for the value.
    pub counter: fn(&'static str) -> &'static str,
}

/// Topics of `netmon help`, a screen each. A line with `{here}` is for the sockets of the host, and
/// is left out where there are none.
pub struct Topics {
    pub states: &'static str,
    /// `{range}` stands for the ports that the kernel chooses.
    pub ports: &'static str,
    pub columns: &'static str,
}

/// Every language; the first is that of a user without another one.
pub(crate) static LANGUAGES: [&Language; 2] = [&ENGLISH, &PT_BR];

impl Language {
    /// Returns the language of a locale, as in `LANG`: `pt_BR.UTF-8`, `pt_BR` or `pt`.
    #[must_use]
    pub fn of_locale(locale: &str) -> &'static Self {
        let wanted = locale.split(['.', '@']).next().unwrap_or_default();
        let is_wanted = |known: &&&Self| {
            known.locale == wanted || known.locale.split('_').next() == Some(wanted)
        };
        LANGUAGES.iter().find(is_wanted).unwrap_or(&LANGUAGES[0])
    }
}

/// English.
impl Default for &'static Language {
    fn default() -> Self {
        &ENGLISH
    }
}

impl fmt::Debug for Language {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.locale)
    }
}
