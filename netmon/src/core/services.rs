//! The names of ports, from the services database.
//!
//! Owns the format of services(5). The database is a file of the host: netmon shows its contents,
//! but never relies on them.

use std::fs;

use rustc_hash::FxHashMap;

use super::socket::Protocol;

/// The path of the database.
const PATH: &str = "/etc/services";

/// One line of the database. Escape its texts before showing them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// The official name.
    pub name: String,
    /// The port on which the service listens.
    pub port: u16,
    /// The protocol: tcp, udp, sctp and so on.
    pub protocol: String,
    /// The other names.
    pub aliases: Vec<String>,
    /// The text after the `#`.
    pub comment: Option<String>,
}

impl Service {
    /// Parses `name port/protocol [alias …] [# comment]`.
    fn parse(line: &str) -> Option<Self> {
        let (line, comment) = line.split_once('#').unwrap_or((line, ""));
        let mut words = line.split_whitespace().map(String::from);
        let name = words.next()?;
        let place = words.next()?;
        let (port, protocol) =
            place.split_once('/').filter(|(_, protocol)| !protocol.is_empty())?;
        let comment = Some(comment.trim()).filter(|comment| !comment.is_empty());
        Some(Self {
            name,
            port: number(port)?,
            protocol: protocol.into(),
            aliases: words.collect(),
            comment: comment.map(String::from),
        })
    }

    /// Returns the official name and the other names.
    fn names(&self) -> impl Iterator<Item = &str> {
        std::iter::once(&self.name).chain(&self.aliases).map(String::as_str)
    }
}

/// Returns the first words of the lines of a database in `/etc`, without comments. Passes over
/// lines with fewer words.
pub(super) fn lines_of<const N: usize>(text: &[u8]) -> Vec<[String; N]> {
    let text = String::from_utf8_lossy(text);
    let words = |line: &str| {
        let line = line.split('#').next().unwrap_or_default();
        line.split_whitespace().take(N).map(String::from).collect::<Vec<_>>().try_into().ok()
    };
    text.lines().filter_map(words).collect()
}

/// The services of a host.
#[derive(Clone, Debug, Default)]
pub struct Services {
    /// All services, in the order of the database, where the first match counts.
    all: Vec<Service>,
    /// Places in `all`, by the ports that a socket may have.
    by_port: FxHashMap<(Protocol, u16), usize>,
}

impl Services {
    /// Returns the reason why no port of this host has a name, if the database is missing.
    #[must_use]
    pub fn missing() -> Option<&'static str> {
        let is_there = fs::exists(PATH).unwrap_or(true);
        (!is_there).then_some(
            "this host has no /etc/services with the names of ports (on Debian, the package \
             netbase has it)",
        )
    }

    /// Reads the database, `/etc/services`. A host without one has no names, which is no error.
    #[must_use]
    pub fn load() -> Self {
        fs::read(PATH).map(|text| Self::parse(&text)).unwrap_or_default()
    }

    /// Parses the format of services(5), and skips other lines.
    #[must_use]
    pub fn parse(text: &[u8]) -> Self {
        let all: Vec<_> =
            String::from_utf8_lossy(text).lines().filter_map(Service::parse).collect();
        let mut by_port = FxHashMap::default();
        for (place, service) in all.iter().enumerate() {
            let mut protocols = [Protocol::Tcp, Protocol::Udp].into_iter();
            if let Some(protocol) = protocols.find(|protocol| protocol.name() == service.protocol) {
                by_port.entry((protocol, service.port)).or_insert(place);
            }
        }
        Self { all, by_port }
    }

    /// Returns the name of a port from the first line with that port, as `getservbyport` does.
    #[must_use]
    pub fn name(&self, protocol: Protocol, port: u16) -> Option<&str> {
        self.by_port.get(&(protocol, port)).map(|place| self.all[*place].name.as_str())
    }

    /// Returns the port of the service with exactly that name or alias, as `getservbyname` does. A
    /// TCP service comes before one of another protocol.
    #[must_use]
    pub fn port(&self, name: &str) -> Option<u16> {
        self.all
            .iter()
            .filter(|service| service.names().any(|alias| alias == name))
            .min_by_key(|service| service.protocol != Protocol::Tcp.name())
            .map(|service| service.port)
    }

    /// Returns the services that `word` means, the likeliest first; all services without a word.
    ///
    /// A word is a port, `443` or `:443`, or a part of a name in any case; `/tcp` after it chooses
    /// a protocol. A service with exactly that name comes before names that begin so, and these
    /// before names that only contain the word. Then the lowest port comes first, and TCP before
    /// UDP before other protocols.
    #[must_use]
    pub fn search(&self, word: Option<&str>) -> Vec<&Service> {
        let wanted = word.map(Wanted::read);
        let rank = |service| wanted.as_ref().map_or(Some(0), |wanted| wanted.rank(service));
        let mut found: Vec<_> =
            self.all.iter().filter_map(|service| Some((rank(service)?, service))).collect();
        found.sort_by_key(|&(rank, service)| {
            let protocol = &*service.protocol;
            (rank, service.port, protocol != "tcp", protocol != "udp", protocol)
        });
        found.into_iter().map(|(_, service)| service).collect()
    }
}

/// A word of a search.
struct Wanted<'a> {
    text: &'a str,
    protocol: Option<&'a str>,
}

impl<'a> Wanted<'a> {
    fn read(word: &'a str) -> Self {
        let word = word.strip_prefix(':').unwrap_or(word);
        let (text, protocol) = match word.split_once('/') {
            Some((text, protocol)) => (text, Some(protocol)),
            None => (word, None),
        };
        Self { text, protocol }
    }

    /// Returns how well a service answers, 0 for best; nothing if it does not. A number is a port,
    /// even if no port can have that number.
    fn rank(&self, service: &Service) -> Option<u8> {
        let is_other = |protocol: &str| !protocol.eq_ignore_ascii_case(&service.protocol);
        if self.protocol.is_some_and(is_other) {
            return None;
        }
        if is_number(self.text) {
            return (number(self.text) == Some(service.port)).then_some(0);
        }
        let wanted = self.text.to_ascii_lowercase();
        let of_name = |name: &str| match name.to_ascii_lowercase() {
            name if name == wanted => Some(0),
            name if name.starts_with(&wanted) => Some(2),
            name if name.contains(&wanted) => Some(4),
            _ => None,
        };
        let of_alias = |alias: &String| of_name(alias).map(|rank| rank + 1);
        service.aliases.iter().filter_map(of_alias).chain(of_name(&service.name)).min()
    }
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Parses digits only: `u16::from_str` would accept a sign.
fn number(text: &str) -> Option<u16> {
    if is_number(text) { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TEXT: &[u8] = b"# comment\n\n\
        http\t80/tcp\twww web # WorldWideWeb\n\
        http-alt 80/tcp # second\n\
        http 80/udp\n\
        domain 53/udp #\n\
        domain 53/tcp nameserver\n\
        ntp 123/udp\n\
        m3ua 2905/sctp\n\
        HTTPS 443/tcp # http protocol over TLS/SSL # twice\n\
        bad\nworse x/tcp\nhuge 70000/tcp\nsigned +90/tcp\nnone 90\nempty 90/\n\
        # hidden 91/tcp\n\
        late 2000/udp\nlate 1000/tcp\nlate 1001/tcp\n\
        bytes\xff 92/tcp";

    fn names(word: Option<&str>) -> Vec<String> {
        let show =
            |service: &Service| format!("{}:{}/{}", service.name, service.port, service.protocol);
        Services::parse(TEXT).search(word).into_iter().map(show).collect()
    }

    #[test]
    fn reads_the_services_format() {
        let services = Services::parse(TEXT);
        assert_eq!(services.all.len(), 12);
        let expected = Service {
            name: "http".into(),
            port: 80,
            protocol: "tcp".into(),
            aliases: vec!["www".into(), "web".into()],
            comment: Some("WorldWideWeb".into()),
        };
        assert_eq!(services.all[0], expected);
        assert_eq!(services.all[3].comment, None);
        let twice = "http protocol over TLS/SSL # twice";
        assert_eq!(services.all[7].comment.as_deref(), Some(twice));
    }

    #[test]
    fn the_first_line_names_a_port() {
        let services = Services::parse(TEXT);
        assert_eq!(services.name(Protocol::Tcp, 80), Some("http"));
        assert_eq!(services.name(Protocol::Udp, 123), Some("ntp"));
        assert_eq!(services.name(Protocol::Tcp, 123), None);
        assert_eq!(services.name(Protocol::Tcp, 2905), None);
        assert_eq!(services.name(Protocol::Raw, 80), None);
        assert_eq!(services.name(Protocol::Tcp, 92), Some("bytes\u{fffd}"));
        assert_eq!(Services::default().name(Protocol::Tcp, 80), None);
    }

    #[test]
    fn a_name_has_a_port() {
        let services = Services::parse(TEXT);
        assert_eq!(services.port("http"), Some(80));
        assert_eq!(services.port("www"), Some(80));
        assert_eq!(services.port("WWW"), None);
        assert_eq!(services.port("htt"), None);
        assert_eq!(services.port("m3ua"), Some(2905));
        assert_eq!(services.port("late"), Some(1000), "TCP's first");
        assert_eq!(services.port("bad"), None);
    }

    #[test]
    fn search_finds_ports_in_each_form() {
        for port in ["80", ":80", "000080"] {
            assert_eq!(names(Some(port)), ["http:80/tcp", "http-alt:80/tcp", "http:80/udp"]);
        }
        assert_eq!(names(Some("80/udp")), ["http:80/udp"]);
        assert_eq!(names(Some(":53/TCP")), ["domain:53/tcp"]);
        for nothing in ["70000", "80/sctp", "80/"] {
            assert_eq!(names(Some(nothing)), [""; 0], "{nothing}");
        }
    }

    #[test]
    fn search_finds_the_name_first_and_then_names_that_have_it() {
        let http = ["http:80/tcp", "http:80/udp", "http-alt:80/tcp", "HTTPS:443/tcp"];
        assert_eq!(names(Some("HTTP")), http);
        assert_eq!(names(Some("http/tcp")), ["http:80/tcp", "http-alt:80/tcp", "HTTPS:443/tcp"]);
        assert_eq!(names(Some("https")), ["HTTPS:443/tcp"]);
        assert_eq!(names(Some("name")), ["domain:53/tcp"], "an alias begins so");
        assert_eq!(names(Some("main")), ["domain:53/tcp", "domain:53/udp"]);
        assert_eq!(names(Some("nothing")), [""; 0]);
    }

    #[test]
    fn no_word_finds_all_in_order() {
        let all = names(None);
        assert_eq!(all.len(), 12);
        assert_eq!(all[..2], ["domain:53/tcp", "domain:53/udp"]);
        assert_eq!(all[11], "m3ua:2905/sctp");
    }

    proptest! {
        #[test]
        fn any_bytes_are_read(text: Vec<u8>, word: String) {
            let services = Services::parse(&text);
            for service in services.search(Some(&word)) {
                prop_assert!(services.port(&service.name).is_some());
            }
        }
    }
}
