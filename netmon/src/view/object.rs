//! One flat JSON object on one line, written without a detour through a tree.

use std::net::IpAddr;

use super::{output::put_address, time::Clock};

/// An object being written.
///
/// Keys come with their punctuation, quote of the value included: one copy of a constant each.
pub(super) struct Object<'a> {
    out: &'a mut Vec<u8>,
}

impl<'a> Object<'a> {
    /// More than most lines have, so that one rarely grows the buffer by parts.
    const USUAL: usize = 512;

    #[inline]
    pub(super) fn begin(out: &'a mut Vec<u8>, head: &str) -> Self {
        out.reserve(Self::USUAL);
        out.extend_from_slice(head.as_bytes());
        Self { out }
    }

    #[inline(always)]
    pub(super) fn raw(&mut self, text: &'static str) {
        self.out.extend_from_slice(text.as_bytes());
    }

    #[inline(always)]
    pub(super) fn number(&mut self, key: &'static str, value: u64) {
        self.raw(key);
        self.out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
    }

    /// A number that may be unknown, and is absent then.
    #[inline(always)]
    pub(super) fn some(&mut self, key: &'static str, value: Option<u64>) {
        if let Some(value) = value {
            self.number(key, value);
        }
    }

    /// A word of our own, which has nothing to escape.
    #[inline(always)]
    pub(super) fn word(&mut self, key: &'static str, value: &'static str) {
        self.raw(key);
        self.raw(value);
        self.out.push(b'"');
    }

    #[inline(always)]
    pub(super) fn address(&mut self, key: &'static str, address: IpAddr) {
        self.raw(key);
        put_address(self.out, address);
        self.out.push(b'"');
    }

    /// Text from outside: escaped, bytes that are not UTF-8 replaced.
    pub(super) fn text(&mut self, key: &'static str, value: &[u8]) {
        self.raw(key);
        if value.iter().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\')) {
            self.out.push(b'"');
            self.out.extend_from_slice(value);
            self.out.push(b'"');
            return;
        }
        // A string always has a JSON form, and the buffer grows.
        let _ = serde_json::to_writer(&mut *self.out, &String::from_utf8_lossy(value));
    }

    pub(super) fn time(&mut self, key: &'static str, clock: &mut Clock, moment: u64) {
        self.raw(key);
        clock.write(self.out, moment);
        self.out.push(b'"');
    }

    pub(super) fn end(self) {
        self.out.extend_from_slice(b"}\n");
    }
}
