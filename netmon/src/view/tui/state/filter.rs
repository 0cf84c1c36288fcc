//! The filter, and the line in which it is written.

use ratatui::crossterm::event::Event;

use super::{Mode, ScreenState};
use crate::{
    core::filter::FilterError,
    view::tui::{keys::Written, time_travel::Jump},
};

impl ScreenState {
    /// Returns whether the filter may leave connections out.
    pub(in crate::view::tui) fn is_filtered(&self) -> bool {
        !self.filter_text.trim().is_empty()
    }

    pub(super) fn edit_filter(&mut self, event: &Event) {
        let Mode::Filter(line, error) = &mut self.mode else { return };
        match line.take(event) {
            Written::More => *error = None,
            Written::Cancelled => self.mode = Mode::List,
            Written::Done => {
                let text = std::mem::take(&mut line.text);
                match self.set_filter(&text) {
                    Ok(()) => self.mode = Mode::List,
                    Err(wrong) => {
                        if let Mode::Filter(line, error) = &mut self.mode {
                            (line.text, *error) = (text, Some(wrong));
                        }
                    }
                }
            }
        }
    }

    pub(super) fn clear_filter(&mut self) {
        if self.is_filtered() {
            // The empty filter is a filter.
            let _ = self.set_filter("");
        }
    }

    fn set_filter(&mut self, text: &str) -> Result<(), FilterError> {
        self.filter = (self.options.parse)(text)?;
        text.clone_into(&mut self.filter_text);
        // What was counted and kept before passed the filter before.
        self.live.forget_filtered();
        self.live.flows.group(self.settings.group);
        if let Some(frozen) = &mut self.frozen {
            frozen.latest.clear();
        }
        self.select_first();
        if self.past.is_some() {
            self.jump(Jump::Seconds(0));
        }
        Ok(())
    }
}
