//! Listings in the language of the locale, on a scene with every state.

use std::process::{Command, Output};

use netmon::testing::{PT_BR, TcpState};
use serde_json::Value;

use crate::{
    kernel::{
        every_state::HeldSockets,
        netns::{Netns, sh},
    },
    schema::object,
};

fn snapshot(args: &[&str], variables: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_netmon"));
    for variable in ["LC_ALL", "LC_MESSAGES", "LC_CTYPE", "LANG"] {
        command.env_remove(variable);
    }
    command.arg("snapshot").args(args).args(["--netns", "self"]).envs(variables.iter().copied());
    let output = command.output().expect("netmon");
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    output
}

fn text(args: &[&str], locale: &str) -> String {
    String::from_utf8(snapshot(args, &[("LANG", locale)]).stdout).expect("UTF-8")
}

/// Returns the rows in order, as words: the place of a state is known by its column.
fn rows(text: &str, state: usize) -> Vec<(String, Vec<String>)> {
    let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let rows = text.lines().filter(|line| line.starts_with("tcp")).map(words);
    let mut rows: Vec<_> = rows.map(|mut row| (row.remove(state), row)).collect();
    rows.sort_by(|(_, one), (_, other)| one.cmp(other));
    rows
}

#[test]
fn headings_and_states_have_the_language_of_the_locale() {
    Netns::new().run(|| {
        let _sockets = HeldSockets::open();
        let (english, portuguese) = (text(&["-at"], "C.UTF-8"), text(&["-at"], "pt_BR.UTF-8"));
        let mut lines = portuguese.lines();
        let title = "Conex\u{f5}es Internet Ativas (servidores e estabelecidas)";
        assert_eq!(lines.next(), Some(title));
        let heading = lines.next().expect("headings");
        assert!(heading.starts_with("Proto Recv-Q Send-Q Endere\u{e7}o Local "), "{heading}");
        let names: Vec<_> = heading.split("  ").map(str::trim).filter(|n| !n.is_empty()).collect();
        assert_eq!(names[1..], ["Endere\u{e7}o Remoto", "Estado"], "{heading}");
        // The same rows, and the words of the states.
        let (english, portuguese) = (rows(&english, 5), rows(&portuguese, 5));
        assert!(english.len() > 15, "{english:#?}");
        assert_eq!(english.len(), portuguese.len());
        let mut seen = Vec::new();
        for ((english, row), (portuguese, same)) in english.iter().zip(&portuguese) {
            assert_eq!(row, same);
            let state = TcpState::ALL.into_iter().find(|state| state.name() == english);
            let state = state.expect("a state");
            assert_eq!((PT_BR.state)(state), portuguese);
            seen.push(state);
        }
        for state in TcpState::ALL {
            let is_listed = !matches!(state, TcpState::NewSynRecv | TcpState::Close);
            assert!(!is_listed || seen.contains(&state), "{state}");
        }
        netstat_has_the_language_too();
        columns_are_as_wide_as_characters();
        charsets();
        filters_and_json_have_no_language();
    });
}

fn netstat_has_the_language_too() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_netmon"));
    command.args(["netstat", "-atn"]).env("LC_ALL", "pt_BR.UTF-8");
    let output = command.output().expect("netmon");
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    let lines: Vec<_> = text.lines().take(2).map(str::trim_end).collect();
    let headings =
        "Proto Recv-Q Send-Q Endere\u{e7}o Local          Endere\u{e7}o Remoto         Estado";
    assert_eq!(lines, ["Conex\u{f5}es Internet Ativas (servidores e estabelecidas)", headings]);
    for state in ["OU\u{c7}A", "ESTABELECIDA", "ESPERA_FIN2", "TIME_WAIT"] {
        assert!(text.lines().any(|line| line.trim_end().ends_with(state)), "{state}: {text}");
    }
}

/// Runs netstat in a locale. Returns its lines.
fn netstat(flags: &str, locale: &str) -> Vec<String> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_netmon"));
    let output = command.args(["netstat", flags]).env("LC_ALL", locale).output().expect("netmon");
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    text.lines().map(str::to_owned).collect()
}

/// The other tables have the same numbers in the same lines, under words of the language.
#[test]
fn tables_of_netstat_have_the_language_of_the_locale() {
    Netns::new().run(|| {
        // Devices without an address of IPv6 send nothing by themselves.
        sh("ip link add veth0 type veth peer name veth1
            ip link set veth0 addrgenmode none && ip link set veth1 addrgenmode none
            ip addr add 192.0.2.1/24 dev veth0
            ip link set veth0 up && ip link set veth1 up
            ip route add 198.51.100.0/24 via 192.0.2.9");
        std::net::TcpStream::connect("127.0.0.1:1").expect_err("refused");
        let numbers = |line: &String| {
            let words = line.split_whitespace();
            words.filter(|word| word.parse::<u64>().is_ok()).map(str::to_owned).collect::<Vec<_>>()
        };
        for (flags, first, second) in [
            ("-rn", "Tabela de Roteamento IP do Kernel", "Destino         Roteador        M"),
            ("-rne", "Tabela de Roteamento IP do Kernel", "Destino         Roteador        M"),
            ("-rnee", "Tabela de Roteamento IP do Kernel", "Destino         Roteador        M"),
            ("-rn6", "Tabela de Roteamento IPv6 do Kernel", "Destino                        Pr"),
            ("-rnC", "Cache de Roteamento IP do Kernel", "Origem          Destino         Rot"),
            ("-ia", "Tabela de Interfaces do Kernel", "Iface             MTU    RX-OK"),
            ("-gn", "Participa\u{e7}\u{e3}o em Grupos IPv6/IPv4", "Interface       CntRef Grupo"),
            ("-s", "Ip:", "    Forwarding: "),
            ("-s6", "Ip6:", "    "),
        ] {
            let (english, portuguese) = (netstat(flags, "C"), netstat(flags, "pt_BR.UTF-8"));
            assert_eq!(portuguese[0], first, "{flags}");
            assert!(portuguese[1].starts_with(second), "{flags}: {}", portuguese[1]);
            assert_eq!(english.len(), portuguese.len(), "{flags}");
            for (english, portuguese) in english.iter().zip(&portuguese) {
                assert_eq!(numbers(english), numbers(portuguese), "{flags}");
            }
        }
        let text = netstat("-s", "pt_BR.UTF-8").join("\n");
        assert!(text.contains("\n    1 aberturas ativas de conex\u{e3}o\n"), "{text}");
        assert!(text.contains("\n    1 resets enviados"), "{text}");
    });
}

/// States begin in one column, though some letters before take two bytes.
fn columns_are_as_wide_as_characters() {
    let text = text(&["-ate"], "pt_BR.UTF-8");
    let lines: Vec<Vec<char>> = text.lines().skip(1).map(|line| line.chars().collect()).collect();
    let heading: String = lines[0].iter().collect();
    for name in ["Estado", "Usu\u{e1}rio", "Inode"] {
        let byte = heading.find(name).unwrap_or_else(|| panic!("{heading}"));
        let column = heading[..byte].chars().count();
        for line in &lines[1..] {
            assert!(line[column - 1] == ' ' && line[column] != ' ', "{name}: {text}");
        }
    }
}

fn charsets() {
    let latin1 = snapshot(&["-at"], &[("LANG", "pt_BR.ISO-8859-1")]).stdout;
    assert!(latin1.starts_with(b"Conex\xf5es Internet Ativas "));
    let has = |bytes: &[u8], word: &[u8]| bytes.windows(word.len()).any(|window| window == word);
    assert!(has(&latin1, b" OU\xc7A\n") && has(&latin1, b" \xdaLTIMO_ACK\n"));
    let ascii = snapshot(&["-at"], &[("LC_ALL", ""), ("LC_MESSAGES", "pt_BR")]).stdout;
    assert!(ascii.is_ascii() && has(&ascii, b" OUCA\n") && has(&ascii, b" ULTIMO_ACK\n"));
    // The first variable counts.
    let english = snapshot(&["-at"], &[("LC_ALL", "C"), ("LANG", "pt_BR.UTF-8")]).stdout;
    assert!(english.starts_with(b"Active Internet connections "));
}

fn filters_and_json_have_no_language() {
    let listening = text(&["-t", "state", "listen"], "pt_BR.UTF-8");
    let listening = rows(&listening, 5);
    assert!(!listening.is_empty() && listening.iter().all(|(state, _)| state == "OU\u{c7}A"));
    let json = |locale| {
        let text = text(&["-at", "--json"], locale);
        let mut states: Vec<_> =
            text.lines().map(object).map(|row: Value| row["state"].clone().to_string()).collect();
        states.sort();
        states
    };
    assert_eq!(json("pt_BR.ISO-8859-1"), json("C"));
}
