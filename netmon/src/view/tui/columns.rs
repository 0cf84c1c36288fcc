//! The columns of the list: names, widths, and the order that each makes.

#[cfg(test)]
mod tests;

use std::{borrow::Cow, net::IpAddr, time::Duration};

use super::{
    groups::GroupBy,
    traffic::{TrafficFigures, TrafficOf},
};
use crate::{
    core::{connection::Connection, tcp::TcpState},
    view::{changes::why::Bytes, text::clock::Elapsed},
};

/// A column of the list. Rows can be sorted by each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Column {
    Program,
    Local,
    Remote,
    State,
    /// The time in the current state; the shortest first.
    InState,
    Direction,
    /// The time since the beginning; the newest first. No row overtakes another in this order: new
    /// rows come first, and push the others down.
    Age,
    /// The reason of the end, or of the last step.
    Why,
    /// The network namespace. The column is there only if a connection of another than the own one
    /// was in sight.
    Netns,
    SentRate,
    ReceivedRate,
    Rtt,
    Retransmits,
    RecvQ,
    SendQ,
    Sent,
    Received,
    Evidence,
    Exe,
    Unit,
    Container,
}

impl Column {
    /// Every column, in the order at the beginning.
    pub(super) const ALL: [Self; 21] = [
        Self::Program,
        Self::Local,
        Self::Remote,
        Self::State,
        Self::InState,
        Self::Direction,
        Self::Age,
        Self::Why,
        Self::Netns,
        Self::SentRate,
        Self::ReceivedRate,
        Self::Rtt,
        Self::Retransmits,
        Self::RecvQ,
        Self::SendQ,
        Self::Sent,
        Self::Received,
        Self::Evidence,
        Self::Exe,
        Self::Unit,
        Self::Container,
    ];

    /// The columns of traffic, which groups have too.
    pub(super) const TRAFFIC: [Self; 8] = [
        Self::SentRate,
        Self::ReceivedRate,
        Self::Retransmits,
        Self::Rtt,
        Self::Sent,
        Self::Received,
        Self::RecvQ,
        Self::SendQ,
    ];

    /// Returns whether the column shows traffic.
    pub(super) fn is_traffic(self) -> bool {
        Self::TRAFFIC.contains(&self)
    }

    /// Returns the heading.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Program => "PID/Program",
            Self::Local => "Local Address",
            Self::Remote => "Foreign Address",
            Self::State => "State",
            Self::InState => "In",
            Self::Direction => "Dir",
            Self::Age => "Age",
            Self::Why => "Why",
            Self::Netns => "Netns",
            Self::SentRate => "Sent/s",
            Self::ReceivedRate => "Recvd/s",
            Self::Rtt => "RTT",
            Self::Retransmits => "Retr",
            Self::RecvQ => "Recv-Q",
            Self::SendQ => "Send-Q",
            Self::Sent => "Sent",
            Self::Received => "Recvd",
            Self::Evidence => "Evidence",
            Self::Exe => "Executable",
            Self::Unit => "Unit",
            Self::Container => "Container",
        }
    }

    /// Returns the content of the column, for people who choose columns.
    pub(super) const fn about(self) -> &'static str {
        match self {
            Self::Program => "the process behind the connection",
            Self::Local => "the end on this host",
            Self::Remote => "the other end",
            Self::State => "the state; of a row that is gone, the verdict",
            Self::InState => "the time in this state",
            Self::Direction => "out, in, or a listener",
            Self::Age => "the time since the beginning",
            Self::Why => "the reason of the end: verdict, error, RST",
            Self::Netns => "the network namespace; self is netmon's own",
            Self::SentRate => "bytes sent a second",
            Self::ReceivedRate => "bytes received a second",
            Self::Rtt => "round trip time; of a group, the longest",
            Self::Retransmits => "segments retransmitted",
            Self::RecvQ => "bytes not read; of a listener, not accepted",
            Self::SendQ => "bytes not acknowledged; of a listener, its limit",
            Self::Sent => "bytes sent",
            Self::Received => "bytes received",
            Self::Evidence => "how the process is known",
            Self::Exe => "the executable of the process",
            Self::Unit => "the unit of systemd that the process is in",
            Self::Container => "the container that the process is in",
        }
    }

    /// Returns the least width on a screen of so many columns, whose addresses take `address`.
    pub(super) fn least(self, screen: u16, address: u16) -> u16 {
        match self {
            Self::Program if screen < 80 => screen * 14 / 80,
            Self::Local | Self::Remote if screen < 80 => screen * 21 / 80,
            Self::Program | Self::State => 14,
            Self::Local | Self::Remote => address.min(screen / 5).max(ADDRESS),
            Self::InState | Self::Age | Self::Rtt | Self::RecvQ | Self::SendQ => 6,
            Self::Sent | Self::Received | Self::SentRate => 6,
            Self::ReceivedRate => 7,
            Self::Retransmits => 5,
            Self::Direction => 4,
            Self::Why | Self::Exe | Self::Unit | Self::Container => 16,
            Self::Netns => 10,
            Self::Evidence => 8,
        }
    }

    /// Returns the part of the spare width that the column takes, and its greatest width.
    const fn share(self, address: u16) -> Option<(u16, u16)> {
        match self {
            Self::Program => Some((2, 24)),
            Self::Local | Self::Remote => Some((3, address)),
            Self::Why | Self::Exe | Self::Unit | Self::Container => Some((2, 40)),
            _ => None,
        }
    }

    /// Returns the text of a column about the owner that groups have too; none if it is not known.
    pub(super) fn owner_text(self, row: &Connection) -> Option<Cow<'_, [u8]>> {
        let by = match self {
            Self::Exe => GroupBy::Program,
            Self::Unit => GroupBy::Unit,
            Self::Container => GroupBy::Container,
            _ => return None,
        };
        by.text(row.owner.as_ref()?)
    }

    /// Returns the figure of the column; none for a column of other facts, and if it is not known.
    pub(super) fn figure(self, figures: &TrafficFigures) -> Option<u64> {
        match self {
            Self::RecvQ => figures.recv_q.map(Into::into),
            Self::SendQ => figures.send_q.map(Into::into),
            Self::Sent => figures.sent,
            Self::Received => figures.received,
            Self::SentRate => figures.sent_rate,
            Self::ReceivedRate => figures.received_rate,
            Self::Rtt => figures.rtt_us.map(Into::into),
            Self::Retransmits => figures.retransmits.map(Into::into),
            _ => None,
        }
    }

    /// Returns the text of the figure; nothing if the figure is not known.
    pub(super) fn figure_text(self, figures: &TrafficFigures) -> String {
        self.figure(figures).map_or(String::new(), |value| match self {
            Self::Rtt => Elapsed(Duration::from_micros(value)).to_string(),
            Self::Retransmits => value.to_string(),
            _ => Bytes(value).to_string(),
        })
    }

    /// Returns whether numbers stand below the heading, at the right of the column.
    pub(super) fn is_number(self) -> bool {
        self.is_traffic() || matches!(self, Self::InState | Self::Age)
    }

    /// Returns the sign of an order by the column: `▲` if the least value comes first.
    pub(super) fn order_sign(self, reversed: bool) -> char {
        // Traffic begins with the greatest.
        if self.is_traffic() == reversed { '▲' } else { '▼' }
    }

    /// Returns the key that rows are sorted by. The least key comes first, an unknown value last,
    /// in the reversed order too; of equal values, the newest row. `state` is the state of the row,
    /// of a row that is gone its last state: such a row stays where it is.
    pub(super) fn key(
        self,
        row: &Connection,
        state: TcpState,
        reversed: bool,
        traffic: TrafficOf<'_>,
    ) -> SortKey {
        let (value, second) = self.value(row, state, traffic);
        match value {
            Some(value) if reversed => (!value, !second),
            Some(value) => (value, second),
            None => (u128::MAX, second),
        }
    }

    /// Returns the value of the column for the order, and the value for the order of equal values.
    /// A value that may be unknown is above 0.
    fn value(
        self,
        row: &Connection,
        state: TcpState,
        traffic: TrafficOf<'_>,
    ) -> (Option<u128>, i64) {
        let address = |address: IpAddr| match address {
            IpAddr::V4(address) => u128::from(u32::from(address)),
            IpAddr::V6(address) => u128::from(address),
        };
        // Each fact is in another part of the row, whose memory has to come first.
        let newest = || row.id.epoch.as_nanos().saturating_neg();
        let latest = || row.since.map_or(i64::MAX, |since| since.as_nanos().saturating_neg());
        match self {
            Self::Program => row
                .owner
                .as_ref()
                .map_or((None, newest()), |owner| (Some(first(&owner.comm)), owner.pid.into())),
            Self::Exe | Self::Unit | Self::Container => {
                (self.owner_text(row).map(|text| first(&text)), newest())
            }
            Self::Local => (Some(address(row.tuple.local.ip())), row.tuple.local.port().into()),
            Self::Remote => (Some(address(row.tuple.remote.ip())), row.tuple.remote.port().into()),
            Self::State => (Some(state as u128), latest()),
            Self::InState => (row.since.map(|_| 1), latest()),
            Self::Direction => {
                (row.direction.or(row.inferred_direction).map(|way| way as u128 + 1), newest())
            }
            Self::Age => {
                // What was there before netmon looked is older than all that netmon saw begin:
                // listeners as a rule the oldest. A TIME_WAIT is a minute old at most, and its
                // connection is over: the age of that connection is of no interest.
                let age = match (row.first_sight, state) {
                    (false, _) => Some(1),
                    (true, TcpState::TimeWait) => None,
                    (true, TcpState::Listen) => Some(3),
                    (true, _) => Some(2),
                };
                (age, newest())
            }
            Self::Why => (row.verdict.map(|verdict| verdict as u128 + 1), newest()),
            Self::Netns => (Some(row.tuple.netns.into()), newest()),
            Self::Evidence => (row.evidence.map(|known| known as u128 + 1), newest()),
            // The greatest comes first.
            _ => {
                let value = traffic.row(row).and_then(|figures| self.figure(&figures));
                (value.map(|value| u128::from(u64::MAX - value) + 1), newest())
            }
        }
    }
}

/// Returns a number in the order of the first 16 bytes of a text.
fn first(text: &[u8]) -> u128 {
    let mut first = [0; 16];
    let length = text.len().min(first.len());
    first[..length].copy_from_slice(&text[..length]);
    u128::from_be_bytes(first)
}

/// Columns of an IPv4 address and a port.
pub(super) const ADDRESS: u16 = 21;

/// The key of a row in the order of a column.
pub(super) type SortKey = (u128, i64);

/// A column on the screen: from one place of the line to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ColumnPlace {
    pub(super) column: Column,
    pub(super) from: u16,
    pub(super) to: u16,
}

/// Returns the first of `columns` that fit a screen of this width, with the widths that they get.
/// The widest address takes `address` columns.
pub(super) fn places(columns: &[Column], screen: u16, address: u16) -> Vec<ColumnPlace> {
    let mut widths = Vec::new();
    let mut used = 0;
    for column in columns {
        let width = column.least(screen, address).min(screen);
        let gap = u16::from(!widths.is_empty());
        if used + gap + width > screen {
            break;
        }
        used += gap + width;
        widths.push((*column, width));
    }
    // In rounds, since a column that has all that it takes leaves the rest to the others.
    loop {
        let spare = screen - used;
        let can_grow = |(column, width): &(Column, u16)| {
            let (share, most) = column.share(address)?;
            (*width < most).then_some((share, most))
        };
        let shares: u16 = widths.iter().filter_map(can_grow).map(|(share, _)| share).sum();
        if spare == 0 || shares == 0 {
            break;
        }
        for place in &mut widths {
            if let Some((share, most)) = can_grow(place) {
                let more = (spare * share).div_ceil(shares).min(most - place.1).min(screen - used);
                place.1 += more;
                used += more;
            }
        }
    }
    let mut from = 0;
    let place = |(column, width)| {
        let place = ColumnPlace { column, from, to: from + width };
        from += width + 1;
        place
    };
    widths.into_iter().map(place).collect()
}

/// Columns of a group's name, at least, and of its other numbers.
const GROUP_NAME: u16 = 24;
pub(super) const GROUP_NUMBERS: u16 = 30;

/// Returns the traffic that groups show on a screen of this width.
pub(super) fn group_columns(screen: u16) -> &'static [Column] {
    let mut room = screen.saturating_sub(GROUP_NAME + GROUP_NUMBERS);
    let fits = |column: &&Column| {
        let width = column.least(screen, ADDRESS) + 1;
        let fits = room >= width;
        room = room.saturating_sub(width);
        fits
    };
    let count = Column::TRAFFIC.iter().take_while(fits).count();
    &Column::TRAFFIC[..count]
}
