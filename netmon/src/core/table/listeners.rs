//! Listeners by their ports, and the directions that the listeners prove.

use rustc_hash::FxHashMap;

use crate::core::{
    connection::{Connection, Direction},
    id::Tuple,
    tcp::TcpState,
};

/// Listeners by network namespace and port.
#[derive(Clone, Debug, Default)]
pub(super) struct Listeners {
    numbers: FxHashMap<(u32, u16), u32>,
}

impl Listeners {
    pub(super) fn add(&mut self, tuple: &Tuple) {
        *self.numbers.entry((tuple.netns, tuple.local.port())).or_default() += 1;
    }

    pub(super) fn remove(&mut self, tuple: &Tuple) {
        let key = (tuple.netns, tuple.local.port());
        if let Some(number) = self.numbers.get_mut(&key) {
            *number -= 1;
            if *number == 0 {
                self.numbers.remove(&key);
            }
        }
    }

    /// Returns the direction of a connection whose beginning is unknown, if its states tell, or a
    /// listener at its local port.
    pub(super) fn direction(&self, tuple: &Tuple, states: &[TcpState]) -> Option<Direction> {
        if states.contains(&TcpState::Listen) {
            return None;
        }
        if states.contains(&TcpState::SynSent) {
            return Some(Direction::Outbound);
        }
        let is_half_open =
            |state: &TcpState| matches!(state, TcpState::SynRecv | TcpState::NewSynRecv);
        let is_inbound = self.numbers.contains_key(&(tuple.netns, tuple.local.port()))
            || states.iter().any(is_half_open);
        is_inbound.then_some(Direction::Inbound)
    }

    /// Completes a row whose direction is unknown.
    pub(super) fn complete(&self, row: &mut Connection) {
        if row.direction.is_none() && row.inferred_direction.is_none() {
            row.inferred_direction = self.direction(&row.tuple, &[row.state]);
        }
    }
}
