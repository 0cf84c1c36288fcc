//! Jumps through the past, and the hour around the moment of the past.

use ratatui::crossterm::event::Event;

use super::{Mode, ScreenState};
use crate::view::tui::{
    keys::{LineEditor, Written},
    time_travel::{Jump, ScreenAnswer, ScreenQuery, Timeline, hour_of},
};

/// The most jumps that wait for an answer; a key that is held makes more.
const PENDING: usize = 8;

impl ScreenState {
    pub(super) fn jump(&mut self, jump: Jump) {
        if !self.has_past_or_reports() {
            return;
        }
        if self.is_waiting {
            return self.jump_later(jump);
        }
        let from = match &self.past {
            Some(past) => past.at.wall,
            // From the present, the only way is back.
            None if !matches!(jump, Jump::Previous | Jump::Seconds(..0) | Jump::To(_)) => return,
            None => self.live.anchor.wall_time(self.now),
        };
        self.is_waiting = true;
        self.questions.push(ScreenQuery::Past(from, jump, Box::new(self.filter.clone())));
    }

    /// Jumps once the answer is there. Seconds add up, as when a key is held.
    fn jump_later(&mut self, jump: Jump) {
        if let (Some(Jump::Seconds(before)), Jump::Seconds(more)) = (self.pending.back_mut(), jump)
        {
            *before = before.saturating_add(more);
        } else if self.pending.len() < PENDING {
            self.pending.push_back(jump);
        }
    }

    fn has_past_or_reports(&mut self) -> bool {
        if !self.options.past {
            self.show_message(
                "there is no past without a journal: `netmon record` keeps one, --journal names it",
            );
        }
        self.options.past
    }

    /// Takes an answer about the past.
    pub(super) fn answer_past(&mut self, answer: ScreenAnswer) {
        // After a return to now, nothing waits for the answer any more.
        if !std::mem::take(&mut self.is_waiting) {
            return;
        }
        match answer {
            ScreenAnswer::Past(moment) => {
                (self.message, self.frozen) = (None, None);
                self.past = Some(moment);
                self.ask_timeline();
                if let Some(jump) = self.pending.pop_front() {
                    self.jump(jump);
                }
            }
            ScreenAnswer::Nowhere(why) => {
                self.pending.clear();
                self.show_message(why);
            }
            _ => {}
        }
    }

    /// Asks for the changes of the hour around the moment, unless they are there.
    fn ask_timeline(&mut self) {
        let Some(past) = &self.past else { return };
        let at = past.at.wall;
        if self.timeline.as_ref().is_none_or(|timeline| !timeline.span.contains(at)) {
            let span = hour_of(at, past.coverage);
            self.timeline = Some(Timeline { span, counts: Vec::new(), gaps: Vec::new() });
            self.questions.push(ScreenQuery::Timeline(span));
        }
    }

    pub(super) fn ask_time(&mut self) {
        if self.has_past_or_reports() {
            self.mode = Mode::Time(LineEditor::default(), None);
        }
    }

    pub(super) fn edit_time(&mut self, event: &Event) {
        let Mode::Time(line, error) = &mut self.mode else { return };
        match line.take(event) {
            Written::More => *error = None,
            Written::Cancelled => self.mode = Mode::List,
            Written::Done => match (self.options.moment)(&line.text) {
                Ok(moment) => {
                    self.mode = Mode::List;
                    self.jump(Jump::To(moment));
                }
                Err(wrong) => *error = Some(wrong),
            },
        }
    }
}
