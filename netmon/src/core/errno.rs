//! The names of the errors with which a TCP socket can end.

/// Returns the name of `errno` as in `errno.h`, if the kernel gives this error to TCP sockets.
///
/// Source: `icmp_err_convert` (net/ipv4/icmp.c), `tcp_reset`, `tcp_write_err`, `tcp_abort`.
#[must_use]
pub(crate) const fn name(errno: u8) -> Option<&'static str> {
    Some(match errno as i32 {
        libc::EPERM => "EPERM",
        libc::EINTR => "EINTR",
        libc::EIO => "EIO",
        libc::ENOMEM => "ENOMEM",
        libc::EACCES => "EACCES",
        libc::ENODEV => "ENODEV",
        libc::EINVAL => "EINVAL",
        libc::EPIPE => "EPIPE",
        libc::EPROTO => "EPROTO",
        libc::EBADMSG => "EBADMSG",
        libc::EMSGSIZE => "EMSGSIZE",
        libc::ENOPROTOOPT => "ENOPROTOOPT",
        libc::EOPNOTSUPP => "EOPNOTSUPP",
        libc::EADDRNOTAVAIL => "EADDRNOTAVAIL",
        libc::ENETDOWN => "ENETDOWN",
        libc::ENETUNREACH => "ENETUNREACH",
        libc::ENETRESET => "ENETRESET",
        libc::ECONNABORTED => "ECONNABORTED",
        libc::ECONNRESET => "ECONNRESET",
        libc::ENOBUFS => "ENOBUFS",
        libc::ENOTCONN => "ENOTCONN",
        libc::ETIMEDOUT => "ETIMEDOUT",
        libc::ECONNREFUSED => "ECONNREFUSED",
        libc::EHOSTDOWN => "EHOSTDOWN",
        libc::EHOSTUNREACH => "EHOSTUNREACH",
        libc::EKEYREJECTED => "EKEYREJECTED",
        _ => return None,
    })
}

/// Returns the name of `errno`, or its number if the error has no name.
#[must_use]
pub(crate) fn text(errno: u8) -> String {
    name(errno).map_or_else(|| errno.to_string(), ToOwned::to_owned)
}

/// Returns the errno with this name, in capitals or not, or with this number.
#[must_use]
pub(crate) fn number(text: &str) -> Option<u8> {
    let has_name = |number: &u8| name(*number).is_some_and(|name| name.eq_ignore_ascii_case(text));
    text.parse().ok().or_else(|| (1..=u8::MAX).find(has_name))
}

#[cfg(test)]
mod tests {
    use super::{name, number, text};

    #[test]
    fn the_common_ends_have_names() {
        assert_eq!(name(111), Some("ECONNREFUSED"));
        assert_eq!(name(104), Some("ECONNRESET"));
        assert_eq!(name(110), Some("ETIMEDOUT"));
        assert_eq!(name(0), None);
        assert_eq!(name(255), None);
    }

    #[test]
    fn a_text_is_read_back() {
        for errno in 1..=u8::MAX {
            assert_eq!(number(&text(errno)), Some(errno));
        }
        assert_eq!(number("econnrefused"), Some(111));
        assert_eq!(number("ENOSUCH"), None);
    }
}
