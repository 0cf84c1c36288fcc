//! The part of a filter that the kernel program decides, as clauses of plain numbers.

use core::mem::size_of;

use crate::{AF_INET, AF_INET6};

/// The most clauses of a [`KernelFilter`].
pub const MAX_CLAUSES: usize = 8;

/// Conditions on a connection, which passes when it meets all of them.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(bytemuck::Pod, bytemuck::Zeroable))]
pub struct Clause {
    /// The states: bit n is the kernel's number n.
    pub states: u16,
    /// The socket families: bit 0 is IPv4, bit 1 IPv6.
    pub families: u16,
    /// Inode number of the network namespace; 0 for any.
    pub netns: u32,
    /// The lowest and the highest local port.
    pub local_ports: [u16; 2],
    /// The lowest and the highest remote port.
    pub remote_ports: [u16; 2],
}

impl Clause {
    /// Admits every connection: states 1 to 12, both families, any namespace and ports.
    pub const ANY: Self = Self {
        states: 0x1ffe,
        families: 0b11,
        netns: 0,
        local_ports: [0, u16::MAX],
        remote_ports: [0, u16::MAX],
    };

    /// Admits no connection.
    pub const NONE: Self =
        Self { states: 0, families: 0, netns: 0, local_ports: [0; 2], remote_ports: [0; 2] };

    /// Returns whether a connection passes; `state` is the kernel's number, `family` an `AF_`.
    #[inline(always)]
    #[must_use]
    pub const fn admits(
        &self,
        state: u8,
        family: u8,
        netns: u32,
        local_port: u16,
        remote_port: u16,
    ) -> bool {
        let family = match family {
            AF_INET => 1 << 0,
            AF_INET6 => 1 << 1,
            _ => 0,
        };
        state < 16
            && self.states >> state & 1 != 0
            && self.families & family != 0
            && (self.netns == 0 || self.netns == netns)
            && self.local_ports[0] <= local_port
            && local_port <= self.local_ports[1]
            && self.remote_ports[0] <= remote_port
            && remote_port <= self.remote_ports[1]
    }
}

/// The filter of the kernel program, which admits each connection that any clause admits.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(bytemuck::Pod, bytemuck::Zeroable))]
pub struct KernelFilter {
    /// The number of clauses; 0 admits every connection.
    pub count: u32,
    /// The clauses: the first `count` are in use, the others are [`Clause::NONE`].
    pub clauses: [Clause; MAX_CLAUSES],
}

impl KernelFilter {
    /// Admits every connection.
    pub const ANY: Self = Self { count: 0, clauses: [Clause::NONE; MAX_CLAUSES] };

    /// Returns whether a connection passes; parameters as for [`Clause::admits`].
    #[inline(always)]
    #[must_use]
    pub fn admits(
        &self,
        state: u8,
        family: u8,
        netns: u32,
        local_port: u16,
        remote_port: u16,
    ) -> bool {
        self.count == 0
            || self
                .clauses
                .iter()
                .take(self.count as usize)
                .any(|clause| clause.admits(state, family, netns, local_port, remote_port))
    }

    /// Restricts the filter to connections in one of `states` and of one of `families`.
    #[must_use]
    pub fn restrict(mut self, states: u16, families: u16) -> Self {
        let all = Clause::ANY;
        if states & all.states == all.states && families & all.families == all.families {
            return self;
        }
        if self.count == 0 {
            self.count = 1;
            self.clauses[0] = all;
        }
        // Clauses past the count have no states to lose.
        for clause in &mut self.clauses {
            clause.states &= states;
            clause.families &= families;
        }
        self
    }

    /// Leaves the state open in each clause. A transition has two states, and a transition that is
    /// not wanted may lead to one that is.
    #[must_use]
    pub fn in_any_state(mut self) -> Self {
        for clause in self.clauses.iter_mut().take(self.count as usize) {
            if clause.states != 0 {
                clause.states = Clause::ANY.states;
            }
        }
        self
    }
}

const _: () = assert!(size_of::<Clause>() == 16);
const _: () = assert!(size_of::<KernelFilter>() == 4 + 16 * MAX_CLAUSES);

#[cfg(test)]
mod tests {
    use super::*;

    const HTTPS: Clause = Clause { netns: 7, remote_ports: [443, 443], ..Clause::ANY };

    #[test]
    fn a_clause_asks_for_all_of_it() {
        assert!(HTTPS.admits(1, AF_INET, 7, 1, 443));
        assert!(HTTPS.admits(12, AF_INET6, 7, 0, 443));
        assert!(!HTTPS.admits(1, AF_INET, 8, 1, 443));
        assert!(!HTTPS.admits(1, AF_INET, 7, 1, 442));
        assert!(!HTTPS.admits(1, AF_INET, 7, 1, 444));
        assert!(!HTTPS.admits(0, AF_INET, 7, 1, 443));
        assert!(!HTTPS.admits(1, 1, 7, 1, 443));
        let local = Clause { states: 1 << 1, families: 1, local_ports: [5, 6], ..Clause::ANY };
        assert!(local.admits(1, AF_INET, 9, 6, 0));
        assert!(!local.admits(1, AF_INET6, 9, 6, 0));
        assert!(!local.admits(2, AF_INET, 9, 6, 0));
        assert!(!local.admits(1, AF_INET, 9, 4, 0));
        assert!(!local.admits(1, AF_INET, 9, 7, 0));
    }

    #[test]
    fn numbers_that_are_no_state_do_not_wrap() {
        for state in [0, 13, 16, 17, 33, 65, 255] {
            assert!(!Clause::ANY.admits(state, AF_INET, 1, 1, 1), "{state}");
        }
        assert!(!Clause::NONE.admits(0, AF_INET, 0, 0, 0));
    }

    #[test]
    fn any_clause_is_enough() {
        let mut filter = KernelFilter { count: 2, ..KernelFilter::ANY };
        filter.clauses[1] = HTTPS;
        assert!(filter.admits(1, AF_INET, 7, 1, 443));
        filter.count = 1;
        assert!(!filter.admits(1, AF_INET, 7, 1, 443));
        assert!(KernelFilter::ANY.admits(1, AF_INET, 7, 1, 443));
    }

    #[test]
    fn restricts_every_clause() {
        assert_eq!(KernelFilter::ANY.restrict(u16::MAX, 3), KernelFilter::ANY);
        let ipv6 = KernelFilter::ANY.restrict(u16::MAX, 2);
        assert_eq!(ipv6.count, 1);
        assert_eq!(ipv6.clauses[0], Clause { families: 2, ..Clause::ANY });
        assert_eq!(ipv6.clauses[1], Clause::NONE);
        let mut two = KernelFilter { count: 2, ..KernelFilter::ANY };
        two.clauses[..2].copy_from_slice(&[Clause::ANY, HTTPS]);
        let two = two.restrict(1 << 10, 3);
        assert_eq!((two.count, two.clauses[1].states), (2, 1 << 10));
        assert!(two.admits(10, AF_INET, 7, 1, 443));
        assert!(!two.admits(1, AF_INET, 7, 1, 443));
    }
}
