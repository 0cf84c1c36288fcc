//! Short pieces of text put together on the stack.
//!
//! A line consists of some fifty pieces of a few bytes. To append a piece to a vector is a call of
//! `memcpy`, and the call takes longer than the copy.

/// Up to `N` bytes of text.
pub(in crate::view) struct StackText<const N: usize> {
    bytes: [u8; N],
    length: usize,
}

impl<const N: usize> StackText<N> {
    #[inline(always)]
    pub(in crate::view) const fn new() -> Self {
        Self { bytes: [0; N], length: 0 }
    }

    #[inline(always)]
    pub(in crate::view) fn text(&self) -> &[u8] {
        &self.bytes[..self.length]
    }

    #[inline(always)]
    pub(in crate::view) const fn clear(&mut self) {
        self.length = 0;
    }

    /// Returns the number of bytes that still fit. A method that puts more bytes panics.
    #[inline(always)]
    pub(in crate::view) const fn left(&self) -> usize {
        N - self.length
    }

    #[inline(always)]
    fn grow(&mut self, by: usize) -> &mut [u8] {
        let start = self.length;
        self.length += by;
        &mut self.bytes[start..start + by]
    }

    /// Puts bytes as they are.
    #[inline(always)]
    pub(in crate::view) fn put(&mut self, text: &[u8]) {
        let length = text.len();
        let room = self.grow(length);
        // Two copies of a constant length, which may overlap.
        macro_rules! twice {
            ($size:literal) => {{
                room[..$size].copy_from_slice(&text[..$size]);
                room[length - $size..].copy_from_slice(&text[length - $size..]);
            }};
        }
        match length {
            16..=32 => twice!(16),
            8..=15 => twice!(8),
            4..=7 => twice!(4),
            2..=3 => twice!(2),
            _ => room.copy_from_slice(text),
        }
    }

    #[inline(always)]
    pub(in crate::view) fn number(&mut self, value: u64) {
        self.put(itoa::Buffer::new().format(value).as_bytes());
    }

    /// Puts the number in `digits` digits, up to 16, with zeros before the number.
    #[inline(always)]
    pub(super) fn padded(&mut self, value: u64, digits: usize) {
        let mut number = itoa::Buffer::new();
        let number = number.format(value).as_bytes();
        self.put(&b"0000000000000000"[..digits.saturating_sub(number.len())]);
        self.put(number);
    }

    /// Puts an IPv4 address, which needs room for 16 bytes meanwhile.
    #[inline(always)]
    pub(super) fn octets(&mut self, octets: [u8; 4]) {
        for octet in octets {
            let (text, length) = OCTETS[usize::from(octet)];
            self.grow(4).copy_from_slice(&text);
            self.length -= 4 - usize::from(length);
        }
        // Without the last dot.
        self.length -= 1;
    }
}

/// The text of every octet with a dot after the octet, and the length of the text.
static OCTETS: [([u8; 4], u8); 256] = {
    let mut octets = [([b'.'; 4], 0); 256];
    let mut octet = 0;
    while octet < 256 {
        let (text, length) = &mut octets[octet];
        let mut least = 100;
        while least > 0 {
            if octet >= least || least == 1 {
                #[expect(clippy::cast_possible_truncation, reason = "a digit")]
                {
                    text[*length as usize] = b'0' + (octet / least % 10) as u8;
                }
                *length += 1;
            }
            least /= 10;
        }
        *length += 1;
        octet += 1;
    }
    octets
};

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn put(write: impl FnOnce(&mut StackText<40>)) -> String {
        let mut short = StackText::new();
        write(&mut short);
        String::from_utf8(short.text().to_vec()).expect("text")
    }

    #[test]
    fn pieces_of_every_length() {
        let text = "0123456789abcdefghijklmnopqrstuvwxyzABCD";
        for length in 0..=40 {
            assert_eq!(put(|short| short.put(&text.as_bytes()[..length])), text[..length]);
        }
        let both = put(|short| {
            short.put(b"one");
            short.put(b", two");
        });
        assert_eq!(both, "one, two");
    }

    #[test]
    fn numbers() {
        for number in [0, 9, 10, 99, 12_345, u64::MAX] {
            assert_eq!(put(|short| short.number(number)), number.to_string());
        }
        assert_eq!(put(|short| short.padded(42, 9)), "000000042");
        assert_eq!(put(|short| short.padded(999_999, 6)), "999999");
    }

    #[test]
    fn addresses() {
        for octet in 0..=255 {
            let address = Ipv4Addr::new(octet, 255 - octet, 0, octet);
            assert_eq!(put(|short| short.octets(address.octets())), address.to_string());
        }
        // The longest address fills all 16 bytes, with the dot that goes at the end.
        let mut short = StackText::<16>::new();
        short.octets([255; 4]);
        assert_eq!(short.text(), b"255.255.255.255");
    }
}
