//! The live table, full screen.
//!
//! [`ScreenState`] is what is shown and what keys do, `draw` a pure function from it to a frame. [`TopView`] is the view
//! between the session and them: it decides when there is a frame. It waits for nobody: keys and answers come
//! through one channel, frames and questions leave through others, and a terminal that is slow gets fewer frames.

mod activity;
mod draw;
mod groups;
mod history;
mod keys;
mod layout;
mod rates;
mod rows;
mod state;
pub mod terminal;
mod time_travel;

use std::{
    io,
    sync::{
        Arc,
        mpsc::{Sender, SyncSender, TrySendError},
    },
    time::Duration,
};

use ratatui::layout::Rect;
pub use ratatui::{buffer::Buffer, crossterm::event::Event as TerminalEvent, layout::Size};
use rustix::time::{ClockId, clock_gettime};
use tokio::{
    sync::{Notify, mpsc::Receiver},
    time::{Instant, sleep_until},
};

use crate::{
    core::{connection::Change, table::ConnectionTable},
    session::View,
};
pub use activity::Activity;
pub use state::{Parse, ScreenOptions, ScreenState};
pub use time_travel::{Inspected, Jump, NameQuery, PastFrame, ScreenAnswer, ScreenQuery};

/// Frames are this far apart on average, at least: ten a second.
const APART: Duration = Duration::from_millis(100);
/// While things happen that nobody pressed a key for.
const REFRESHED: Duration = Duration::from_millis(250);
/// While nothing does: the time goes on.
const AT_REST: Duration = Duration::from_secs(1);
/// Frames that nobody asked for may take a twentieth of the loop's time.
const SHARE: u32 = 20;
/// How long to wait for a terminal that has not taken the last frame.
const BUSY: Duration = Duration::from_millis(20);

/// What comes to the screen from outside the session.
#[derive(Debug)]
pub enum ScreenInput {
    /// From the terminal.
    Event(TerminalEvent),
    /// To a question.
    Answer(ScreenAnswer),
}

/// The screen's frame, as the terminal is to show it.
#[must_use]
pub fn frame(state: &ScreenState, size: Size) -> Buffer {
    let area = Rect::new(0, 0, size.width, size.height);
    let mut buffer = Buffer::empty(area);
    draw::draw(state, area, &mut buffer);
    buffer
}

/// A frame as text, without what is at the ends of lines.
#[must_use]
pub fn text(frame: &Buffer) -> String {
    let lines = (0..frame.area.height).map(|y| {
        let cells = (0..frame.area.width).map(|x| frame[(x, y)].symbol());
        cells.collect::<String>().trim_end().to_owned() + "\n"
    });
    lines.collect()
}

/// Where it leads to and comes from.
pub struct Channels {
    /// What comes from outside.
    pub inputs: Receiver<ScreenInput>,
    /// Where questions go.
    pub asks: Sender<ScreenQuery>,
    /// Where frames go: of a capacity of one.
    pub frames: SyncSender<Buffer>,
    /// What ends the session.
    pub stop: Arc<Notify>,
}

/// The view that fills a screen.
pub struct TopView {
    state: ScreenState,
    channels: Channels,
    /// Somebody did something that is not seen yet.
    touched: bool,
    /// Something happened that is not seen yet.
    changed: bool,
    drawn: Instant,
    /// How long that took.
    took: Duration,
    /// When frames would have been used up that were [`APART`]: one may come that much before.
    theoretical: Instant,
    /// The terminal has not taken the last frame: not before this.
    busy: Instant,
}

impl TopView {
    /// Shows `state` through `channels`.
    #[must_use]
    pub fn new(state: ScreenState, channels: Channels) -> Self {
        let now = Instant::now();
        Self {
            state,
            channels,
            touched: true,
            changed: false,
            drawn: now,
            took: Duration::ZERO,
            theoretical: now,
            busy: now,
        }
    }

    fn take(&mut self, input: ScreenInput) {
        self.touched = true;
        match input {
            ScreenInput::Event(event) => self.state.event(&event),
            ScreenInput::Answer(answer) => self.state.answer(answer),
        }
    }

    /// When there is a frame.
    fn due(&self) -> Instant {
        let due = match (self.touched, self.changed) {
            (true, _) => self.theoretical.checked_sub(APART).unwrap_or(self.drawn),
            (false, true) => self.drawn + REFRESHED.max(self.took * SHARE),
            (false, false) => self.drawn + AT_REST,
        };
        due.max(self.busy)
    }

    fn draw(&mut self, table: &ConnectionTable) -> io::Result<()> {
        let began = Instant::now();
        self.state.settle(table, now());
        for ask in self.state.asks() {
            // Whoever answers may have ended: then there are no answers.
            let _ = self.channels.asks.send(ask);
        }
        let frame = frame(&self.state, self.state.size());
        self.took = began.elapsed();
        match self.channels.frames.try_send(frame) {
            Ok(()) => {
                (self.touched, self.changed, self.drawn) = (false, false, began);
                self.theoretical = self.theoretical.max(began) + APART;
                Ok(())
            }
            Err(TrySendError::Full(_)) => {
                self.busy = Instant::now() + BUSY.max(self.took * SHARE);
                Ok(())
            }
            Err(TrySendError::Disconnected(_)) => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }
}

impl View for TopView {
    fn change(&mut self, change: &Change<'_>) -> io::Result<bool> {
        self.state.change(change);
        self.changed |= !matches!(change, Change::Anchor(_) | Change::Reconciled { .. });
        Ok(true)
    }

    async fn refresh_due(&mut self) -> io::Result<()> {
        let due = self.due();
        tokio::select! {
            input = self.channels.inputs.recv() => match input {
                Some(input) => self.take(input),
                None => return Err(io::ErrorKind::BrokenPipe.into()),
            },
            () = sleep_until(due) => {}
        }
        Ok(())
    }

    fn flush(&mut self, table: &ConnectionTable) -> io::Result<()> {
        while let Ok(input) = self.channels.inputs.try_recv() {
            self.take(input);
        }
        if self.state.is_over() {
            self.channels.stop.notify_one();
        }
        if self.due() <= Instant::now() { self.draw(table) } else { Ok(()) }
    }
}

/// `CLOCK_MONOTONIC`, ns.
#[must_use]
pub fn now() -> u64 {
    let time = clock_gettime(ClockId::Monotonic);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    seconds * 1_000_000_000 + u64::try_from(time.tv_nsec).unwrap_or(0)
}
