//! The look of lines.

use jiff::tz::TimeZone;

use crate::{
    core::services::Services,
    view::{palette::Palette, text::clock::TimeStyle},
};

/// The look of lines.
#[derive(Clone, Debug)]
pub struct Appearance {
    /// Names for ports; a port without a name is shown as a number.
    pub services: Services,
    /// The columns of the terminal that lines must fit; none for a file or a pipe.
    pub terminal: Option<usize>,
    /// Words have colours by their meaning.
    pub colour: bool,
    /// The zone of times.
    pub zone: TimeZone,
    /// Times have their date, because they are not of today.
    pub dated: bool,
    /// The inode number of the own network namespace, which live lines do not show. A row of a
    /// journal has the recorder's.
    pub own_netns: Option<u32>,
    /// The processes of each connection are on lines of their own, with more facts.
    pub wide_owner: bool,
    /// Columns of the host's name; 0 if there is one host.
    pub host_width: usize,
}

impl Appearance {
    pub(super) const fn palette(&self) -> Palette {
        Palette { colour: self.colour }
    }

    pub(super) fn style(&self) -> TimeStyle {
        let zone = self.zone.clone();
        if self.dated { TimeStyle::date_time(zone) } else { TimeStyle::TimeOfDay(zone) }
    }
}
