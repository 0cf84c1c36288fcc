//! Sets of TCP states, with the names of `ss` and of the kernel.

use std::fmt;

use super::TcpState;

/// A set of states: bit n is the kernel's number n. `SynRecv` and `NewSynRecv` always come
/// together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct States(u16);

/// The names of single states in `ss`.
const SINGLE: [(&str, TcpState); 11] = [
    ("established", TcpState::Established),
    ("syn-sent", TcpState::SynSent),
    ("syn-recv", TcpState::SynRecv),
    ("fin-wait-1", TcpState::FinWait1),
    ("fin-wait-2", TcpState::FinWait2),
    ("time-wait", TcpState::TimeWait),
    ("closed", TcpState::Close),
    ("close-wait", TcpState::CloseWait),
    ("last-ack", TcpState::LastAck),
    ("listening", TcpState::Listen),
    ("closing", TcpState::Closing),
];

/// The names of two states in the output of `ss`.
const SHOWN: [(&str, TcpState); 2] =
    [("estab", TcpState::Established), ("unconn", TcpState::Close)];

/// The names of groups of states in `ss`.
const GROUPS: [(&str, States); 5] = [
    ("all", States::ALL),
    ("connected", States::ALL.without(States::UNCONNECTED)),
    (
        "synchronized",
        States::ALL.without(States::UNCONNECTED).without(States::of(&[TcpState::SynSent])),
    ),
    ("bucket", States::BUCKET),
    ("big", States::ALL.without(States::BUCKET)),
];

impl States {
    const ALL: Self = Self::of(&TcpState::ALL);
    const UNCONNECTED: Self = Self::of(&[TcpState::Listen, TcpState::Close]);
    const BUCKET: Self = Self::of(&[TcpState::SynRecv, TcpState::TimeWait]);

    pub(super) const fn of(states: &[TcpState]) -> Self {
        let mut bits = 0;
        let mut at = 0;
        while at < states.len() {
            bits |= match states[at] {
                TcpState::SynRecv | TcpState::NewSynRecv => {
                    1 << TcpState::SynRecv as u8 | 1 << TcpState::NewSynRecv as u8
                }
                state => 1 << state as u8,
            };
            at += 1;
        }
        Self(bits)
    }

    /// Returns the states that `name` stands for. Case, `-` and `_` do not matter.
    pub(super) fn named(name: &str) -> Option<Self> {
        let name = plain(name);
        if let Some(&(_, group)) = GROUPS.iter().find(|(candidate, _)| *candidate == name) {
            return Some(group);
        }
        let kernels = TcpState::ALL.map(|state| (state.name(), state));
        let mut names = SINGLE.iter().chain(&SHOWN).chain(&kernels);
        names.find(|(candidate, _)| plain(candidate) == name).map(|&(_, state)| Self::of(&[state]))
    }

    /// Returns the names to choose from.
    pub(super) fn choice() -> Vec<&'static str> {
        let groups = GROUPS.iter().map(|(name, _)| *name);
        SINGLE.iter().map(|(name, _)| *name).chain(groups).collect()
    }

    pub(super) const fn contains(self, state: TcpState) -> bool {
        self.0 >> state as u8 & 1 != 0
    }

    pub(super) const fn bits(self) -> u16 {
        self.0
    }

    pub(super) const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }
}

impl fmt::Display for States {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some((name, _)) = GROUPS.iter().find(|(_, group)| group == self) {
            return write!(f, "state {name}");
        }
        let mut separator = "";
        for (name, _) in SINGLE.iter().filter(|(_, state)| self.contains(*state)) {
            write!(f, "{separator}state {name}")?;
            separator = " ";
        }
        Ok(())
    }
}

fn plain(name: &str) -> String {
    name.replace(['-', '_'], "").to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_the_names_of_ss_and_of_the_kernel() {
        let same = |name: &str, states: &[TcpState]| {
            assert_eq!(States::named(name), Some(States::of(states)), "{name}");
        };
        for (name, state) in SINGLE {
            same(name, &[state]);
            same(&name.replace('-', ""), &[state]);
        }
        for state in TcpState::ALL {
            same(state.name(), &[state]);
        }
        same("estab", &[TcpState::Established]);
        same("Fin_Wait-1", &[TcpState::FinWait1]);
        same("new-syn-recv", &[TcpState::SynRecv]);
        for name in ["", "established2", "fin-wait", "wait"] {
            assert_eq!(States::named(name), None, "{name}");
        }
    }

    #[test]
    fn groups_are_those_of_ss() {
        let group = |name: &str| States::named(name).expect("a group").bits();
        assert_eq!(group("all"), 0b1_1111_1111_1110);
        assert_eq!(group("connected"), 0b1_1011_0111_1110);
        assert_eq!(group("synchronized"), 0b1_1011_0111_1010);
        assert_eq!(group("bucket"), 0b1_0000_0100_1000);
        assert_eq!(group("big"), 0b0_1111_1011_0110);
    }

    #[test]
    fn both_kinds_of_half_open_go_together() {
        for state in [TcpState::SynRecv, TcpState::NewSynRecv] {
            let states = States::of(&[state]);
            assert_eq!(states.bits(), 1 << 3 | 1 << 12);
            assert!(states.contains(TcpState::SynRecv) && states.contains(TcpState::NewSynRecv));
            assert_eq!(states.to_string(), "state syn-recv");
        }
    }
}
