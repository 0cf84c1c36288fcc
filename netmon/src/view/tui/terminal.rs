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

/// The thread that a panic does not end the program on: it reads files that may be corrupt, catches what that leads
/// to, and nothing depends on it.
pub const PANIC_EXEMPT_THREAD: &str = "netmon:answers";
/// What a program ends with that has panicked, as Rust has it.
const PANICKED: i32 = 101;

/// A terminal that is taken over as long as this lives.
#[derive(Debug)]
pub struct TerminalGuard(());

impl TerminalGuard {
    /// Takes the terminal over. From here on a panic, on any thread but [`PANIC_EXEMPT_THREAD`], gives it back and ends the program: what a
    /// panic says would be lost on a screen that is drawn over.
    ///
    /// # Errors
    /// When there is no terminal.
    pub fn new() -> io::Result<Self> {
        static HOOKED: Once = Once::new();
        HOOKED.call_once(|| {
            let before = panic::take_hook();
            panic::set_hook(Box::new(move |info| {
                if thread::current().name() == Some(PANIC_EXEMPT_THREAD) {
                    return before(info);
                }
                give_back();
                before(info);
                process::exit(PANICKED);
            }));
        });
        IS_BACK.store(false, Ordering::Relaxed);
        enable_raw_mode()?;
        let taken = Self(());
        execute!(stdout(), EnterAlternateScreen, EnableMouseCapture)?;
        Ok(taken)
    }
}

impl Drop for TerminalGuard {
    fn drop(&mut self) {
        give_back();
    }
}

/// The terminal was given back: nothing is drawn on it any more.
static IS_BACK: AtomicBool = AtomicBool::new(false);

/// Gives the terminal back; no harm where it is not taken.
pub fn give_back() {
    IS_BACK.store(true, Ordering::Relaxed);
    // There is nobody to tell.
    let _ = execute!(stdout(), DisableMouseCapture, LeaveAlternateScreen, Show);
    let _ = disable_raw_mode();
}

/// Shows frames as they come, until there are no more or the terminal is gone.
///
/// # Errors
/// What the terminal answered.
#[expect(
    clippy::needless_pass_by_value,
    reason = "whoever sends frames learns from its end that there is no terminal"
)]
pub fn show(frames: Receiver<Buffer>) -> io::Result<()> {
    let mut terminal: Terminal<CrosstermBackend<Stdout>> =
        Terminal::new(CrosstermBackend::new(stdout()))?;
    for frame in &frames {
        if IS_BACK.load(Ordering::Relaxed) {
            break;
        }
        terminal.draw(|target| {
            // One of another size is of before the terminal was resized: the next one is not.
            if target.area() == frame.area {
                *target.buffer_mut() = frame;
            }
        })?;
    }
    Ok(())
}

/// Hands over what a person does, first how large the terminal is, until there is nobody to take it or the terminal is gone.
#[expect(
    clippy::needless_pass_by_value,
    reason = "whoever takes them learns from its end that there is no terminal"
)]
pub fn listen(to: Sender<ScreenInput>) {
    // From here on it is told when the size changes; until now it was not.
    let _ = poll(Duration::ZERO);
    if let Ok((width, height)) = size()
        && width > 0
        && to.blocking_send(ScreenInput::Event(Event::Resize(width, height))).is_err()
    {
        return;
    }
    while let Ok(event) = read() {
        // A mouse that moves is no news, and there is much of it.
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
