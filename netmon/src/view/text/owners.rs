//! Processes as `PID/Program name`.

use std::io::Write;

use super::{
    layout::{Form, cut},
    width::columns_of,
};
use crate::core::{
    escape::EscapedName,
    process::{PidText, Process},
};

/// Writes the first process, as many others as fit `room` columns, and the number of the rest.
pub(in crate::view) fn put_owners(out: &mut Vec<u8>, owners: &[&Process], room: usize) {
    if owners.is_empty() {
        out.push(b'-');
    }
    let start = out.len();
    for (i, process) in owners.iter().enumerate() {
        let before = out.len();
        if i > 0 {
            out.push(b',');
        }
        // Writing to a vector does not fail, here and below.
        let _ = write!(out, "{}/{}", PidText(process.pid), EscapedName(&process.comm));
        let rest = owners.len() - i - 1;
        if room == usize::MAX || columns_of(&out[start..]) + note(rest) <= room {
            continue;
        }
        let mut left_out = rest;
        if i == 0 {
            let first = out.split_off(start);
            let room = room.saturating_sub(note(rest));
            out.extend(cut(&String::from_utf8_lossy(&first), room, Form::Text).bytes());
        } else {
            out.truncate(before);
            left_out += 1;
        }
        if left_out > 0 {
            let _ = write!(out, " +{left_out}");
        }
        return;
    }
}

/// Returns the columns of the number of processes that are left out.
fn note(left_out: usize) -> usize {
    left_out.checked_ilog10().map_or(0, |log| " +1".len() + log as usize)
}
