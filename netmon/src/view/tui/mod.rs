//! The live table, full screen.
//!
//! [`ScreenState`] is the state of the screen and the effect of keys. `draw` is a pure function
//! from the state to a frame. [`TopView`] is the view between the session and both: `TopView`
//! decides when to draw a frame. `TopView` waits for no other thread: keys and answers come through
//! one channel, frames and questions leave through others, and a slow terminal gets fewer frames.

mod activity;
mod cells;
mod columns;
mod draw;
mod groups;
mod history;
mod keys;
mod layout;
mod rates;
mod rows;
mod settings;
mod state;
pub(crate) mod terminal;
mod time_travel;
mod traffic;

use std::{
    io,
    sync::{
        Arc,
        mpsc::{Sender, SyncSender, TrySendError},
    },
    time::Duration,
};

pub(crate) use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
pub use ratatui::{crossterm::event::Event as TerminalEvent, layout::Size};
use tokio::{
    sync::{Notify, mpsc::Receiver},
    time::{Instant, sleep_until},
};

use crate::{
    core::{change::Change, table::ConnectionTable, time::Mono},
    session::View,
};
pub use settings::ScreenSettings;
pub use state::{ScreenOptions, ScreenState};
pub use time_travel::{
    Inspected, Jump, NameQuery, PastFrame, ScreenAnswer, ScreenQuery, TIMELINE_PARTS, Timeline,
};
pub use traffic::{Traffic, TrafficFigures, TrafficScope};

/// The least time between frames, on average: ten frames a second.
const FRAME_INTERVAL: Duration = Duration::from_millis(100);
/// The time between frames while connections change and no key is pressed.
const REFRESH_INTERVAL: Duration = Duration::from_millis(250);
/// The time between frames while nothing changes but the time.
const IDLE_INTERVAL: Duration = Duration::from_secs(1);
/// Frames for which no key was pressed may take a twentieth of the loop's time.
const SHARE: u32 = 20;
/// The least wait for a terminal that has not taken the last frame.
const BUSY_RETRY: Duration = Duration::from_millis(20);

/// An input of the screen from outside the session.
#[derive(Debug)]
pub(crate) enum ScreenInput {
    /// An event of the terminal.
    Event(TerminalEvent),
    /// An answer to a question.
    Answer(ScreenAnswer),
}

/// Returns the frame of the screen, for the terminal to show.
#[must_use]
pub fn frame(state: &ScreenState, size: Size) -> Buffer {
    let area = Rect::new(0, 0, size.width, size.height);
    let mut buffer = Buffer::empty(area);
    draw::draw(state, area, &mut buffer);
    buffer
}

/// Returns a frame as text, without the spaces at the ends of lines.
#[must_use]
pub(crate) fn text(frame: &Buffer) -> String {
    let lines = (0..frame.area.height).map(|y| {
        let mut line = String::new();
        let mut x = 0;
        while x < frame.area.width {
            let symbol = frame[(x, y)].symbol();
            line.push_str(symbol);
            // A wide character takes the cells after its own.
            let columns = u16::try_from(cells::columns(symbol)).unwrap_or(1);
            x = x.saturating_add(columns.max(1));
        }
        line.trim_end().to_owned() + "\n"
    });
    lines.collect()
}

/// The channels of the view, and its clock.
pub(crate) struct Channels {
    /// Inputs from outside the session.
    pub inputs: Receiver<ScreenInput>,
    /// Questions, to the thread that answers.
    pub asks: Sender<ScreenQuery>,
    /// Frames, to the terminal: the channel has a capacity of one.
    pub frames: SyncSender<Buffer>,
    /// The signal that ends the session.
    pub stop: Arc<Notify>,
    /// The clock of events.
    pub now: fn() -> Mono,
}

/// The view that fills a screen.
pub(crate) struct TopView {
    state: ScreenState,
    channels: Channels,
    /// An input came that no frame shows yet.
    has_input: bool,
    /// A change came that no frame shows yet.
    has_change: bool,
    /// The time at which the last frame was drawn.
    drawn_at: Instant,
    /// The time that drawing the last frame took.
    draw_time: Duration,
    /// The end of the time that past frames use up, [`FRAME_INTERVAL`] each. The next frame may
    /// come [`FRAME_INTERVAL`] before this time.
    quota_end: Instant,
    /// No frame comes before this time: the terminal has not taken the last frame.
    busy_until: Instant,
}

impl TopView {
    /// Shows `state` through `channels`.
    #[must_use]
    pub(crate) fn new(state: ScreenState, channels: Channels) -> Self {
        let now = Instant::now();
        Self {
            state,
            channels,
            has_input: true,
            has_change: false,
            drawn_at: now,
            draw_time: Duration::ZERO,
            quota_end: now,
            busy_until: now,
        }
    }

    /// Returns the settings as they are now.
    pub(crate) fn settings(&self) -> &ScreenSettings {
        &self.state.settings
    }

    fn take(&mut self, input: ScreenInput) {
        // Traffic comes each second, and no key asked for it.
        let is_traffic = matches!(input, ScreenInput::Answer(ScreenAnswer::Traffic(_)));
        self.has_change |= is_traffic;
        self.has_input |= !is_traffic;
        match input {
            ScreenInput::Event(event) => self.state.event(&event),
            ScreenInput::Answer(answer) => self.state.answer(answer),
        }
    }

    /// Returns the time of the next frame.
    fn due(&self) -> Instant {
        let due = match (self.has_input, self.has_change) {
            (true, _) => self.quota_end.checked_sub(FRAME_INTERVAL).unwrap_or(self.drawn_at),
            (false, true) => self.drawn_at + REFRESH_INTERVAL.max(self.draw_time * SHARE),
            (false, false) => self.drawn_at + IDLE_INTERVAL,
        };
        due.max(self.busy_until)
    }

    fn draw(&mut self, table: &ConnectionTable) -> io::Result<()> {
        let start = Instant::now();
        self.state.settle(table, (self.channels.now)());
        for question in self.state.asks() {
            // The thread that answers may have ended: then no answer comes.
            let _ = self.channels.asks.send(question);
        }
        let frame = frame(&self.state, self.state.size());
        self.draw_time = start.elapsed();
        match self.channels.frames.try_send(frame) {
            Ok(()) => {
                (self.has_input, self.has_change, self.drawn_at) = (false, false, start);
                self.quota_end = self.quota_end.max(start) + FRAME_INTERVAL;
                Ok(())
            }
            Err(TrySendError::Full(_)) => {
                self.busy_until = Instant::now() + BUSY_RETRY.max(self.draw_time * SHARE);
                Ok(())
            }
            Err(TrySendError::Disconnected(_)) => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }
}

impl View for TopView {
    fn change(&mut self, change: &Change<'_>) -> io::Result<bool> {
        self.state.change(change);
        self.has_change |= !matches!(change, Change::Anchor(_) | Change::Reconciled { .. });
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
