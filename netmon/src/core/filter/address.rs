//! The values of a filter that belong to the network: ports, addresses and prefixes.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

use super::{super::escape::Escaped, FilterNames, error::Bad, words::Word};

/// The addresses that begin with the same bits.
///
/// A v4-mapped IPv6 address counts as the IPv4 address. Bits beyond the prefix are 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Net {
    address: IpAddr,
    prefix: u8,
}

impl Net {
    /// Returns none if `prefix` is longer than the address.
    pub(super) fn new(address: IpAddr, prefix: u8) -> Option<Self> {
        let (address, prefix) = match (address, address.to_canonical()) {
            (IpAddr::V6(_), IpAddr::V4(mapped)) if (96..=128).contains(&prefix) => {
                (IpAddr::V4(mapped), prefix - 96)
            }
            _ => (address, prefix),
        };
        let address = match address {
            IpAddr::V4(v4) if prefix <= 32 => {
                IpAddr::V4(Ipv4Addr::from_bits(v4.to_bits() & mask_v4(prefix)))
            }
            IpAddr::V6(v6) if prefix <= 128 => {
                IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & mask_v6(prefix)))
            }
            _ => return None,
        };
        Some(Self { address, prefix })
    }

    pub(super) fn contains(self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(net), IpAddr::V4(v4)) => {
                v4.to_bits() & mask_v4(self.prefix) == net.to_bits()
            }
            (IpAddr::V6(net), IpAddr::V6(v6)) => {
                v6.to_bits() & mask_v6(self.prefix) == net.to_bits()
            }
            _ => false,
        }
    }

    /// Returns the address, if the net has a single one.
    pub(super) fn only(self) -> Option<IpAddr> {
        (self.prefix == longest(self.address)).then_some(self.address)
    }
}

impl fmt::Display for Net {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.address {
            IpAddr::V4(v4) => write!(f, "{v4}")?,
            IpAddr::V6(v6) => write!(f, "[{v6}]")?,
        }
        if self.prefix == longest(self.address) { Ok(()) } else { write!(f, "/{}", self.prefix) }
    }
}

/// Returns a mask of the first `prefix` bits. With `<<` alone, a prefix of 0 would overflow.
fn mask_v4(prefix: u8) -> u32 {
    u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0)
}

fn mask_v6(prefix: u8) -> u128 {
    u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0)
}

const fn longest(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    }
}

/// Reads `ADDRESS[/PREFIX][:PORT]` or `HOST[:PORT]`. Returns no net for any address: for `*`, and
/// for nothing before `:PORT`. The name of a host stands for all of its addresses.
pub(super) fn endpoint(
    text: &str,
    names: &dyn FilterNames,
) -> Result<(Vec<Net>, Option<u16>), Bad> {
    const FORMS: &str = "10.0.0.1, 10.0.0.0/8, [2001:db8::]/32, [::1]:443, :443 or localhost";
    let bad = || Bad::new(format!("bad address '{}'", Escaped(text.as_bytes())), FORMS);
    let (host, rest) = split_host(text).ok_or_else(bad)?;
    let (prefix, port) = match rest.strip_prefix('/') {
        Some(rest) => match rest.split_once(':') {
            Some((prefix, port)) => (Some(prefix), Some(port)),
            None => (Some(rest), None),
        },
        None if rest.is_empty() => (None, None),
        None => (None, Some(rest.strip_prefix(':').ok_or_else(bad)?)),
    };
    let nets = match (host, prefix, host.parse::<IpAddr>()) {
        ("*", None, _) => Vec::new(),
        ("", None, _) if port.is_some() => Vec::new(),
        (_, _, Ok(address)) => {
            let longest = longest(address);
            let length = prefix.map_or(Some(longest), number);
            let net = length.and_then(|length| Net::new(address, length));
            vec![net.ok_or_else(|| {
                let prefix = Escaped(prefix.unwrap_or_default().as_bytes());
                let message = format!("bad prefix length '{prefix}' of {address}");
                Bad::new(message, format!("0 to {longest}"))
            })?]
        }
        (host, None, Err(_)) if is_host_name(host) => {
            let addresses = names.host(host).map_err(|reason| {
                let message = format!("no address of host '{host}': {reason}");
                Bad::new(message, "an address, or a name that this host can resolve")
            })?;
            addresses.into_iter().filter_map(|one| Net::new(one, longest(one))).collect()
        }
        _ => return Err(bad()),
    };
    let port = match port {
        None | Some("*") => None,
        Some(text) => Some(self::port(text, names)?),
    };
    Ok((nets, port))
}

/// Returns whether `text` may be the name of a host: letters, digits, `-`, `_` and dots, and a last
/// label that is no number (RFC 3696, section 2). A word of the language is no host, since
/// `dst port 443` means something else.
fn is_host_name(text: &str) -> bool {
    let is_of_name = |c: char| c.is_alphanumeric() || "-_.".contains(c);
    let last = text.trim_end_matches('.').rsplit('.').next().unwrap_or_default();
    text.chars().all(is_of_name)
        && !last.is_empty()
        && !is_number(last)
        && Word::named(text).is_none()
}

/// Splits the address from its prefix and port. An IPv6 address can have a port only in brackets or
/// after a `/`: in `::1:80` the number is a part of the address.
fn split_host(text: &str) -> Option<(&str, &str)> {
    if let Some(bracketed) = text.strip_prefix('[') {
        let (host, rest) = bracketed.split_once(']')?;
        // An IPv4 address needs no brackets, and anything else inside is no address.
        return host.contains(':').then_some((host, rest));
    }
    let end = match text.find('/') {
        Some(slash) => slash,
        None if text.matches(':').count() > 1 => text.len(),
        None => text.find(':').unwrap_or(text.len()),
    };
    Some(text.split_at(end))
}

/// Reads `[:]NUMBER` or `[:]SERVICE`.
pub(super) fn port(text: &str, names: &dyn FilterNames) -> Result<u16, Bad> {
    let text = text.strip_prefix(':').unwrap_or(text);
    let write = || match names.no_services() {
        Some(reason) => format!("0 to 65535: {reason}"),
        None => "0 to 65535 or the name of a service".to_owned(),
    };
    id("port", write, text, |name| names.service(name))
}

/// Reads a number, or a name that `named` knows. `what`, and the text that `write` makes, go into
/// the error message.
pub(super) fn id<T: FromStr, W: Into<String>>(
    what: &str,
    write: impl FnOnce() -> W,
    text: &str,
    named: impl FnOnce(&str) -> Option<T>,
) -> Result<T, Bad> {
    let value = if is_number(text) { text.parse().ok() } else { named(text) };
    value.ok_or_else(|| Bad::unknown(what, text, write()))
}

fn number<T: FromStr>(text: &str) -> Option<T> {
    is_number(text).then(|| text.parse().ok()).flatten()
}

/// Returns whether `text` has digits only. The standard library would accept a sign too.
pub(super) fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}
