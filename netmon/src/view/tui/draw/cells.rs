//! Texts of a width: what is longer is cut where that hurts least.

use std::net::SocketAddr;

use ratatui::buffer::CellWidth;

use crate::core::{escape::Escaped, services::Services, socket::Protocol};

/// The text in `width` columns, its end cut where it has more.
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

/// How many columns it takes.
pub(super) fn columns(text: &str) -> usize {
    text.chars().map(|c| usize::from(c.encode_utf8(&mut [0; 4]).cell_width())).sum()
}

/// An address and its port, the address cut where both do not fit.
pub(super) fn endpoint(
    end: SocketAddr,
    services: Option<&Services>,
    none: &str,
    width: usize,
) -> String {
    let host = match end {
        SocketAddr::V4(end) => end.ip().to_string(),
        SocketAddr::V6(end) => format!("[{}]", end.ip()),
    };
    let name = services.and_then(|services| services.name(Protocol::Tcp, end.port()));
    let port = match (end.port(), name) {
        (0, _) => none.to_owned(),
        (_, Some(name)) => Escaped(name.as_bytes()).to_string(),
        (port, None) => port.to_string(),
    };
    let room = width.saturating_sub(columns(&port) + 1);
    fit(&format!("{}:{port}", fit(&host, room)), width)
}
