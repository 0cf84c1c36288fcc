//! The terminal: taken over, and given back as it was, whatever happens.

use std::{
    io::{self, Stdout, stdout},
    panic, process,
    sync::{
        Once,
        atomic::{AtomicBool, Ordering},
        mpsc::Receiver,
    },
    thread,
    time::Duration,
};

use ratatui::{
    Terminal,
    backend::CrosstermBackend,
    crossterm::{
        cursor::Show,
        event::{DisableMouseCapture, EnableMouseCapture, Event, MouseEventKind, poll, read},
        execute,
        terminal::{
            EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode, size,
        },
    },
};
use tokio::sync::mpsc::Sender;

use super::{Buffer, ScreenInput};

/// The name of the thread on which a panic does not end the program. The thread reads files that
/// may be corrupt and catches the panics that such files lead to. Nothing depends on the thread.
pub(crate) const PANIC_EXEMPT_THREAD: &str = "netmon:answers";
/// The exit status that Rust gives a program that has panicked.
const PANIC_STATUS: i32 = 101;

/// A terminal that is taken over until the guard is dropped.
#[derive(Debug)]
pub struct TerminalGuard(());

impl TerminalGuard {
    /// Takes the terminal over.
    ///
    /// From here on, a panic on any thread but `PANIC_EXEMPT_THREAD` gives the terminal back and
    /// ends the program: the message of a panic would be lost on a screen that is drawn over.
    ///
    /// # Errors
    /// An error if there is no terminal.
    pub fn new() -> io::Result<Self> {
        static HOOK: Once = Once::new();
        HOOK.call_once(|| {
            let previous = panic::take_hook();
            panic::set_hook(Box::new(move |info| {
                if thread::current().name() == Some(PANIC_EXEMPT_THREAD) {
                    return previous(info);
                }
                give_back();
                previous(info);
                process::exit(PANIC_STATUS);
            }));
        });
        IS_BACK.store(false, Ordering::Relaxed);
        enable_raw_mode()?;
        let guard = Self(());
        execute!(stdout(), EnterAlternateScreen, EnableMouseCapture)?;
        Ok(guard)
    }
}

impl Drop for TerminalGuard {
    fn drop(&mut self) {
        give_back();
    }
}

/// The terminal was given back: nothing is drawn on it any more.
static IS_BACK: AtomicBool = AtomicBool::new(false);

/// Gives the terminal back; does no harm if the terminal is not taken over.
pub(crate) fn give_back() {
    IS_BACK.store(true, Ordering::Relaxed);
    // No reader is left for an error.
    let _ = execute!(stdout(), DisableMouseCapture, LeaveAlternateScreen, Show);
    let _ = disable_raw_mode();
}

/// Shows frames as they come, until there are no more or the terminal is gone.
///
/// # Errors
/// The error of the terminal.
#[expect(
    clippy::needless_pass_by_value,
    reason = "the sender of frames learns from the drop that there is no terminal"
)]
pub(crate) fn show(frames: Receiver<Buffer>) -> io::Result<()> {
    let mut terminal: Terminal<CrosstermBackend<Stdout>> =
        Terminal::new(CrosstermBackend::new(stdout()))?;
    for frame in &frames {
        if IS_BACK.load(Ordering::Relaxed) {
            break;
        }
        terminal.draw(|target| {
            // A frame of another size was drawn before the terminal was resized; the next is not.
            if target.area() == frame.area {
                *target.buffer_mut() = frame;
            }
        })?;
    }
    Ok(())
}

/// Sends the size of the terminal, then each of its events, until the receiver or the terminal is
/// gone.
#[expect(
    clippy::needless_pass_by_value,
    reason = "the receiver of events learns from the drop that there is no terminal"
)]
pub(crate) fn listen(to: Sender<ScreenInput>) {
    // From here on crossterm reports changes of the size; until now it did not.
    let _ = poll(Duration::ZERO);
    if let Ok((width, height)) = size()
        && width > 0
        && to.blocking_send(ScreenInput::Event(Event::Resize(width, height))).is_err()
    {
        return;
    }
    while let Ok(event) = read() {
        // A mouse that moves has no meaning here, and its events are many.
        let is_idle = |kind| {
            matches!(kind, MouseEventKind::Moved | MouseEventKind::Drag(_) | MouseEventKind::Up(_))
        };
        if matches!(event, Event::Mouse(mouse) if is_idle(mouse.kind)) {
            continue;
        }
        if to.blocking_send(ScreenInput::Event(event)).is_err() {
            break;
        }
    }
}
