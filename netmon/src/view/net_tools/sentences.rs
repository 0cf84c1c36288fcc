//! The sentences with which netstat shows counters: the interface that people and programs read.
//!
//! The names are the kernel's (net/ipv4/proc.c, net/ipv6/proc.c, net/sctp/proc.c), without the
//! protocol in front. A counter without a sentence is shown under its name.

/// The way in which netstat shows a counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::view) enum Form {
    /// Not at all: a setting, or a bound.
    Hidden,
    /// Always.
    Always,
    /// Only above zero.
    NonZero,
    /// Only above zero, in the list of messages of ICMP that came in.
    Input,
    /// Only above zero, in the list of messages of ICMP that went out.
    Output,
}

/// The headings of both lists of messages.
pub(super) const INPUT: &str = "ICMP input histogram:";
pub(super) const OUTPUT: &str = "ICMP output histogram:";

use Form::{Always, Hidden, Input, NonZero, Output};

/// A counter: its name, its form, and its sentence with `{}` in place of the value.
type Sentence = (&'static str, Form, &'static str);

/// Returns the form and the sentence of a counter.
pub(in crate::view) fn sentence(protocol: &str, name: &str) -> Option<(Form, &'static str)> {
    let (prefix, sentences) = match protocol {
        "Ip" => ("", IP),
        "Icmp" => ("", ICMP),
        "Tcp" => ("", TCP),
        "Udp" => ("", UDP),
        "TcpExt" => ("", TCP_EXT),
        "Ip6" => ("Ip6", IP6),
        "Icmp6" => ("Icmp6", ICMP6),
        "Udp6" => ("Udp6", UDP6),
        "Sctp" => ("Sctp", SCTP),
        _ => return None,
    };
    let name = name.strip_prefix(prefix)?;
    sentences.iter().find(|(known, ..)| *known == name).map(|(_, form, words)| (*form, *words))
}

const IP: &[Sentence] = &[
    ("DefaultTTL", Hidden, ""),
    ("ForwDatagrams", Always, "{} forwarded"),
    ("FragCreates", NonZero, "{} fragments created"),
    ("FragFails", NonZero, "{} outgoing packets failed fragmentation"),
    ("FragOKs", NonZero, "{} outgoing packets fragmented ok"),
    ("InAddrErrors", NonZero, "{} with invalid addresses"),
    ("InDelivers", Always, "{} incoming packets delivered"),
    ("InDiscards", Always, "{} incoming packets discarded"),
    ("InHdrErrors", NonZero, "{} with invalid headers"),
    ("InReceives", Always, "{} total packets received"),
    ("InUnknownProtos", NonZero, "{} with unknown protocol"),
    ("OutDiscards", NonZero, "{} outgoing packets dropped"),
    ("OutNoRoutes", NonZero, "{} dropped because of missing route"),
    ("OutRequests", Always, "{} requests sent out"),
    ("ReasmFails", NonZero, "{} packet reassemblies failed"),
    ("ReasmOKs", NonZero, "{} packets reassembled ok"),
    ("ReasmReqds", NonZero, "{} reassemblies required"),
    ("ReasmTimeout", NonZero, "{} fragments dropped after timeout"),
];

const ICMP: &[Sentence] = &[
    ("InAddrMaskReps", Input, "address mask replies: {}"),
    ("InAddrMasks", Input, "address mask request: {}"),
    ("InDestUnreachs", Input, "destination unreachable: {}"),
    ("InEchoReps", Input, "echo replies: {}"),
    ("InEchos", Input, "echo requests: {}"),
    ("InErrors", Always, "{} input ICMP message failed"),
    ("InMsgs", Always, "{} ICMP messages received"),
    ("InParmProbs", Input, "wrong parameters: {}"),
    ("InRedirects", Input, "redirects: {}"),
    ("InSrcQuenchs", Input, "source quenches: {}"),
    ("InTimeExcds", Input, "timeout in transit: {}"),
    ("InTimestampReps", Input, "timestamp reply: {}"),
    ("InTimestamps", Input, "timestamp request: {}"),
    ("OutAddrMaskReps", Output, "address mask replies: {}"),
    ("OutAddrMasks", Output, "address mask requests: {}"),
    ("OutDestUnreachs", Output, "destination unreachable: {}"),
    ("OutEchoReps", Output, "echo replies: {}"),
    ("OutEchos", Output, "echo requests: {}"),
    ("OutErrors", Always, "{} ICMP messages failed"),
    ("OutMsgs", Always, "{} ICMP messages sent"),
    ("OutParmProbs", Output, "wrong parameters: {}"),
    ("OutRedirects", Output, "redirect: {}"),
    ("OutSrcQuenchs", Output, "source quench: {}"),
    ("OutTimeExcds", Output, "time exceeded: {}"),
    ("OutTimestampReps", Output, "timestamp replies: {}"),
    ("OutTimestamps", Output, "timestamp requests: {}"),
];

const TCP: &[Sentence] = &[
    ("ActiveOpens", Always, "{} active connection openings"),
    ("AttemptFails", Always, "{} failed connection attempts"),
    ("CurrEstab", Always, "{} connections established"),
    ("EstabResets", Always, "{} connection resets received"),
    ("InErrs", Always, "{} bad segments received"),
    ("InSegs", Always, "{} segments received"),
    ("MaxConn", Hidden, ""),
    ("OutRsts", Always, "{} resets sent"),
    ("OutSegs", Always, "{} segments sent out"),
    ("PassiveOpens", Always, "{} passive connection openings"),
    ("RetransSegs", Always, "{} segments retransmitted"),
    ("RtoAlgorithm", Hidden, ""),
    ("RtoMax", Hidden, ""),
    ("RtoMin", Hidden, ""),
];

const UDP: &[Sentence] = &[
    ("InDatagrams", Always, "{} packets received"),
    ("InErrors", Always, "{} packet receive errors"),
    ("NoPorts", Always, "{} packets to unknown port received"),
    ("OutDatagrams", Always, "{} packets sent"),
    ("RcvbufErrors", Always, "{} receive buffer errors"),
    ("SndbufErrors", Always, "{} send buffer errors"),
];

const TCP_EXT: &[Sentence] = &[
    ("DelayedACKLocked", NonZero, "{} delayed acks further delayed because of locked socket"),
    ("DelayedACKLost", NonZero, "Quick ack mode was activated {} times"),
    ("DelayedACKs", NonZero, "{} delayed acks sent"),
    ("EmbryonicRsts", NonZero, "{} resets received for embryonic SYN_RECV sockets"),
    ("ListenDrops", NonZero, "{} SYNs to LISTEN sockets dropped"),
    ("ListenOverflows", NonZero, "{} times the listen queue of a socket overflowed"),
    ("LockDroppedIcmps", NonZero, "{} ICMP packets dropped because socket was locked"),
    (
        "OfoPruned",
        NonZero,
        "{} packets dropped from out-of-order queue because of socket buffer overrun",
    ),
    ("OutOfWindowIcmps", NonZero, "{} ICMP packets dropped because they were out-of-window"),
    ("PAWSActive", NonZero, "{} active connections rejected because of time stamp"),
    ("PAWSEstab", NonZero, "{} packets rejected in established connections because of timestamp"),
    ("PAWSPassive", NonZero, "{} passive connections rejected because of time stamp"),
    (
        "PruneCalled",
        NonZero,
        "{} packets pruned from receive queue because of socket buffer overrun",
    ),
    ("RcvPruned", NonZero, "{} packets pruned from receive queue"),
    ("SockMallocOOM", NonZero, "Ran {} times out of system memory during packet sending"),
    ("SyncookiesFailed", NonZero, "{} invalid SYN cookies received"),
    ("SyncookiesRecv", NonZero, "{} SYN cookies received"),
    ("SyncookiesSent", NonZero, "{} SYN cookies sent"),
    ("TCPAbortFailed", NonZero, "{} times unable to send RST due to no memory"),
    ("TCPAbortOnClose", NonZero, "{} connections reset due to early user close"),
    ("TCPAbortOnData", NonZero, "{} connections reset due to unexpected data"),
    ("TCPAbortOnLinger", NonZero, "{} connections aborted after user close in linger timeout"),
    ("TCPAbortOnMemory", NonZero, "{} connections aborted due to memory pressure"),
    ("TCPAbortOnSyn", NonZero, "{} connections reset due to unexpected SYN"),
    ("TCPAbortOnTimeout", NonZero, "{} connections aborted due to timeout"),
    ("TCPDirectCopyFromBacklog", NonZero, "{} bytes directly in process context from backlog"),
    ("TCPFACKReorder", NonZero, "Detected reordering {} times using FACK"),
    ("TCPFastRetrans", NonZero, "{} fast retransmits"),
    ("TCPForwardRetrans", NonZero, "{} forward retransmits"),
    ("TCPFullUndo", NonZero, "{} congestion windows fully recovered without slow start"),
    ("TCPHPAcks", NonZero, "{} predicted acknowledgments"),
    ("TCPHPHits", Always, "{} packet headers predicted"),
    ("TCPHPHitsToUser", NonZero, "{} packet headers predicted and directly queued to user"),
    ("TCPLossFailures", NonZero, "{} timeouts in loss state"),
    (
        "TCPLossUndo",
        NonZero,
        "{} congestion windows recovered without slow start after partial ack",
    ),
    ("TCPLostRetransmits", NonZero, "{} retransmits lost"),
    ("TCPMemoryPressures", NonZero, "TCP ran low on memory {} times"),
    ("TCPPartialUndo", NonZero, "{} congestion windows partially recovered using Hoe heuristic"),
    ("TCPPrequeued", NonZero, "{} packets directly queued to recvmsg prequeue"),
    ("TCPPureAcks", NonZero, "{} acknowledgments not containing data payload received"),
    ("TCPRcvCollapsed", NonZero, "{} packets collapsed in receive queue due to low socket buffer"),
    ("TCPRenoFailures", NonZero, "{} timeouts after reno fast retransmit"),
    ("TCPRenoRecovery", NonZero, "{} times recovered from packet loss due to fast retransmit"),
    ("TCPRenoReorder", NonZero, "Detected reordering {} times using reno fast retransmit"),
    ("TCPSACKReorder", NonZero, "Detected reordering {} times using SACK"),
    ("TCPSchedulerFailed", NonZero, "{} times receiver scheduled too late for direct processing"),
    ("TCPSlowStartRetrans", NonZero, "{} retransmits in slow start"),
    ("TCPTSReorder", NonZero, "Detected reordering {} times using time stamp"),
    ("TW", NonZero, "{} TCP sockets finished time wait in fast timer"),
    ("TWRecycled", NonZero, "{} time wait sockets recycled by time stamp"),
];

const IP6: &[Sentence] = &[
    ("FragCreates", NonZero, "{} fragments created"),
    ("FragFails", NonZero, "{} outgoing packets failed fragmentation"),
    ("FragOKs", NonZero, "{} outgoing packets fragmented ok"),
    ("InAddrErrors", NonZero, "{} with invalid addresses"),
    ("InDelivers", Always, "{} incoming packets delivered"),
    ("InDiscards", Always, "{} incoming packets discarded"),
    ("InHdrErrors", NonZero, "{} with invalid headers"),
    ("InMcastPkts", NonZero, "{} incoming multicast packets"),
    ("InNoRoutes", NonZero, "{} incoming packets with no route"),
    ("InReceives", Always, "{} total packets received"),
    ("InTooBigErrors", NonZero, "{} with packets too big"),
    ("InTruncatedPkts", NonZero, "{} with truncated packets"),
    ("InUnknownProtos", NonZero, "{} with unknown protocol"),
    ("OutDiscards", NonZero, "{} outgoing packets dropped"),
    ("OutForwDatagrams", Always, "{} forwarded"),
    ("OutMcastPkts", NonZero, "{} outgoing multicast packets"),
    ("OutNoRoutes", NonZero, "{} dropped because of missing route"),
    ("OutRequests", Always, "{} requests sent out"),
    ("ReasmFails", NonZero, "{} packet reassemblies failed"),
    ("ReasmOKs", NonZero, "{} packets reassembled ok"),
    ("ReasmReqds", NonZero, "{} reassemblies required"),
    ("ReasmTimeout", NonZero, "{} fragments dropped after timeout"),
];

const ICMP6: &[Sentence] = &[
    ("InDestUnreachs", Input, "destination unreachable: {}"),
    ("InEchoReplies", Input, "echo replies: {}"),
    ("InEchos", Input, "echo requests: {}"),
    ("InErrors", Always, "{} input ICMP message failed"),
    ("InGroupMembQueries", Input, "group member queries: {}"),
    ("InGroupMembReductions", Input, "group member reductions: {}"),
    ("InGroupMembResponses", Input, "group member responses: {}"),
    ("InMsgs", Always, "{} ICMP messages received"),
    ("InNeighborAdvertisements", Input, "neighbour advertisement: {}"),
    ("InNeighborSolicits", Input, "neighbour solicits: {}"),
    ("InParmProblems", Input, "parameter problem: {}"),
    ("InPktTooBigs", Input, "packets too big: {}"),
    ("InRedirects", Input, "redirects: {}"),
    ("InRouterAdvertisements", Input, "router advertisement: {}"),
    ("InRouterSolicits", Input, "router solicits: {}"),
    ("InTimeExcds", Input, "received ICMPv6 time exceeded: {}"),
    ("OutDestUnreachs", Output, "destination unreachable: {}"),
    ("OutEchoReplies", Output, "echo replies: {}"),
    ("OutEchos", Output, "echo requests: {}"),
    ("OutGroupMembQueries", Output, "group member queries: {}"),
    ("OutGroupMembReductions", Output, "group member reductions: {}"),
    ("OutGroupMembResponses", Output, "group member responses: {}"),
    ("OutMsgs", Always, "{} ICMP messages sent"),
    ("OutNeighborAdvertisements", Output, "neighbor advertisements: {}"),
    ("OutNeighborSolicits", Output, "neighbor solicits: {}"),
    ("OutParmProblems", Output, "parameter problem: {}"),
    ("OutPktTooBigs", Output, "packets too big: {}"),
    ("OutRedirects", Output, "redirects: {}"),
    ("OutRouterSolicits", Output, "router solicits: {}"),
    ("OutTimeExcds", Output, "sent ICMPv6 time exceeded: {}"),
];

const UDP6: &[Sentence] = &[
    ("InDatagrams", Always, "{} packets received"),
    ("InErrors", Always, "{} packet receive errors"),
    ("NoPorts", Always, "{} packets to unknown port received"),
    ("OutDatagrams", Always, "{} packets sent"),
];

const SCTP: &[Sentence] = &[
    ("Aborteds", Always, "{} Number of Aborteds "),
    ("ActiveEstabs", Always, "{} Active Associations"),
    ("ChecksumErrors", Always, "{} Number of Packets with invalid Checksum"),
    ("CurrEstab", Always, "{} Current Associations"),
    ("FragUsrMsgs", Always, "{} Number of messages fragmented"),
    ("InCtrlChunks", Always, "{} Number of control chunks received"),
    ("InOrderChunks", Always, "{} Number of ordered chunks received"),
    ("InSCTPPacks", Always, "{} Number of SCTP packets received"),
    ("InUnorderChunks", Always, "{} Number of Unordered chunks received"),
    ("OutCtrlChunks", Always, "{} Number of control chunks sent"),
    ("OutOfBlues", Always, "{} Number of Out of Blue packets"),
    ("OutOrderChunks", Always, "{} Number of ordered chunks sent"),
    ("OutSCTPPacks", Always, "{} Number of SCTP packets sent"),
    ("OutUnorderChunks", Always, "{} Number of Unordered chunks sent"),
    ("PassiveEstabs", Always, "{} Passive Associations"),
    ("ReasmUsrMsgs", Always, "{} Number of messages reassembled "),
    ("Shutdowns", Always, "{} Number of Graceful Terminations"),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::language::LANGUAGES;

    #[test]
    fn every_language_has_every_sentence() {
        let tables = [IP, ICMP, TCP, UDP, TCP_EXT, IP6, ICMP6, UDP6, SCTP];
        let sentences = tables.concat().into_iter().filter(|(_, form, _)| *form != Hidden);
        let sentences: Vec<_> =
            sentences.map(|(.., sentence)| sentence).chain([INPUT, OUTPUT]).collect();
        let places = |sentence: &str| sentence.matches("{}").count();
        for language in &LANGUAGES[1..] {
            for sentence in &sentences {
                let translated = (language.tables.counter)(sentence);
                assert_ne!(translated, *sentence, "{language:?}");
                assert_eq!(places(translated), places(sentence), "{language:?}: {translated}");
            }
        }
    }
}
