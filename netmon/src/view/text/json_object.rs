//! One flat JSON object on one line, written without a detour through a tree.

use std::net::IpAddr;

use super::{clock::Clock, output::put_address, stack_text::StackText};
use crate::core::{
    escape::{EXACT, put_json_text},
    id::{Binding, Tuple},
    socket::Protocol,
    time::{Mono, Wall},
};

/// An object being written.
///
/// A key comes with its punctuation and the opening quote of its value, so that one copy of a
/// constant writes all of them.
pub(in crate::view) struct JsonObject<'a> {
    out: &'a mut Vec<u8>,
    /// The last part of the object, which `out` does not have yet.
    part: StackText<PART>,
}

/// The size of a part, bytes: most objects are shorter.
const PART: usize = 512;

impl<'a> JsonObject<'a> {
    #[inline(always)]
    pub(in crate::view) fn begin(out: &'a mut Vec<u8>, head: &str) -> Self {
        out.extend_from_slice(head.as_bytes());
        Self { out, part: StackText::new() }
    }

    /// Makes room for `bytes` bytes in the part.
    #[inline(always)]
    fn room(&mut self, bytes: usize) {
        if self.part.left() < bytes {
            self.spill();
        }
    }

    #[cold]
    fn spill(&mut self) {
        self.out.extend_from_slice(self.part.text());
        self.part.clear();
    }

    #[inline(always)]
    pub(in crate::view) fn raw(&mut self, text: &'static str) {
        self.room(text.len());
        self.part.put(text.as_bytes());
    }

    /// Writes a number; as a string if most readers would round the number.
    #[inline(always)]
    pub(in crate::view) fn number(&mut self, key: &'static str, value: u64) {
        self.raw(key);
        if value > EXACT {
            return self.digits(value);
        }
        self.room(20);
        self.part.number(value);
    }

    #[cold]
    fn digits(&mut self, value: u64) {
        self.raw("\"");
        self.room(20);
        self.part.number(value);
        self.raw("\"");
    }

    /// Writes a number, and nothing if the number is unknown.
    #[inline(always)]
    pub(in crate::view) fn some(&mut self, key: &'static str, value: Option<u64>) {
        if let Some(value) = value {
            self.number(key, value);
        }
    }

    /// Writes a word of netmon's own, which needs no escape.
    #[inline(always)]
    pub(in crate::view) fn word(&mut self, key: &'static str, value: &'static str) {
        self.raw(key);
        self.raw(value);
        self.raw("\"");
    }

    #[inline(always)]
    pub(in crate::view) fn address(&mut self, key: &'static str, address: IpAddr) {
        self.raw(key);
        self.room(16);
        match address {
            IpAddr::V4(address) => self.part.octets(address.octets()),
            address @ IpAddr::V6(_) => {
                self.spill();
                put_address(self.out, address);
            }
        }
        self.raw("\"");
    }

    /// Writes text from outside: escapes the characters that are not safe to show, and replaces
    /// bytes that are not UTF-8.
    pub(in crate::view) fn text(&mut self, key: &'static str, value: &[u8]) {
        self.raw(key);
        let is_plain = |byte: &u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\');
        if value.len() <= 32 && value.iter().all(is_plain) {
            self.room(34);
            self.part.put(b"\"");
            self.part.put(value);
            self.part.put(b"\"");
            return;
        }
        self.spill();
        put_json_text(value, self.out);
    }

    /// Writes a flag, and nothing if the flag is false.
    #[inline(always)]
    pub(in crate::view) fn flag(&mut self, key: &'static str, flag: bool) {
        if flag {
            self.raw(key);
            self.raw("true");
        }
    }

    /// Writes a name from outside, and nothing if the name is unknown.
    #[inline(always)]
    pub(in crate::view) fn name(&mut self, key: &'static str, name: Option<&str>) {
        if let Some(name) = name {
            self.text(key, name.as_bytes());
        }
    }

    /// Writes the device, the protocol and both ends of a socket.
    #[inline(always)]
    pub(in crate::view) fn ends(&mut self, protocol: Protocol, tuple: &Tuple, binding: &Binding) {
        if tuple.interface != 0 {
            self.number(",\"interface\":", tuple.interface.into());
        }
        self.name(",\"device\":", binding.device.as_deref());
        self.flag(",\"v6only\":", binding.v6only == Some(true));
        self.word(",\"proto\":\"", protocol.name());
        let Tuple { local, remote, .. } = tuple;
        self.word(",\"family\":\"", if local.is_ipv4() { "ipv4" } else { "ipv6" });
        let port = |port: u16| Some(u64::from(port)).filter(|port| *port != 0);
        self.address(",\"local_addr\":\"", local.ip());
        self.some(",\"local_port\":", port(local.port()));
        self.address(",\"remote_addr\":\"", remote.ip());
        self.some(",\"remote_port\":", port(remote.port()));
    }

    /// Writes a process: its number here, its number on the host where that is another number, and
    /// its name. A number of 0 is unknown.
    #[inline(always)]
    pub(in crate::view) fn process(&mut self, pid: u32, host_pid: u32, comm: &[u8]) {
        for (key, pid) in [(",\"pid\":", pid), (",\"host_pid\":", host_pid)] {
            self.some(key, Some(u64::from(pid)).filter(|pid| *pid != 0));
        }
        self.text(",\"comm\":", comm);
    }

    #[inline(always)]
    pub(in crate::view) fn time(&mut self, key: &'static str, clock: &mut Clock, moment: Mono) {
        self.raw(key);
        self.room(Clock::LONGEST);
        clock.put(&mut self.part, moment);
        self.raw("\"");
    }

    /// Writes a wall time.
    #[inline(always)]
    pub(in crate::view) fn wall_time(&mut self, key: &'static str, clock: &mut Clock, wall: Wall) {
        self.raw(key);
        self.room(Clock::LONGEST);
        clock.put_wall(&mut self.part, wall);
        self.raw("\"");
    }

    /// Writes fields that [`Self::end_part`] ended.
    #[inline(always)]
    pub(in crate::view) fn part(&mut self, fields: &[u8]) {
        self.room(fields.len());
        if fields.len() <= PART {
            self.part.put(fields);
        } else {
            self.out.extend_from_slice(fields);
        }
    }

    /// Ends fields that are a part of other objects.
    pub(in crate::view) fn end_part(self) {
        self.out.extend_from_slice(self.part.text());
    }

    #[inline(always)]
    pub(in crate::view) fn end(mut self) {
        self.raw("}\n");
        self.out.extend_from_slice(self.part.text());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_number_is_rounded() {
        for (value, text) in [
            (0, "0"),
            (EXACT, "9007199254740992"),
            (EXACT + 1, "\"9007199254740993\""),
            (u64::MAX, "\"18446744073709551615\""),
        ] {
            let mut out = Vec::new();
            let mut object = JsonObject::begin(&mut out, "{");
            object.number("\"n\":", value);
            object.end();
            assert_eq!(String::from_utf8_lossy(&out), format!("{{\"n\":{text}}}\n"));
        }
    }
}
