//! The meaning of keys and clicks.

use ratatui::crossterm::event::{
    Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers, MouseButton, MouseEvent, MouseEventKind,
};

/// The meaning of a key or a click.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum KeyMeaning {
    Quit,
    /// Back to the list.
    Back,
    Help,
    Enter,
    /// Moves the selection by this number of rows.
    Move(isize),
    /// Moves the selection by this number of screens.
    Page(isize),
    Top,
    /// The last row; in the past, back to now.
    End,
    Filter,
    /// Holds the list still, or lets it go on.
    Freeze,
    Sort,
    Reverse,
    /// The choice of columns.
    Columns,
    /// Scrolls the columns: to the right if true.
    Scroll(bool),
    Group,
    Numeric,
    /// Moves through the past by this number of seconds.
    Seconds(i64),
    /// To a moment that is typed.
    Time,
    /// To the next event if true, to the event before if false.
    Event(bool),
    /// A click at a column and a row of the screen.
    Click(u16, u16),
}

/// The rows that one turn of the wheel moves by.
const WHEEL: isize = 3;

/// Returns the meaning of a key or a click, while no text is being written.
pub(super) fn meaning(event: &Event) -> Option<KeyMeaning> {
    match event {
        Event::Key(key) if key.kind != KeyEventKind::Release => of_key(*key),
        // With Shift, a terminal that takes the mouse for itself lets a person choose text to copy.
        Event::Mouse(mouse) if mouse.modifiers.contains(KeyModifiers::SHIFT) => None,
        Event::Mouse(MouseEvent { kind, column, row, .. }) => match kind {
            MouseEventKind::Down(MouseButton::Left) => Some(KeyMeaning::Click(*column, *row)),
            MouseEventKind::ScrollDown => Some(KeyMeaning::Move(WHEEL)),
            MouseEventKind::ScrollUp => Some(KeyMeaning::Move(-WHEEL)),
            _ => None,
        },
        _ => None,
    }
}

/// Returns the meaning of a key, as in htop and less.
fn of_key(key: KeyEvent) -> Option<KeyMeaning> {
    let is_control = key.modifiers.contains(KeyModifiers::CONTROL);
    let is_shift = key.modifiers.contains(KeyModifiers::SHIFT);
    Some(match key.code {
        KeyCode::Char('c') if is_control => KeyMeaning::Quit,
        KeyCode::Char('f') if is_control => KeyMeaning::Page(1),
        KeyCode::Char('b') if is_control => KeyMeaning::Page(-1),
        KeyCode::Char(_) if is_control => return None,
        KeyCode::Char('q') | KeyCode::F(10) => KeyMeaning::Quit,
        KeyCode::Char('?' | 'h') | KeyCode::F(1) => KeyMeaning::Help,
        KeyCode::Char('/') | KeyCode::F(4) => KeyMeaning::Filter,
        KeyCode::Char('s') | KeyCode::F(6) => KeyMeaning::Sort,
        KeyCode::Char('S') => KeyMeaning::Reverse,
        KeyCode::Char('c') | KeyCode::F(2) => KeyMeaning::Columns,
        KeyCode::Char('<') => KeyMeaning::Scroll(false),
        KeyCode::Char('>') => KeyMeaning::Scroll(true),
        KeyCode::Char('g') => KeyMeaning::Group,
        KeyCode::Char(' ') => KeyMeaning::Freeze,
        KeyCode::Char('n') => KeyMeaning::Numeric,
        KeyCode::Char('[') => KeyMeaning::Seconds(-60),
        KeyCode::Char(']') => KeyMeaning::Seconds(60),
        KeyCode::Char('t') => KeyMeaning::Time,
        KeyCode::Char(',') => KeyMeaning::Event(false),
        KeyCode::Char('.') => KeyMeaning::Event(true),
        KeyCode::Left if is_shift => KeyMeaning::Seconds(-60),
        KeyCode::Right if is_shift => KeyMeaning::Seconds(60),
        KeyCode::Left => KeyMeaning::Seconds(-1),
        KeyCode::Right => KeyMeaning::Seconds(1),
        KeyCode::Up | KeyCode::Char('k') => KeyMeaning::Move(-1),
        KeyCode::Down | KeyCode::Char('j') => KeyMeaning::Move(1),
        KeyCode::PageUp => KeyMeaning::Page(-1),
        KeyCode::PageDown => KeyMeaning::Page(1),
        KeyCode::Home => KeyMeaning::Top,
        KeyCode::End | KeyCode::Char('G') => KeyMeaning::End,
        KeyCode::Enter | KeyCode::Char('+') => KeyMeaning::Enter,
        KeyCode::Esc | KeyCode::Backspace => KeyMeaning::Back,
        _ => return None,
    })
}

/// A line that is being written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct LineEditor {
    pub(super) text: String,
    /// Characters before the cursor.
    pub(super) at: usize,
}

/// The effect of a key on a line that is being written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Written {
    More,
    Done,
    Cancelled,
}

/// The most characters of a line: no filter is as long.
const LONGEST: usize = 1000;

impl LineEditor {
    pub(super) fn new(text: String) -> Self {
        Self { at: text.chars().count(), text }
    }

    pub(super) fn take(&mut self, event: &Event) -> Written {
        let Event::Key(key) = event else { return Written::More };
        if key.kind == KeyEventKind::Release {
            return Written::More;
        }
        let count = self.text.chars().count();
        let byte = |at| self.text.char_indices().nth(at).map_or(self.text.len(), |(byte, _)| byte);
        match key.code {
            KeyCode::Enter => return Written::Done,
            KeyCode::Esc => return Written::Cancelled,
            KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => {
                return Written::Cancelled;
            }
            KeyCode::Char('u') if key.modifiers.contains(KeyModifiers::CONTROL) => {
                *self = Self::default();
            }
            KeyCode::Char(_) if key.modifiers.contains(KeyModifiers::CONTROL) => {}
            KeyCode::Char(c) if count < LONGEST => {
                self.text.insert(byte(self.at), c);
                self.at += 1;
            }
            KeyCode::Backspace if self.at > 0 => {
                self.at -= 1;
                self.text.remove(byte(self.at));
            }
            KeyCode::Delete if self.at < count => {
                self.text.remove(byte(self.at));
            }
            KeyCode::Left => self.at = self.at.saturating_sub(1),
            KeyCode::Right => self.at = (self.at + 1).min(count),
            KeyCode::Home => self.at = 0,
            KeyCode::End => self.at = count,
            _ => {}
        }
        Written::More
    }
}
