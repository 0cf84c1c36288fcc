//! The filter, and the line in which it is written.

use ratatui::crossterm::event::Event;

use super::{Mode, ScreenState};
use crate::{
    core::filter::{Filter, FilterError},
    view::tui::{
        keys::Written,
        time_travel::{Jump, ScreenQuery},
    },
};

impl ScreenState {
    /// Returns whether the filter may leave connections out.
    pub(in crate::view::tui) fn is_filtered(&self) -> bool {
        !self.filter_text.trim().is_empty()
    }

    pub(super) fn edit_filter(&mut self, event: &Event) {
        let Mode::Filter(line, error) = &mut self.mode else { return };
        match line.take(event) {
            Written::More => {
                *error = None;
                // Another text needs no answer about this one.
                self.resolving.take_if(|text| *text != line.text);
            }
            Written::Cancelled => (self.mode, self.resolving) = (Mode::List, None),
            Written::Done => {
                let text = line.text.clone();
                match (self.options.parse)(&text) {
                    Some(filter) => self.take_filter(text, filter),
                    None if self.resolving.as_ref() == Some(&text) => {}
                    None => {
                        self.questions.push(ScreenQuery::Filter(text.clone()));
                        self.resolving = Some(text);
                    }
                }
            }
        }
    }

    /// Takes the filter for a text with names that were looked up, if it is still waited for.
    pub(super) fn answer_filter(&mut self, text: String, filter: Result<Filter, FilterError>) {
        if self.resolving.take_if(|waiting| *waiting == text).is_some() {
            self.take_filter(text, filter);
        }
    }

    pub(super) fn clear_filter(&mut self) {
        if self.is_filtered() {
            self.set_filter(String::new(), Filter::default());
        }
    }

    /// Takes what was read from the text that is being written: a filter, or an error.
    fn take_filter(&mut self, text: String, filter: Result<Filter, FilterError>) {
        match (filter, &mut self.mode) {
            (Ok(filter), _) => {
                self.mode = Mode::List;
                self.set_filter(text, filter);
            }
            (Err(wrong), Mode::Filter(_, error)) => *error = Some(wrong),
            (Err(_), _) => {}
        }
    }

    fn set_filter(&mut self, text: String, filter: Filter) {
        (self.filter, self.filter_text) = (filter, text);
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
    }
}
