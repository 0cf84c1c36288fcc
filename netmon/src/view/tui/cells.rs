//! Texts of a width: a longer text is cut where the cut hurts least.

use ratatui::buffer::CellWidth;

use crate::{
    core::{
        escape::Escaped,
        id::{Binding, Tuple},
        services::Services,
        socket::Protocol,
    },
    view::text::host::Host,
};

/// Returns the text in `width` columns; cuts the end of a wider text.
pub(super) fn fit(text: &str, width: usize) -> String {
    if columns(text) <= width {
        return text.to_owned();
    }
    let mut cut = String::new();
    let mut used = 0;
    for c in text.chars() {
        let wide = columns(c.encode_utf8(&mut [0; 4]));
        if used + wide + 1 > width {
            break;
        }
        used += wide;
        cut.push(c);
    }
    if width > 0 {
        cut.push('…');
    }
    cut
}

/// Returns the text in `width` columns as [`fit`] does, with blanks after a narrower text.
pub(super) fn padded(text: &str, width: usize) -> String {
    let text = fit(text, width);
    let pad = width.saturating_sub(columns(&text));
    format!("{text}{:pad$}", "")
}

/// Returns the text in `width` columns; cuts the middle of a wider text. Of an address, the network
/// and the host are left.
fn fit_ends(text: &str, width: usize) -> String {
    if columns(text) <= width || width < 3 {
        return fit(text, width);
    }
    // Addresses have no characters of two columns; a text that has some is cut at its end.
    let all: Vec<char> = text.chars().collect();
    let tail = (width - 1) / 2;
    let head = width - 1 - tail;
    let ends = all[..head].iter().chain(['…'].iter()).chain(&all[all.len() - tail..]);
    let cut = String::from_iter(ends);
    if columns(&cut) <= width { cut } else { fit(text, width) }
}

/// Returns the number of columns that the text takes.
pub(super) fn columns(text: &str) -> usize {
    text.chars().map(|c| usize::from(c.encode_utf8(&mut [0; 4]).cell_width())).sum()
}

/// Returns the end of a connection on this host; cuts the address if it does not fit `width` with
/// its port.
pub(super) fn local_end(
    tuple: &Tuple,
    binding: &Binding,
    services: Option<&Services>,
    width: usize,
) -> String {
    endpoint(Host::local(tuple, binding), tuple.local.port(), services, "?", width)
}

/// Returns the other end of a connection, cut alike.
pub(super) fn remote_end(tuple: &Tuple, services: Option<&Services>, width: usize) -> String {
    endpoint(Host::remote(tuple), tuple.remote.port(), services, "*", width)
}

/// Returns the columns that the wider end of a connection takes.
pub(super) fn width_of_ends(
    tuple: &Tuple,
    binding: &Binding,
    services: Option<&Services>,
) -> usize {
    let local = local_end(tuple, binding, services, usize::MAX);
    columns(&local).max(columns(&remote_end(tuple, services, usize::MAX)))
}

/// Returns an address and its port; cuts the address if both do not fit `width`.
fn endpoint(
    host: Host<'_>,
    port: u16,
    services: Option<&Services>,
    none: &str,
    width: usize,
) -> String {
    let mut text = Vec::new();
    host.put(&mut text);
    let host = String::from_utf8_lossy(&text);
    let name = services.and_then(|services| services.name(Protocol::Tcp, port));
    let port = match (port, name) {
        (0, _) => none.to_owned(),
        (_, Some(name)) => Escaped(name.as_bytes()).to_string(),
        (port, None) => port.to_string(),
    };
    let room = width.saturating_sub(columns(&port) + 1);
    fit(&format!("{}:{port}", fit_ends(&host, room)), width)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_middle_of_an_address_is_cut() {
        let address = "[2001:db8:85a3::8a2e:370:7334]";
        assert_eq!(fit_ends(address, 30), address);
        assert_eq!(fit_ends(address, 17), "[2001:db…70:7334]");
        assert_eq!(fit_ends(address, 2), "[…");
        assert_eq!(fit_ends(address, 0), "");
    }

    proptest! {
        #[test]
        fn it_fits(text in "[a-f:0世]{0,50}", width in 0..50_usize) {
            prop_assert!(columns(&fit_ends(&text, width)) <= width);
        }
    }
}
