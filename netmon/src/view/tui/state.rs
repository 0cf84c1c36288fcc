//! The state of the screen, and the effect of keys on the state. The state has no clock, does not
//! wait, and draws nothing.

mod inspect;
mod mouse;
mod names;

use jiff::tz::TimeZone;
use ratatui::{crossterm::event::Event, layout::Size};
use rustc_hash::{FxHashMap, FxHashSet};

use super::{
    activity::Activity,
    groups::{self, GroupBy},
    keys::{KeyMeaning, LineEditor, Written, meaning},
    rows::{List, Query, Row, SortColumn, counts, list},
    time_travel::{Jump, NameQuery, PastFrame, ScreenAnswer, ScreenQuery},
};
use crate::core::{
    change::Change,
    filter::{Filter, FilterError},
    id::ConnectionId,
    loss::Gap,
    services::Services,
    table::ConnectionTable,
    time::{Mono, Wall},
};
pub(super) use inspect::Detail;

/// A function that reads a filter.
pub(crate) type Parse = Box<dyn Fn(&str) -> Result<Filter, FilterError>>;

/// The options that the screen begins with.
pub struct ScreenOptions {
    /// The name of the host.
    pub host: String,
    /// The filter, as it was written.
    pub filter: String,
    /// The function that reads this filter, and others.
    pub parse: Parse,
    /// Names of ports.
    pub services: Services,
    /// Ports are shown as numbers.
    pub numeric: bool,
    /// The zone of times.
    pub zone: TimeZone,
    /// Colours may be used; nothing is shown by colour alone.
    pub colour: bool,
    /// There is a journal to go back in.
    pub past: bool,
    /// Only the past is shown, from this moment on.
    pub at: Option<Wall>,
}

/// The mode of the screen.
#[derive(Debug)]
pub(super) enum Mode {
    List,
    /// A filter is being written.
    Filter(LineEditor, Option<FilterError>),
    Detail(ConnectionId),
    Help,
}

/// The state of the screen.
pub struct ScreenState {
    pub(super) options: ScreenOptions,
    pub(super) size: Size,
    pub(super) mode: Mode,
    pub(super) filter: Filter,
    pub(super) filter_text: String,
    pub(super) sort: SortColumn,
    pub(super) reversed: bool,
    pub(super) group: Option<GroupBy>,
    expanded: FxHashSet<groups::GroupKey>,
    follow: Option<ConnectionId>,
    live: Activity,
    pub(super) past: Option<Box<PastFrame>>,
    questions: Vec<ScreenQuery>,
    /// Names of users and cgroups; none from the question until the answer comes.
    names: FxHashMap<NameQuery, Option<String>>,
    /// An answer about the past is on its way.
    is_waiting: bool,
    /// The time of the last question about the connection in the detail view.
    inspected_at: Option<Mono>,
    pub(super) message: Option<String>,
    is_over: bool,
    /// The visible rows at the time `now`.
    pub(super) list: List,
    pub(super) detail: Option<Detail>,
    pub(super) now: Mono,
}

impl ScreenState {
    /// Begins without a connection, on a screen of `size`.
    ///
    /// # Errors
    /// The error of the filter.
    pub fn new(options: ScreenOptions, size: Size) -> Result<Self, FilterError> {
        let filter = (options.parse)(&options.filter)?;
        let first =
            options.at.map(|at| ScreenQuery::Past(at, Jump::Seconds(0), Box::new(filter.clone())));
        Ok(Self {
            filter_text: options.filter.clone(),
            options,
            size,
            mode: Mode::List,
            filter,
            sort: SortColumn::InState,
            reversed: false,
            group: None,
            expanded: FxHashSet::default(),
            follow: None,
            live: Activity::default(),
            past: None,
            is_waiting: first.is_some(),
            questions: first.into_iter().collect(),
            names: FxHashMap::default(),
            inspected_at: None,
            message: None,
            is_over: false,
            list: List::default(),
            detail: None,
            now: Mono::BOOT,
        })
    }

    /// Returns whether there is a journal to go back in.
    #[must_use]
    pub fn has_past(&self) -> bool {
        self.options.past
    }

    /// Returns the columns and lines of the screen.
    #[must_use]
    pub fn size(&self) -> Size {
        self.size
    }

    /// Returns whether a person has quit.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.is_over
    }

    /// Returns the questions that were not returned before.
    pub fn asks(&mut self) -> Vec<ScreenQuery> {
        std::mem::take(&mut self.questions)
    }

    /// Returns the time at which the screen changes even without an event.
    #[must_use]
    pub fn due(&self) -> Option<Mono> {
        self.live.rates.due()
    }

    /// Returns the activity that is shown: live, or of the past.
    pub(super) fn activity(&self) -> &Activity {
        self.past.as_ref().map_or(&self.live, |past| &past.activity)
    }

    /// Returns whether the selected connection stays selected, wherever its row goes.
    pub(super) fn is_following(&self) -> bool {
        self.follow.is_some()
    }

    /// Returns the gap at the moment of the past that is shown.
    pub(super) fn gap(&self) -> Option<&Gap> {
        self.past.as_ref()?.gaps.first()
    }

    /// Takes a change.
    pub fn change(&mut self, change: &Change<'_>) {
        self.live.add(change, &self.filter);
    }

    /// Shows a message until the next key.
    pub fn show_message(&mut self, message: impl Into<String>) {
        self.message = Some(message.into());
    }

    /// Takes an answer.
    pub fn answer(&mut self, answer: ScreenAnswer) {
        match answer {
            // After a return to now, nothing waits for the answer any more.
            ScreenAnswer::Past(_) | ScreenAnswer::Nowhere(_) if !self.is_waiting => {}
            ScreenAnswer::Past(moment) => {
                self.is_waiting = false;
                self.message = None;
                self.past = Some(moment);
            }
            ScreenAnswer::Nowhere(why) => {
                self.is_waiting = false;
                self.show_message(why);
            }
            ScreenAnswer::Name(of, name) => {
                self.names.insert(of, name);
            }
            ScreenAnswer::Inspected(cookie, inspected) => {
                let is_it = |detail: &&mut Detail| detail.row.id.cookie == cookie;
                // Without an answer, the last values stay.
                if let (Some(detail), Some(inspected)) =
                    (self.detail.as_mut().filter(is_it), inspected)
                {
                    detail.inspected = Some(inspected);
                }
            }
        }
    }

    /// Takes an event of the terminal.
    pub fn event(&mut self, event: &Event) {
        if let Event::Resize(width, height) = event {
            self.size = Size::new(*width, *height);
            return;
        }
        if let Mode::Filter(line, error) = &mut self.mode {
            match line.take(event) {
                Written::More => *error = None,
                Written::Cancelled => self.mode = Mode::List,
                Written::Done => match (self.options.parse)(&line.text) {
                    Ok(filter) => {
                        (self.filter, self.filter_text) = (filter, std::mem::take(&mut line.text));
                        self.mode = Mode::List;
                        // The latest transitions were kept for the filter before.
                        self.live.histories.forget_latest();
                        self.live.flows.group(self.group);
                        (self.list.selected, self.list.top) = (0, 0);
                        if self.past.is_some() {
                            self.jump(Jump::Seconds(0));
                        }
                    }
                    Err(wrong) => *error = Some(wrong),
                },
            }
            return;
        }
        if matches!(self.mode, Mode::Help) {
            // Any key, but not a mouse that moves.
            if event.is_key_press() || meaning(event).is_some() {
                self.mode = Mode::List;
            }
            return;
        }
        let Some(key) = meaning(event) else { return };
        self.message = None;
        self.key(key);
    }

    fn key(&mut self, key: KeyMeaning) {
        let page = isize::try_from(self.height().max(2) - 1).unwrap_or(1);
        match key {
            KeyMeaning::Quit => self.is_over = true,
            KeyMeaning::Back => self.mode = Mode::List,
            KeyMeaning::Help => self.mode = Mode::Help,
            KeyMeaning::Seconds(seconds) => self.jump(Jump::Seconds(seconds)),
            KeyMeaning::Event(true) => self.jump(Jump::Next),
            KeyMeaning::Event(false) => self.jump(Jump::Previous),
            KeyMeaning::End if self.options.at.is_some() => self.jump(Jump::Last),
            KeyMeaning::End if self.past.is_some() || self.is_waiting => {
                (self.past, self.is_waiting) = (None, false);
            }
            KeyMeaning::Numeric => self.options.numeric ^= true,
            KeyMeaning::Filter => {
                self.mode = Mode::Filter(LineEditor::new(self.filter_text.clone()), None);
            }
            _ if matches!(self.mode, Mode::Detail(_)) => {}
            KeyMeaning::Enter => self.enter(),
            KeyMeaning::Move(rows) => self.select(self.list.selected.saturating_add_signed(rows)),
            KeyMeaning::Page(pages) => {
                self.select(self.list.selected.saturating_add_signed(pages * page));
            }
            KeyMeaning::Top => self.select(0),
            KeyMeaning::End => self.select(usize::MAX),
            KeyMeaning::Sort => self.sort = self.sort.after(),
            KeyMeaning::Reverse => self.reversed ^= true,
            KeyMeaning::Group => self.regroup(GroupBy::after(self.group)),
            KeyMeaning::Follow => self.follow(),
            KeyMeaning::Click(column, row) => self.click(column, row),
        }
    }

    fn select(&mut self, row: usize) {
        self.list.selected = row.min(self.list.length.saturating_sub(1));
        self.follow = None;
    }

    fn selected(&self) -> Option<&Row> {
        self.list.rows.get(self.list.selected.checked_sub(self.list.top)?)
    }

    fn enter(&mut self) {
        match self.selected() {
            Some(Row::Connection { row, .. }) => {
                self.mode = Mode::Detail(row.id);
                (self.detail, self.inspected_at) = (None, None);
            }
            Some(Row::Group { key, .. }) => {
                let key = *key;
                if !self.expanded.remove(&key) {
                    self.expanded.insert(key);
                }
            }
            None => {}
        }
    }

    fn follow(&mut self) {
        let id = match self.selected() {
            Some(Row::Connection { row, .. }) if self.group.is_none() => row.id,
            _ => return self.show_message("F follows a connection, where they are not grouped"),
        };
        self.follow = if self.follow == Some(id) { None } else { Some(id) };
    }

    fn regroup(&mut self, by: Option<GroupBy>) {
        self.group = by;
        self.expanded.clear();
        self.select(0);
        self.live.flows.group(by);
    }

    fn jump(&mut self, jump: Jump) {
        if !self.options.past {
            return self.show_message(
                "there is no past without a journal: `netmon record` keeps one, --journal names it",
            );
        }
        if self.is_waiting {
            return;
        }
        let from = match &self.past {
            Some(past) => past.at.wall,
            // From the present, the only way is back.
            None if !matches!(jump, Jump::Previous | Jump::Seconds(..0)) => return,
            None => self.live.anchor.wall_time(self.now),
        };
        self.is_waiting = true;
        self.questions.push(ScreenQuery::Past(from, jump, Box::new(self.filter.clone())));
    }

    /// Finds the visible rows at `now` in the present table.
    pub fn settle(&mut self, table: &ConnectionTable, now: Mono) {
        self.live.histories.sweep(now);
        self.live.histories.look_at(match self.mode {
            Mode::Detail(id) => Some(id.cookie),
            _ => None,
        });
        let live = table;
        let (table, activity) = match &self.past {
            Some(past) => (&past.tables.current, &past.activity),
            None => (table, &self.live),
        };
        let query = Query {
            filter: &self.filter,
            sort: self.sort,
            reversed: self.reversed,
            group: self.group,
            expanded: &self.expanded,
            follow: self.follow,
        };
        let place = (self.list.top, self.list.selected, self.height());
        self.list = list(table, &activity.histories, &activity.flows, &query, place);
        let inspected = match self.mode {
            Mode::Detail(id) => inspect::find(table, &activity.histories, id),
            _ => None,
        };
        if self.list.is_follow_lost {
            self.follow = None;
        }
        // The list has counted the live table already, unless the list is of the past.
        let list_counts = self.list.counts;
        let is_live = self.past.is_none();
        self.live.tick(now, || if is_live { list_counts } else { counts(live) });
        self.now = self.past.as_ref().map_or(now, |past| past.at.monotonic);
        self.name_groups();
        if matches!(self.mode, Mode::Detail(_)) {
            self.look(inspected, now);
        } else {
            self.detail = None;
        }
    }
}
