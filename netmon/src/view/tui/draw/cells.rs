//! Texts of a width: a longer text is cut where the cut hurts least.

use std::net::SocketAddr;

use ratatui::buffer::CellWidth;

use crate::core::{escape::Escaped, services::Services, socket::Protocol};

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

/// Returns the number of columns that the text takes.
pub(super) fn columns(text: &str) -> usize {
    text.chars().map(|c| usize::from(c.encode_utf8(&mut [0; 4]).cell_width())).sum()
}

/// Returns an address and its port; cuts the address if both do not fit `width`.
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
