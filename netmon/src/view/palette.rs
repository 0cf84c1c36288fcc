//! The palette of all views: the meaning of a word, and the colour of a meaning.
//!
//! Colours are of the sixteen that people set up for their terminals, and are readable on light and
//! on dark. No colour is the only sign of anything: the word says the same.

use ratatui::style::{Color, Modifier, Style};

use crate::core::{connection::Direction, tcp::TcpState, verdict::Verdict};

/// The meaning of a word, as far as a colour shows the meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tone {
    Plain,
    /// A heading.
    Heading,
    /// A connection is open.
    Open,
    /// A connection begins, or this host began the connection.
    Begin,
    /// A connection ends, or the peer began the connection.
    End,
    /// Little more happens: a listener, a TIME_WAIT, the end.
    Quiet,
    /// A failure, or a RST.
    Bad,
    /// Loss: of events, of segments.
    Warning,
}

impl Tone {
    pub(super) const fn of_state(state: TcpState) -> Self {
        match state {
            TcpState::Established => Self::Open,
            TcpState::SynSent | TcpState::SynRecv | TcpState::NewSynRecv => Self::Begin,
            TcpState::FinWait1
            | TcpState::FinWait2
            | TcpState::CloseWait
            | TcpState::LastAck
            | TcpState::Closing => Self::End,
            TcpState::Listen | TcpState::TimeWait | TcpState::Close => Self::Quiet,
        }
    }

    pub(super) const fn of_verdict(verdict: Verdict) -> Self {
        use Verdict::{ClosedByPeer, ClosedLocally, ClosedSilently};
        match verdict {
            ClosedLocally | ClosedByPeer | ClosedSilently => Self::Plain,
            _ => Self::Bad,
        }
    }

    pub(super) const fn of_direction(direction: Option<Direction>) -> Self {
        match direction {
            Some(Direction::Outbound) => Self::Begin,
            Some(Direction::Inbound) => Self::End,
            Some(Direction::Listen) | None => Self::Quiet,
        }
    }

    /// Returns the escape sequence that begins the colour.
    const fn sequence(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Heading => "\x1b[1m",
            Self::Open => "\x1b[32m",
            Self::Begin => "\x1b[36m",
            Self::End => "\x1b[35m",
            Self::Quiet => "\x1b[2m",
            Self::Bad => "\x1b[31m",
            Self::Warning => "\x1b[1;33m",
        }
    }

    /// Returns the same for the full screen.
    const fn style(self) -> Style {
        let style = Style::new();
        match self {
            Self::Plain => style,
            Self::Heading => style.add_modifier(Modifier::BOLD),
            Self::Open => style.fg(Color::Green),
            Self::Begin => style.fg(Color::Cyan),
            Self::End => style.fg(Color::Magenta),
            Self::Quiet => style.add_modifier(Modifier::DIM),
            Self::Bad => style.fg(Color::Red),
            Self::Warning => style.fg(Color::Yellow).add_modifier(Modifier::BOLD),
        }
    }
}

/// The colours of an output.
#[derive(Clone, Copy, Debug)]
pub(super) struct Palette {
    /// The output has colours.
    pub(super) colour: bool,
}

impl Palette {
    /// Returns the escape sequences around a word.
    #[inline]
    pub(super) const fn around(self, tone: Tone) -> (&'static str, &'static str) {
        match tone {
            Tone::Plain => ("", ""),
            _ if !self.colour => ("", ""),
            _ => (tone.sequence(), "\x1b[0m"),
        }
    }

    /// Writes a word in its colour.
    #[inline]
    pub(super) fn put(self, out: &mut Vec<u8>, tone: Tone, put: impl FnOnce(&mut Vec<u8>)) {
        let (on, off) = self.around(tone);
        out.extend_from_slice(on.as_bytes());
        put(out);
        out.extend_from_slice(off.as_bytes());
    }

    /// Returns the style of a meaning on the full screen. Without colours, a warning still stands
    /// out.
    pub(super) const fn style(self, tone: Tone) -> Style {
        match tone.style() {
            style if self.colour => style,
            Style { add_modifier, .. } => Style::new().add_modifier(add_modifier),
        }
    }
}
