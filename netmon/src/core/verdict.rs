//! The reason of a connection's end.
//!
//! One rule, [`judge`], decides by the last transition and by the side that sent the first FIN. The
//! rule never guesses: each verdict has a row here.
//!
//! | last transition | errno | RST | verdict |
//! |---|---|---|---|
//! | `SYN_SENT -> CLOSE` | ECONNREFUSED | | refused |
//! | | ETIMEDOUT | | timed-out |
//! | | ECONNRESET, EPIPE | | reset-by-peer |
//! | | any that ICMP brings | | unreachable |
//! | | EADDRNOTAVAIL (2) | | no-free-port |
//! | | none, ECONNABORTED, any other | | aborted |
//! | any other `-> CLOSE` | ECONNRESET, EPIPE | sent | reset-locally |
//! | | ECONNRESET, EPIPE | | reset-by-peer |
//! | | ECONNABORTED | | reset-locally |
//! | | any that ICMP brings (1) | | timed-out |
//! | | any other | | none |
//! | | none | none: TCP_REPAIR | closed-silently |
//! | | none | sent | reset-locally |
//! | | none | received | reset-by-peer |
//! | `ESTABLISHED`, `CLOSE_WAIT`, `SYN_RECV -> CLOSE` | none | | reset-locally |
//! | any `-> TIME_WAIT` | none | | closed-locally |
//! | any other | none | | closed-locally or closed-by-peer, by the first FIN |
//!
//! (1) `tcp_write_err` replaces ETIMEDOUT by a soft error.
//!
//! A process may read the error of a connection on which the kernel gave up before the kernel ends
//! the connection. The kernel program puts that error in its place.
//!
//! (2) The socket has no error: the assembler adds what connect returned, if there was no SYN.
//!
//! A connection without an end that two dumps of the kernel in a row did not have has vanished.

use std::fmt;

use super::{
    event::{ResetSide, Transition},
    tcp::TcpState,
};

/// The reason of a connection's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Verdict {
    /// A process of this host closed the connection first, and the peer followed.
    ClosedLocally,
    /// The peer closed the connection first, and this host followed.
    ClosedByPeer,
    /// No process listens there.
    Refused,
    /// No answer came, to the connect or to later data.
    TimedOut,
    /// The peer sent a RST.
    ResetByPeer,
    /// This host ended the connection with a RST: SO_LINGER 0, data that no process read, data
    /// after close, a connection that no process accepted, `ss -K`.
    ResetLocally,
    /// The network reported no way to the peer.
    Unreachable,
    /// The connect was given up before an answer came.
    Aborted,
    /// The end was lost, and dumps of the kernel do not have the connection any more.
    Vanished,
    /// The connect got no local port: each is taken by a connection to the same peer, or the port
    /// that the socket is bound to is. No SYN was sent.
    NoFreePort,
    /// A process of this host closed the connection without a FIN and without a RST, so that the
    /// peer does not know (TCP_REPAIR, as CRIU does).
    ClosedSilently,
}

impl Verdict {
    /// Every verdict.
    pub const ALL: [Self; 11] = [
        Self::ClosedLocally,
        Self::ClosedByPeer,
        Self::Refused,
        Self::TimedOut,
        Self::ResetByPeer,
        Self::ResetLocally,
        Self::Unreachable,
        Self::Aborted,
        Self::Vanished,
        Self::NoFreePort,
        Self::ClosedSilently,
    ];

    /// Returns the word for the verdict.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::ClosedLocally => "closed-locally",
            Self::ClosedByPeer => "closed-by-peer",
            Self::Refused => "refused",
            Self::TimedOut => "timed-out",
            Self::ResetByPeer => "reset-by-peer",
            Self::ResetLocally => "reset-locally",
            Self::Unreachable => "unreachable",
            Self::Aborted => "aborted",
            Self::Vanished => "vanished",
            Self::NoFreePort => "no-free-port",
            Self::ClosedSilently => "closed-silently",
        }
    }

    /// Returns whether a connection with this end has failed: its process did not want such an end.
    #[must_use]
    pub const fn is_failure(self) -> bool {
        match self {
            Self::Aborted
            | Self::NoFreePort
            | Self::Refused
            | Self::ResetByPeer
            | Self::TimedOut
            | Self::Unreachable => true,
            Self::ClosedLocally
            | Self::ClosedByPeer
            | Self::ResetLocally
            | Self::Vanished
            | Self::ClosedSilently => false,
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// The side that sent its FIN first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FirstFin {
    /// This host.
    Ours,
    /// The peer.
    Peers,
}

impl FirstFin {
    /// Both sides.
    pub const ALL: [Self; 2] = [Self::Ours, Self::Peers];

    /// Returns the word for the side.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ours => "ours",
            Self::Peers => "peers",
        }
    }

    /// Returns the side that a transition proves.
    #[must_use]
    pub const fn proved_by(t: &Transition) -> Option<Self> {
        match (t.old, t.new) {
            (_, TcpState::FinWait1) => Some(Self::Ours),
            (_, TcpState::CloseWait) => Some(Self::Peers),
            // The connection was already closing when netmon started.
            (TcpState::LastAck, _) => Some(Self::Peers),
            (TcpState::FinWait1 | TcpState::FinWait2 | TcpState::Closing, _) => Some(Self::Ours),
            _ => None,
        }
    }
}

/// Returns the verdict on a connection whose last transition is `t`; none for a listener, for a
/// transition that is not the last, and for an errno without a rule.
///
/// ```
/// use netmon::testing::{SocketId, TcpState, Transition, Tuple, Verdict, judge};
///
/// let end = |port| ([127, 0, 0, 1], port).into();
/// let tuple = Tuple { netns: 1, interface: 0, local: end(43210), remote: end(443) };
/// let cookie = SocketId::new(7).expect("not 0");
/// let failed = Transition::bare(cookie, tuple, TcpState::SynSent, TcpState::Close);
/// let refused = Transition { errno: Some(111), ..failed };
/// assert_eq!(judge(&refused, None), Some(Verdict::Refused));
/// ```
#[must_use]
pub fn judge(t: &Transition, first: Option<FirstFin>) -> Option<Verdict> {
    if !t.is_last() || matches!(t.old, TcpState::Listen | TcpState::TimeWait) {
        return None;
    }
    let errno = t.errno.map(i32::from);
    Some(match (t.old, errno, t.reset) {
        (TcpState::SynSent, Some(libc::ECONNREFUSED), _) => Verdict::Refused,
        (_, Some(libc::ETIMEDOUT), _) => Verdict::TimedOut,
        (TcpState::SynSent, None | Some(libc::ECONNABORTED), _) if t.new == TcpState::Close => {
            Verdict::Aborted
        }
        (_, Some(libc::ECONNRESET | libc::EPIPE), Some(ResetSide::Sent)) => Verdict::ResetLocally,
        (_, Some(libc::ECONNRESET | libc::EPIPE), _) => Verdict::ResetByPeer,
        (TcpState::SynSent, Some(libc::EADDRNOTAVAIL), _) => Verdict::NoFreePort,
        (TcpState::SynSent, Some(errno), _) if is_from_icmp(errno) => Verdict::Unreachable,
        (TcpState::SynSent, Some(_), _) => Verdict::Aborted,
        (_, Some(libc::ECONNABORTED), _) => Verdict::ResetLocally,
        (_, Some(errno), _) if is_from_icmp(errno) => Verdict::TimedOut,
        (_, Some(_), _) => return None,
        (_, None, None) if t.new == TcpState::TimeWait => Verdict::ClosedLocally,
        (_, None, None) if t.silent => Verdict::ClosedSilently,
        (_, None, Some(ResetSide::Sent)) => Verdict::ResetLocally,
        (_, None, Some(ResetSide::Received)) => Verdict::ResetByPeer,
        (TcpState::Established | TcpState::CloseWait | TcpState::SynRecv, None, None) => {
            Verdict::ResetLocally
        }
        (_, None, None) => match first.or(FirstFin::proved_by(t)) {
            Some(FirstFin::Peers) => Verdict::ClosedByPeer,
            Some(FirstFin::Ours) | None => Verdict::ClosedLocally,
        },
    })
}

/// Returns whether ICMP messages become this error (`icmp_err_convert`, net/ipv4/icmp.c), or a
/// route causes it.
const fn is_from_icmp(errno: i32) -> bool {
    matches!(
        errno,
        libc::ENETUNREACH
            | libc::EHOSTUNREACH
            | libc::EHOSTDOWN
            | libc::ENETDOWN
            | libc::ENONET
            | libc::EACCES
            | libc::EPERM
            | libc::EPROTO
            | libc::EOPNOTSUPP
            | libc::ENOPROTOOPT
            | libc::EMSGSIZE
            | libc::ENETRESET
            | libc::EINVAL
    )
}

impl Transition {
    /// Returns whether the transition is the end of a half-open connection, which only dumps
    /// report. Of all ends in SYN_RECV, only this one has neither a verdict nor an error.
    #[must_use]
    pub fn is_half_open_end(&self, verdict: Option<Verdict>) -> bool {
        let ends = (self.old, self.new) == (TcpState::SynRecv, TcpState::Close);
        ends && verdict.is_none() && self.errno.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::{
        event::Opening,
        id::{Binding, Tuple, socket},
        time::Mono,
    };
    use TcpState::*;

    fn last(old: TcpState, new: TcpState, errno: i32, reset: Option<ResetSide>) -> Transition {
        let address = "127.0.0.1:80".parse().expect("an address");
        Transition {
            time: Mono::from_nanos(1),
            cookie: socket(1),
            tuple: Tuple { netns: 1, interface: 0, local: address, remote: address },
            binding: Binding::default(),
            old,
            new,
            errno: u8::try_from(errno).ok().filter(|errno| *errno != 0),
            reset,
            totals: None,
            orphan: false,
            silent: false,
            inferred: false,
            opening: Opening::None,
        }
    }

    #[test]
    fn each_row_of_the_table() {
        use Verdict::*;
        let (sent, received) = (Some(ResetSide::Sent), Some(ResetSide::Received));
        for (old, new, errno, reset, first, verdict) in [
            (SynSent, Close, libc::ECONNREFUSED, received, None, Refused),
            (SynSent, Close, libc::ETIMEDOUT, None, None, TimedOut),
            (SynSent, Close, libc::EHOSTUNREACH, None, None, Unreachable),
            (SynSent, Close, libc::EACCES, None, None, Unreachable),
            (SynSent, Close, libc::ECONNRESET, received, None, ResetByPeer),
            (SynSent, Close, libc::EADDRNOTAVAIL, None, None, NoFreePort),
            (SynSent, Close, libc::ECONNABORTED, None, None, Aborted),
            (SynSent, Close, 0, None, None, Aborted),
            (Established, Close, libc::ETIMEDOUT, None, None, TimedOut),
            (Established, Close, libc::EHOSTUNREACH, None, None, TimedOut),
            (FinWait1, Close, libc::ETIMEDOUT, None, Some(FirstFin::Ours), TimedOut),
            (Established, Close, libc::ECONNRESET, received, None, ResetByPeer),
            (CloseWait, Close, libc::EPIPE, received, Some(FirstFin::Peers), ResetByPeer),
            (FinWait1, Close, libc::ECONNRESET, sent, Some(FirstFin::Ours), ResetLocally),
            (Established, Close, libc::ECONNABORTED, sent, None, ResetLocally),
            (Established, Close, 0, None, None, ResetLocally),
            (CloseWait, Close, 0, sent, Some(FirstFin::Peers), ResetLocally),
            (SynRecv, Close, 0, received, None, ResetByPeer),
            (FinWait2, Close, 0, sent, Some(FirstFin::Ours), ResetLocally),
            (FinWait2, TimeWait, 0, None, Some(FirstFin::Ours), ClosedLocally),
            (Closing, TimeWait, 0, None, Some(FirstFin::Ours), ClosedLocally),
            (LastAck, Close, 0, None, Some(FirstFin::Peers), ClosedByPeer),
            (LastAck, Close, 0, None, None, ClosedByPeer),
            (FinWait2, TimeWait, 0, None, None, ClosedLocally),
            (Established, TimeWait, 0, None, None, ClosedLocally),
        ] {
            let t = last(old, new, errno, reset);
            assert_eq!(judge(&t, first), Some(verdict), "{old} -> {new}, {errno}, {reset:?}");
        }
    }

    #[test]
    fn a_silent_close_is_no_reset() {
        for old in [Established, CloseWait, FinWait1] {
            let t = Transition { silent: true, ..last(old, Close, 0, None) };
            assert_eq!(judge(&t, None), Some(Verdict::ClosedSilently));
        }
    }

    #[test]
    fn what_goes_on_and_listeners_have_none() {
        assert_eq!(judge(&last(Established, FinWait1, 0, None), None), None);
        assert_eq!(judge(&last(Listen, Close, 0, None), None), None);
        assert_eq!(judge(&last(Established, Close, 133, None), None), None);
        assert_eq!(judge(&last(TimeWait, Close, 0, None), None), None);
    }
}
