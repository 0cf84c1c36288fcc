//! The fate of a socket that the tracepoint reports as closed.
//!
//! `tcp_time_wait` (net/ipv4/tcp_minisocks.c) puts a TIME_WAIT bucket in the place of a socket, and
//! the tracepoint reports CLOSE either way. The record's flags show the fate, or leave two
//! possible.

use netmon_common::{self as wire, flag};

use crate::core::{event::Transition, tcp::TcpState};

/// The error of a connection that was reset.
#[expect(clippy::cast_possible_truncation, reason = "104; no errno is above 133")]
pub(super) const ECONNRESET: u8 = libc::ECONNRESET as u8;

/// The fate of a socket on its way to CLOSE; the rows are those of the table in docs/time-wait.md.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SocketFate {
    /// Nothing is left of the socket. Rows "to CLOSE with an errno" and "TCP_REPAIR".
    Closed,
    /// The peer acknowledged this socket's FIN (LAST_ACK -> CLOSE): nothing is left of the socket,
    /// and the other end, if this host has it, is in TIME_WAIT. Row "… LAST_ACK -> CLOSE".
    FinAcknowledged,
    /// A bucket in TIME_WAIT took the socket's place. Row "SOCK_DONE" (the peer's FIN was taken),
    /// or the record's flag MINISOCKET.
    TimeWait,
    /// A bucket in FIN_WAIT2 took the socket's place, and the kernel reports its next step: the
    /// flags MINISOCKET and WAITS.
    ReportedBucket,
    /// A bucket in TIME_WAIT took the socket's place, or nothing did: the kernel is asked. Rows "no
    /// bucket to spare" and "SOCK_LINGER".
    TimeWaitOrNothing,
    /// A bucket in FIN_WAIT2 may have taken the place of an orphan: the socket is parked until the
    /// peer, a RST or an answer of the kernel decides. Row "FIN_WAIT2, SOCK_DEAD, not SOCK_DONE".
    ParkedOrphan,
    /// The socket closed, and a RST that this host sends may follow: the end is held for a moment,
    /// so that the event can name the side that reset.
    AwaitsOwnReset,
}

impl SocketFate {
    /// Returns the fate of the socket of `event`, a transition to CLOSE whose record is `record`.
    pub(super) fn of(event: &Transition, record: &wire::Transition) -> Self {
        let has = |flag: u8| record.flags & flag != 0;
        if event.silent {
            return Self::Closed;
        }
        match (event.old, event.errno) {
            (TcpState::FinWait2 | TcpState::Closing, None) if has(flag::MINISOCKET) => {
                if has(flag::WAITS) { Self::ReportedBucket } else { Self::TimeWait }
            }
            (TcpState::FinWait2 | TcpState::Closing, None) if has(flag::DONE) => {
                // SO_LINGER 0 and TCP_REPAIR end CLOSING without a trace and without TIME_WAIT
                // (tcp_disconnect).
                let may_disconnect = has(flag::LINGER | flag::REPAIR);
                let may_end = event.old == TcpState::Closing && may_disconnect;
                let is_certain = !has(flag::BUCKETS_FULL) && !may_end;
                if is_certain { Self::TimeWait } else { Self::TimeWaitOrNothing }
            }
            (TcpState::FinWait2, None) if event.orphan => Self::ParkedOrphan,
            (TcpState::LastAck, None) => Self::FinAcknowledged,
            (TcpState::SynSent | TcpState::Listen, _) => Self::Closed,
            // The errno of a RST that was received leaves no doubt but after a shutdown in both
            // directions, where data that comes looks the same (`tcp_rcv_state_process`,
            // net/ipv4/tcp_input.c).
            (old, None | Some(ECONNRESET))
                if event.reset.is_none()
                    || matches!(old, TcpState::FinWait1 | TcpState::FinWait2) =>
            {
                Self::AwaitsOwnReset
            }
            _ => Self::Closed,
        }
    }
}

#[cfg(test)]
mod tests {
    use TcpState::{Close, Closing, Established, FinWait1, FinWait2, LastAck, SynSent};
    use bytemuck::Zeroable;

    use super::*;
    use crate::core::id::socket;
    use crate::core::{event::ResetSide, id::Tuple};

    fn fate(old: TcpState, flags: u8, change: impl FnOnce(&mut Transition)) -> SocketFate {
        let record = wire::Transition { flags, ..wire::Transition::zeroed() };
        let end = ([127, 0, 0, 1], 1).into();
        let mut event = Transition::bare(
            socket(1),
            Tuple { netns: 1, interface: 0, local: end, remote: end },
            old,
            Close,
        );
        change(&mut event);
        SocketFate::of(&event, &record)
    }

    #[test]
    fn each_row_of_the_table_has_its_fate() {
        use SocketFate::{
            AwaitsOwnReset, Closed, FinAcknowledged, ParkedOrphan, ReportedBucket, TimeWait,
            TimeWaitOrNothing,
        };
        let none = |_: &mut Transition| {};
        let waits = flag::MINISOCKET | flag::WAITS;
        let full = flag::DONE | flag::BUCKETS_FULL;
        let lingers = flag::DONE | flag::LINGER;
        let timed_out = |event: &mut Transition| event.errno = Some(110);
        let silent = |event: &mut Transition| event.silent = true;
        let reset = |event: &mut Transition| {
            (event.errno, event.reset) = (Some(ECONNRESET), Some(ResetSide::Received));
        };
        for (expected, got) in [
            (Closed, fate(Established, 0, timed_out)),
            (Closed, fate(FinWait2, flag::DONE, timed_out)),
            (TimeWait, fate(FinWait2, flag::DONE, none)),
            (TimeWait, fate(Closing, flag::MINISOCKET, none)),
            (ReportedBucket, fate(FinWait2, waits, none)),
            (TimeWaitOrNothing, fate(FinWait2, full, none)),
            (TimeWaitOrNothing, fate(Closing, lingers, none)),
            (TimeWaitOrNothing, fate(Closing, flag::DONE | flag::REPAIR, none)),
            (Closed, fate(Established, 0, silent)),
            (TimeWait, fate(FinWait2, lingers, none)),
            (ParkedOrphan, fate(FinWait2, 0, |event| event.orphan = true)),
            (AwaitsOwnReset, fate(FinWait2, 0, none)),
            (FinAcknowledged, fate(LastAck, 0, none)),
            (Closed, fate(SynSent, 0, none)),
            (Closed, fate(Established, 0, reset)),
            (AwaitsOwnReset, fate(FinWait1, 0, reset)),
            (AwaitsOwnReset, fate(FinWait2, 0, reset)),
            (AwaitsOwnReset, fate(Established, 0, none)),
        ] {
            assert_eq!(got, expected);
        }
    }
}
