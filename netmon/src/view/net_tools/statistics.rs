//! The counters of protocols, each with a sentence.

use std::io::Write;

use super::sentences::{Form, INPUT, OUTPUT, sentence};
use crate::{
    core::{escape::Escaped, network::ProtocolCounters},
    view::language::TableWords,
};

/// The protocols whose counters are shown. Counters of other protocols always are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ChosenProtocols {
    /// IP and ICMP.
    pub(crate) raw: bool,
    pub(crate) tcp: bool,
    pub(crate) udp: bool,
    pub(crate) sctp: bool,
}

impl ChosenProtocols {
    /// Returns whether a protocol is shown; nothing for a protocol that no flag chooses.
    fn shows(self, protocol: &str) -> Option<bool> {
        match protocol {
            "Ip" | "Icmp" | "Ip6" | "Icmp6" => Some(self.raw),
            "Tcp" | "TcpExt" => Some(self.tcp),
            "Udp" | "Udp6" => Some(self.udp),
            "Sctp" => Some(self.sctp),
            _ => None,
        }
    }
}

/// Writes the counters of each chosen protocol.
///
/// Below the list of messages of ICMP, netstat goes on with the margin of that list, until a line
/// with a sentence or a protocol that netstat knows.
pub(crate) fn put_statistics(
    out: &mut Vec<u8>,
    all: &[ProtocolCounters],
    chosen: ChosenProtocols,
    words: &TableWords,
) {
    let mut last = Form::Always;
    for ProtocolCounters { protocol, counters } in all {
        let shows = chosen.shows(protocol);
        if shows.is_some() {
            last = Form::Always;
        }
        if shows == Some(false) {
            continue;
        }
        // Writing to a vector does not fail, here and below.
        let _ = writeln!(out, "{}:", Escaped(protocol.as_bytes()));
        for (name, value) in counters {
            let sentence = sentence(protocol, name);
            put_counter(out, sentence, (name, *value), &mut last, words.counter);
        }
    }
}

fn put_counter(
    out: &mut Vec<u8>,
    sentence: Option<(Form, &'static str)>,
    (name, value): (&str, u64),
    last: &mut Form,
    translate: fn(&'static str) -> &'static str,
) {
    let margin = |form: Form| if matches!(form, Form::Input | Form::Output) { 8 } else { 4 };
    let width = margin(*last);
    let (form, sentence) = match sentence {
        None if value == 0 => return,
        None => {
            let name = Escaped(name.as_bytes());
            let _ = writeln!(out, "{:width$}{name}: {value}", "");
            return;
        }
        Some((Form::Hidden, _)) => return,
        Some(known) => known,
    };
    let title = match form {
        Form::Input => Some(INPUT),
        Form::Output => Some(OUTPUT),
        _ => None,
    };
    if let Some(title) = title.filter(|_| *last != form) {
        let _ = writeln!(out, "{:width$}{}", "", translate(title));
    }
    if value > 0 || form == Form::Always {
        let width = margin(form);
        let text = translate(sentence).replace("{}", &value.to_string());
        let _ = writeln!(out, "{:width$}{text}", "");
    }
    *last = form;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::language::ENGLISH;

    fn shown(all: &[(&str, &[(&str, u64)])], chosen: ChosenProtocols) -> String {
        let all: Vec<_> = all
            .iter()
            .map(|(protocol, counters)| ProtocolCounters {
                protocol: (*protocol).to_owned(),
                counters: counters.iter().map(|(name, n)| ((*name).to_owned(), *n)).collect(),
            })
            .collect();
        let mut out = Vec::new();
        put_statistics(&mut out, &all, chosen, &ENGLISH.tables);
        String::from_utf8(out).expect("UTF-8")
    }

    const ALL: ChosenProtocols = ChosenProtocols { raw: true, tcp: true, udp: true, sctp: true };

    #[test]
    fn counters_have_sentences_or_their_names() {
        let text = shown(
            &[
                ("Ip", &[("DefaultTTL", 64), ("Forwarding", 2), ("InReceives", 0)]),
                ("Icmp", &[("InMsgs", 1), ("InDestUnreachs", 1), ("InEchos", 0), ("OutEchos", 2)]),
                ("IcmpMsg", &[("InType3", 1), ("OutType8", 0)]),
                ("Tcp", &[("ActiveOpens", 7), ("MaxConn", u64::MAX)]),
                ("\u{1b}[2J", &[("\u{1b}", 1)]),
            ],
            ALL,
        );
        let expected = "Ip:\n    Forwarding: 2\n    0 total packets received\nIcmp:\n    \
            1 ICMP messages received\n    ICMP input histogram:\n        \
            destination unreachable: 1\n        ICMP output histogram:\n        \
            echo requests: 2\nIcmpMsg:\n        InType3: 1\nTcp:\n    \
            7 active connection openings\n\\u{1b}[2J:\n    \\u{1b}: 1\n";
        assert_eq!(text, expected);
    }

    #[test]
    fn protocols_that_no_flag_chooses_are_always_shown() {
        let all: &[(&str, &[(&str, u64)])] =
            &[("Tcp", &[("InSegs", 1)]), ("UdpLite", &[("InDatagrams", 0)]), ("Udp", &[])];
        let chosen = ChosenProtocols { tcp: false, ..ALL };
        assert_eq!(shown(all, chosen), "UdpLite:\nUdp:\n");
    }
}
