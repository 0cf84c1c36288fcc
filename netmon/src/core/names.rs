//! Names of the known ports, from the services database.

use std::{collections::HashMap, fs, path::Path};

/// Names of TCP services by port.
#[derive(Clone, Debug, Default)]
pub struct Services {
    tcp: HashMap<u16, Box<str>>,
}

impl Services {
    /// Reads the database, `/etc/services`; a host without one has no names, which is no error.
    #[must_use]
    pub fn load() -> Self {
        fs::read(Path::new("/etc/services")).map(|text| Self::parse(&text)).unwrap_or_default()
    }

    /// Parses the format of services(5): `name port/protocol [alias …] [# comment]`.
    ///
    /// The first line that names a port counts, as with `getservbyport`; others are passed over.
    #[must_use]
    pub fn parse(text: &[u8]) -> Self {
        let mut tcp = HashMap::new();
        for line in String::from_utf8_lossy(text).lines() {
            let mut words = line.split('#').next().unwrap_or("").split_whitespace();
            let (Some(name), Some(port)) = (words.next(), words.next()) else { continue };
            let Some((port, "tcp")) = port.split_once('/') else { continue };
            if let Ok(port) = port.parse() {
                tcp.entry(port).or_insert_with(|| name.into());
            }
        }
        Self { tcp }
    }

    /// The name of TCP port `port`.
    #[must_use]
    pub fn tcp(&self, port: u16) -> Option<&str> {
        self.tcp.get(&port).map(AsRef::as_ref)
    }
}

#[cfg(test)]
mod tests {
    use super::Services;

    #[test]
    fn reads_the_services_format() {
        let text = b"# comment\n\nhttp\t80/tcp\twww # WorldWideWeb\nhttp-alt 80/tcp\n\
            domain 53/udp\nbad\nworse x/tcp\nhuge 70000/tcp\n";
        let services = Services::parse(text);
        assert_eq!(services.tcp(80), Some("http"));
        assert_eq!(services.tcp(53), None);
        assert_eq!(services.tcp.len(), 1);
    }
}
