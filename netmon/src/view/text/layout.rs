//! The layout of lines: columns as wide as their contents, and no line wider than the terminal.
//!
//! Columns begin with usual widths, and grow with their contents. On a terminal that is too narrow,
//! columns fold in the order of [`Fold`]s, so that addresses are cut only if nothing else helps. A
//! pipe has no width: nothing folds, and nothing is cut.

use std::borrow::Cow;

use unicode_width::UnicodeWidthChar;

use super::width::{Sequences, columns, columns_of, shown_columns};
use crate::view::palette::{Palette, Tone};

/// The content of a column, which decides about its alignment and about the place of a cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::view) enum Form {
    /// At the right of the column; cut at the end.
    Number,
    /// At the left of the column; cut at the end.
    Text,
    /// At the left of the column; cut in the middle of the part before the port.
    Address,
}

/// A column.
#[derive(Clone, Debug)]
pub(in crate::view) struct Column {
    heading: Cow<'static, str>,
    /// The heading where the whole one is too wide; the first word if none.
    short: Option<&'static str>,
    form: Form,
    /// The width that the contents so far take; 0 for a column that the view does not have.
    wanted: usize,
    /// The present width; 0 while the column is folded away.
    width: usize,
}

impl Column {
    /// Makes a column of a usual width; 0 for a column that the view does not have.
    pub(in crate::view) fn new(
        heading: impl Into<Cow<'static, str>>,
        form: Form,
        wanted: usize,
    ) -> Self {
        Self { heading: heading.into(), short: None, form, wanted, width: wanted }
    }
}

/// A step that makes lines narrower. The first element is the number of the column.
#[derive(Clone, Copy, Debug)]
pub(in crate::view) enum Fold {
    /// The column is left out.
    Hide(usize),
    /// The column gets this width, for a form of its contents that has no other width.
    Shorten(usize, usize),
    /// The column gets as narrow as necessary, down to this width.
    Shrink(usize, usize),
}

/// Columns grow by steps of this width: with single columns, a stream would change its widths too
/// often.
const STEP: usize = 4;
/// The widest column: an IPv6 address with its port. Wider contents take more room in a pipe, and
/// are cut on a terminal.
const WIDEST: usize = 48;
/// The least room at the end of a line in which the rest of the line begins. With less room, the
/// rest begins on a line of its own.
const ROOM: usize = 28;
/// The most spaces at the beginning of a line that continues another.
const INDENT: usize = 9;

/// The columns of a view.
#[derive(Clone, Debug)]
pub(in crate::view) struct Layout<const N: usize> {
    columns: [Column; N],
    folds: &'static [Fold],
    terminal: Option<usize>,
    palette: Palette,
    /// The first column that is shown.
    first: usize,
    /// Columns grow by steps of this width; 0 for columns that keep their widths.
    step: usize,
    /// A cell was wider than its column.
    has_grown: bool,
}

impl<const N: usize> Layout<N> {
    /// Makes a layout for a terminal of the width `terminal`; without a width, for a pipe.
    pub(in crate::view) fn new(
        terminal: Option<usize>,
        palette: Palette,
        columns: [Column; N],
        folds: &'static [Fold],
    ) -> Self {
        let (first, step, has_grown) = (0, STEP, false);
        let mut layout = Self { columns, folds, terminal, palette, first, step, has_grown };
        layout.fit();
        layout
    }

    /// Makes a layout that only measures rows, until [`Self::settle`].
    pub(in crate::view) fn measuring(
        palette: Palette,
        columns: [Column; N],
        folds: &'static [Fold],
    ) -> Self {
        Self { step: 1, ..Self::new(None, palette, columns, folds) }
    }

    /// Sets the heading of a column where the whole heading is too wide.
    pub(in crate::view) fn shorten(&mut self, column: usize, short: &'static str) {
        self.columns[column].short = Some(short);
    }

    /// Takes a column away, which the view then does not have.
    pub(in crate::view) fn remove(&mut self, column: usize) {
        (self.columns[column].wanted, self.columns[column].width) = (0, 0);
    }

    /// Ends the measurement: columns are as wide as the rows so far need. Columns keep these widths
    /// unless the layout `grows`.
    pub(in crate::view) fn settle(&mut self, terminal: Option<usize>, grows: bool) {
        (self.terminal, self.step) = (terminal, if grows { STEP } else { 0 });
        self.fit();
    }

    pub(in crate::view) const fn terminal(&self) -> Option<usize> {
        self.terminal
    }

    /// Returns the width of a column; 0 if the column is not shown.
    pub(in crate::view) const fn width(&self, column: usize) -> usize {
        self.columns[column].width
    }

    /// Returns whether the view has the column, but no room for the column.
    pub(in crate::view) const fn is_folded(&self, column: usize) -> bool {
        self.columns[column].wanted > 0 && self.columns[column].width == 0
    }

    /// Sets the width of each column.
    fn fit(&mut self) {
        for column in &mut self.columns {
            column.width = column.wanted;
        }
        if let Some(terminal) = self.terminal {
            self.fold(terminal);
        }
        self.first = self.columns.iter().position(|column| column.width > 0).unwrap_or(0);
    }

    fn fold(&mut self, terminal: usize) {
        let folds = self.folds.iter().copied();
        // Every other column shrinks after that, and the last columns go.
        let last = (0..N).rev();
        let last = last.clone().map(|at| Fold::Shrink(at, 1)).chain(last.map(Fold::Hide));
        for fold in folds.chain(last) {
            let shown = self.columns.iter().filter(|column| column.width > 0);
            let taken = shown.map(|column| column.width + 1).sum::<usize>().saturating_sub(1);
            let excess = taken.saturating_sub(terminal);
            if excess == 0 {
                return;
            }
            match fold {
                Fold::Hide(at) => self.columns[at].width = 0,
                Fold::Shorten(at, width) => {
                    self.columns[at].width = self.columns[at].width.min(width);
                }
                Fold::Shrink(at, least) => {
                    let width = &mut self.columns[at].width;
                    *width = (*width).min(least.max(width.saturating_sub(excess)));
                }
            }
        }
    }

    /// Writes the headings, and `rest` over the rest of the lines.
    pub(in crate::view) fn heading(&mut self, out: &mut Vec<u8>, rest: &str) {
        let start = out.len();
        for at in 0..N {
            let Column { heading, short, width, .. } = self.columns[at].clone();
            let short = if columns(&heading) > width { short } else { Some(&*heading) };
            let heading = short.or(heading.split(' ').next()).unwrap_or_default();
            self.cell(out, at, Tone::Heading, |out| out.extend_from_slice(heading.as_bytes()));
        }
        let free = out.len();
        let shown = shown_columns(&out[start..]) + columns(rest);
        if !rest.is_empty() && self.terminal.is_none_or(|terminal| shown <= terminal) {
            self.palette.put(out, Tone::Heading, |out| out.extend_from_slice(rest.as_bytes()));
        }
        self.end(out, start, free);
    }

    /// Writes a cell, and a space before all cells but the first.
    #[inline]
    pub(in crate::view) fn cell(
        &mut self,
        out: &mut Vec<u8>,
        at: usize,
        tone: Tone,
        put: impl FnOnce(&mut Vec<u8>),
    ) {
        let Column { width, form, .. } = self.columns[at];
        if width == 0 {
            return;
        }
        if at != self.first {
            out.push(b' ');
        }
        let (on, off) = self.palette.around(tone);
        let begin = out.len();
        out.extend_from_slice(on.as_bytes());
        let start = out.len();
        put(out);
        let mut used = columns_of(&out[start..]);
        if used > width {
            used = self.overflow(out, start, at, used);
        }
        out.extend_from_slice(off.as_bytes());
        if used < width {
            out.resize(out.len() + width - used, b' ');
            if form == Form::Number {
                out[begin..].rotate_right(width - used);
            }
        }
    }

    /// Takes note of a cell that is too wide, and cuts the cell on a terminal. Returns the width of
    /// the cell.
    #[cold]
    fn overflow(&mut self, out: &mut Vec<u8>, start: usize, at: usize, used: usize) -> usize {
        let Column { wanted, width, form, .. } = &mut self.columns[at];
        if self.step > 0 && used > *wanted && *wanted < WIDEST {
            *wanted = used.next_multiple_of(self.step).min(WIDEST);
            self.has_grown = true;
        }
        if self.terminal.is_none() {
            return used;
        }
        let text = out.split_off(start);
        out.extend(cut(&String::from_utf8_lossy(&text), *width, *form).bytes());
        columns_of(&out[start..])
    }

    /// Writes a row of a stream with `write`, and writes the row again if the row widens a column.
    /// On a terminal, the headings come again then.
    pub(in crate::view) fn row(
        &mut self,
        out: &mut Vec<u8>,
        rest: &str,
        mut write: impl FnMut(&mut Self, &mut Vec<u8>),
    ) {
        let start = out.len();
        write(self, out);
        if !std::mem::take(&mut self.has_grown) {
            return;
        }
        let before = self.columns.each_ref().map(|column| column.width);
        self.fit();
        if self.columns.each_ref().map(|column| column.width) == before {
            return;
        }
        out.truncate(start);
        if self.terminal.is_some() && !rest.is_empty() {
            self.heading(out, rest);
        }
        write(self, out);
        self.has_grown = false;
    }

    /// Ends the line that begins at `start`. On a terminal, the text from `free` on continues on
    /// lines of its own where the line is too long.
    #[inline]
    pub(in crate::view) fn end(&self, out: &mut Vec<u8>, start: usize, free: usize) {
        if let Some(terminal) = self.terminal
            && shown_columns(&out[start..]) > terminal
        {
            let text = out.split_off(free);
            wrap(out, start, &String::from_utf8_lossy(&text), terminal);
        }
        end_line(out);
    }
}

/// Appends `text` to the line that begins at `start`. Breaks the text at spaces, and within words
/// that are wider than a line.
fn wrap(out: &mut Vec<u8>, start: usize, text: &str, terminal: usize) {
    let mut used = shown_columns(&out[start..]);
    let indent = INDENT.min(terminal / 4);
    let mut space = text.len() - text.trim_start_matches(' ').len();
    let line = |out: &mut Vec<u8>, used: &mut usize, space: &mut usize| {
        trim(out);
        out.push(b'\n');
        out.resize(out.len() + indent, b' ');
        (*used, *space) = (indent, 0);
    };
    let has_room = used == 0 || used + ROOM <= terminal;
    if !has_room && !text.trim_start_matches(' ').is_empty() {
        line(out, &mut used, &mut space);
    }
    for word in text.split(' ').filter(|word| !word.is_empty()) {
        if used > indent && used + space + shown_columns(word.as_bytes()) > terminal {
            line(out, &mut used, &mut space);
        }
        out.resize(out.len() + space, b' ');
        used += space;
        let mut sequences = Sequences::default();
        for c in word.chars() {
            let width = if sequences.has(c) { 0 } else { c.width().unwrap_or(0) };
            if used + width > terminal && used > indent {
                line(out, &mut used, &mut space);
            }
            // Not even one such character fits a terminal of one column.
            if used + width <= terminal {
                out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                used += width;
            }
        }
        space = 1;
    }
}

/// Returns the text in `width` columns, with `…` in place of what is cut.
pub(in crate::view) fn cut(text: &str, width: usize, form: Form) -> String {
    if columns(text) <= width {
        return text.to_owned();
    }
    if width == 0 {
        return String::new();
    }
    // The port stays, and half of the rest at each end.
    let port = if form == Form::Address { text.rfind(':').unwrap_or(text.len()) } else { 0 };
    let (host, port) = if port == 0 { (text, "") } else { text.split_at(port) };
    let Some(room) = width.checked_sub(columns(port) + 1) else {
        return cut(text, width, Form::Text);
    };
    let tail = if port.is_empty() { 0 } else { room / 2 };
    let head = prefix(host, room - tail);
    let tail = suffix(host, tail);
    format!("{head}…{tail}{port}")
}

/// Returns the longest beginning of the text that takes up to `width` columns.
fn prefix(text: &str, width: usize) -> &str {
    let mut used = 0;
    let fits = |(_, c): &(usize, char)| {
        used += c.width().unwrap_or(0);
        used > width
    };
    text.char_indices().find(fits).map_or(text, |(at, _)| &text[..at])
}

/// Returns the longest end of the text that takes up to `width` columns.
fn suffix(text: &str, width: usize) -> &str {
    let mut used = 0;
    let fits = |(_, c): &(usize, char)| {
        used += c.width().unwrap_or(0);
        used > width
    };
    let end = text.char_indices().rev().find(fits);
    end.map_or(text, |(at, c)| &text[at + c.len_utf8()..])
}

fn trim(out: &mut Vec<u8>) {
    while out.last() == Some(&b' ') {
        out.pop();
    }
}

/// Ends a line, without spaces at its end.
#[inline]
pub(in crate::view) fn end_line(out: &mut Vec<u8>) {
    trim(out);
    out.push(b'\n');
}
