//! Maps by cookie, in which sockets that were made one after the other lie side by side.
//!
//! The kernel counts cookies up, in batches for each CPU (`gen_cookie_next`,
//! include/linux/cookie.h), and sockets that were made together change together. A hash that
//! spreads cookies makes each access a cache miss; this hash spreads groups of cookies.

use std::{
    collections::HashMap,
    hash::{BuildHasherDefault, Hasher},
};

use crate::core::id::SocketId;

/// A map from ids of sockets, or from keys of rows.
pub(crate) type CookieMap<T, K = SocketId> = HashMap<K, T, BuildHasherDefault<CookieHasher>>;

/// Bits of a cookie that tell neighbours apart: hashbrown looks at a group of 16 in one step.
const TOGETHER: u32 = 4;
/// 2^64 divided by the golden ratio, odd: Fibonacci hashing.
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;
/// The topmost bits, which the table keeps of each key to tell them apart.
const TAG: u32 = 7;

/// Hashes one cookie.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct CookieHasher(u64);

impl Hasher for CookieHasher {
    #[inline]
    fn write_u64(&mut self, cookie: u64) {
        let within = cookie & ((1 << TOGETHER) - 1);
        let group = (cookie >> TOGETHER).wrapping_mul(SPREAD);
        // The better bits of a product are the upper ones.
        let place = group.rotate_right(32) << TOGETHER | within;
        let tag = (group >> (64 - TAG + TOGETHER)) << TOGETHER | within;
        self.0 = place & (u64::MAX >> TAG) | tag << (64 - TAG);
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(self.0 ^ u64::from(*byte));
        }
    }

    #[inline]
    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(cookie: u64) -> u64 {
        let mut hasher = CookieHasher::default();
        hasher.write_u64(cookie);
        hasher.finish()
    }

    #[test]
    fn neighbours_are_side_by_side_and_distinct() {
        for first in (0..1 << 20).step_by(16) {
            let (place, tag) = (hash(first) & 0xffff, hash(first) >> 57);
            for within in 0..16 {
                assert_eq!(hash(first + within) & 0xffff, place + within);
                assert_eq!(hash(first + within) >> 57, tag + within);
            }
        }
    }

    /// No place has many more than its share, for any distance between the cookies.
    #[test]
    fn groups_are_spread() {
        for distance in [1, 2, 16, 17, 256, 4096, 65_536, 1 << 20] {
            let mut groups = vec![0_u32; 1 << 12];
            for number in 0..1_u64 << 16 {
                let place = hash(number * distance) & 0xffff;
                groups[usize::try_from(place >> 4).expect("a small number")] += 1;
            }
            let most = groups.iter().max().expect("groups");
            // 16 are its share; whole groups fall together.
            assert!(*most <= 16 * 8, "{distance} apart: {most} of 16");
        }
    }
}
