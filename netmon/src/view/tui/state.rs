//! The state of the screen, and the effect of keys on the state. The state has no clock, does not
//! wait, and draws nothing.

mod choose;
mod figures;
mod filter;
mod freeze;
mod inspect;
mod jumps;
mod mouse;
mod names;
mod selection;

use std::collections::VecDeque;

use jiff::tz::TimeZone;
use ratatui::{crossterm::event::Event, layout::Size};
use rustc_hash::{FxHashMap, FxHashSet};

use super::{
    activity::Activity,
    columns::ADDRESS,
    groups::{self, GroupBy},
    keys::{KeyMeaning, LineEditor, meaning},
    rates::Tally,
    rows::{List, Query, Window, list},
    settings::ScreenSettings,
    time_travel::{Jump, NameQuery, PastFrame, ScreenAnswer, ScreenQuery, Timeline},
    traffic::TrafficState,
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
pub(super) use choose::ColumnChoice;
use freeze::{Frozen, rows};
pub(super) use inspect::Detail;
use inspect::InspectedRow;
use selection::Selection;

/// A function that reads a filter at once; none if names must be looked up, which may take long.
pub(crate) type Parse = Box<dyn Fn(&str) -> Option<Result<Filter, FilterError>>>;

/// A function that reads a moment.
pub(crate) type ParseMoment = Box<dyn Fn(&str) -> Result<Wall, String>>;

/// The options that the screen begins with.
pub struct ScreenOptions {
    /// The name of the host.
    pub host: String,
    /// The inode number of the own network namespace.
    pub own_netns: Option<u32>,
    /// The filter, and its text.
    pub filter: (Filter, String),
    /// The function that reads other filters.
    pub parse: Parse,
    /// Names of ports.
    pub services: Services,
    /// Ports are shown as numbers.
    pub numeric: bool,
    /// The zone of times.
    pub zone: TimeZone,
    /// Colours may be used; nothing is shown by colour alone.
    pub colour: bool,
    /// The settings at the beginning.
    pub settings: ScreenSettings,
    /// There is a journal to go back in.
    pub past: bool,
    /// The function that reads a moment. Its error is for people.
    pub moment: ParseMoment,
    /// Only the past is shown, from this moment on.
    pub at: Option<Wall>,
}

/// The mode of the screen.
#[derive(Debug)]
pub(super) enum Mode {
    List,
    /// A filter is being written.
    Filter(LineEditor, Option<FilterError>),
    /// A moment is being written.
    Time(LineEditor, Option<String>),
    Detail(ConnectionId),
    /// Columns are being chosen.
    Columns(ColumnChoice),
    Help,
}

/// The state of the screen.
pub struct ScreenState {
    pub(super) options: ScreenOptions,
    pub(super) size: Size,
    pub(super) mode: Mode,
    pub(super) filter: Filter,
    pub(super) filter_text: String,
    /// The text of a filter with names that are being looked up.
    pub(super) resolving: Option<String>,
    pub(super) settings: ScreenSettings,
    /// The number of columns after the first that are scrolled out of sight.
    first_column: usize,
    /// The columns of the widest address that was in sight. Addresses get no narrower while the
    /// screen scrolls, so that columns stay where they are.
    pub(super) address_width: u16,
    expanded: FxHashSet<groups::GroupKey>,
    selection: Selection,
    /// The list is held still from the next look on.
    is_freezing: bool,
    pub(super) frozen: Option<Box<Frozen>>,
    live: Activity,
    pub(super) past: Option<Box<PastFrame>>,
    pub(super) traffic: TrafficState,
    questions: Vec<ScreenQuery>,
    /// Names; none from the question until the answer comes.
    names: FxHashMap<NameQuery, Option<String>>,
    /// The time of the last question about names of network namespaces.
    namespaces_named_at: Option<Mono>,
    /// A row of another network namespace than the own one was in sight.
    has_other_namespaces: bool,
    /// An answer about the past is on its way.
    pub(super) is_waiting: bool,
    /// The jumps that follow once the answer is there.
    pending: VecDeque<Jump>,
    /// The hour around the moment of the past; without its changes until the answer comes.
    pub(super) timeline: Option<Timeline>,
    /// The time of the last question about the connection in the detail view.
    inspected_at: Option<Mono>,
    pub(super) message: Option<String>,
    is_over: bool,
    /// The rows of the kernel are there.
    pub(super) has_rows: bool,
    /// The visible rows at the time `now`.
    pub(super) list: List,
    /// The connections in each state, at the moment of the header.
    pub(super) tally: Tally,
    pub(super) detail: Option<Detail>,
    pub(super) now: Mono,
}

impl ScreenState {
    /// Begins without a connection, on a screen of `size`.
    #[must_use]
    pub fn new(options: ScreenOptions, size: Size) -> Self {
        let (filter, filter_text) = options.filter.clone();
        let first =
            options.at.map(|at| ScreenQuery::Past(at, Jump::Seconds(0), Box::new(filter.clone())));
        let settings = options.settings.clone();
        let mut live = Activity::default();
        live.flows.group(settings.group);
        Self {
            options,
            size,
            mode: Mode::List,
            filter,
            filter_text,
            resolving: None,
            settings,
            first_column: 0,
            address_width: ADDRESS,
            expanded: FxHashSet::default(),
            selection: Selection::First,
            is_freezing: false,
            frozen: None,
            live,
            past: None,
            is_waiting: first.is_some(),
            pending: VecDeque::new(),
            timeline: None,
            traffic: TrafficState::default(),
            questions: first.into_iter().collect(),
            names: FxHashMap::default(),
            namespaces_named_at: None,
            has_other_namespaces: false,
            inspected_at: None,
            message: None,
            is_over: false,
            has_rows: false,
            list: List::default(),
            tally: Tally::default(),
            detail: None,
            now: Mono::BOOT,
        }
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
            ScreenAnswer::Past(_) | ScreenAnswer::Nowhere(_) => self.answer_past(answer),
            // Another hour may be shown meanwhile.
            ScreenAnswer::Timeline(timeline) => {
                if self.timeline.as_ref().is_some_and(|asked| asked.span == timeline.span) {
                    self.timeline = Some(timeline);
                }
            }
            ScreenAnswer::Traffic(traffic) => self.traffic.answer(traffic),
            ScreenAnswer::Filter(text, filter) => self.answer_filter(text, filter),
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
        if matches!(self.mode, Mode::Filter(..)) {
            return self.edit_filter(event);
        }
        if matches!(self.mode, Mode::Time(..)) {
            return self.edit_time(event);
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
        match self.mode {
            Mode::Columns(_) => self.choose(key),
            _ => self.key(key),
        }
    }

    fn key(&mut self, key: KeyMeaning) {
        let page = isize::try_from(self.height().max(2) - 1).unwrap_or(1);
        match key {
            KeyMeaning::Quit => self.is_over = true,
            KeyMeaning::Back if matches!(self.mode, Mode::List) => self.clear_filter(),
            KeyMeaning::Back => self.mode = Mode::List,
            KeyMeaning::Help => self.mode = Mode::Help,
            KeyMeaning::Seconds(seconds) => self.jump(Jump::Seconds(seconds)),
            KeyMeaning::Event(true) => self.jump(Jump::Next),
            KeyMeaning::Event(false) => self.jump(Jump::Previous),
            KeyMeaning::End if self.options.at.is_some() => self.jump(Jump::Last),
            KeyMeaning::End if self.past.is_some() || self.is_waiting => {
                (self.past, self.is_waiting) = (None, false);
                self.pending.clear();
            }
            KeyMeaning::Time => self.ask_time(),
            KeyMeaning::Numeric => self.options.numeric ^= true,
            KeyMeaning::Filter => {
                self.mode = Mode::Filter(LineEditor::new(self.filter_text.clone()), None);
            }
            _ if matches!(self.mode, Mode::Detail(_)) => {}
            KeyMeaning::Columns => {
                self.mode = Mode::Columns(ColumnChoice::new(&self.settings.columns));
            }
            KeyMeaning::Scroll(right) => self.scroll_columns(right),
            KeyMeaning::Enter => self.enter(),
            KeyMeaning::Move(rows) => self.select(self.list.selected.saturating_add_signed(rows)),
            KeyMeaning::Page(pages) => {
                self.select(self.list.selected.saturating_add_signed(pages * page));
            }
            KeyMeaning::Top => self.select_first(),
            KeyMeaning::End => self.select(usize::MAX),
            KeyMeaning::Sort => self.sort_by_next(),
            KeyMeaning::Reverse => self.settings.reversed ^= true,
            KeyMeaning::Group => self.regroup(GroupBy::after(self.settings.group)),
            KeyMeaning::Freeze => self.freeze(),
            KeyMeaning::Click(column, row) => self.click(column, row),
        }
    }

    fn regroup(&mut self, by: Option<GroupBy>) {
        self.settings.group = by;
        self.expanded.clear();
        self.select_first();
        self.live.flows.group(by);
        self.traffic.forget_time();
    }

    /// Finds the visible rows at `now` in the present table.
    pub fn settle(&mut self, table: &ConnectionTable, now: Mono) {
        self.has_rows = table.is_reconciled();
        self.live.histories.sweep(now);
        self.live.histories.look_at(match self.mode {
            Mode::Detail(id) => Some(id.cookie),
            _ => None,
        });
        if std::mem::take(&mut self.is_freezing) {
            self.frozen = Some(Box::new(Frozen::new(table, &self.live, now)));
        }
        let (shown, activity) = match &self.past {
            Some(past) => (&past.tables.current, &past.activity),
            None => (table, &self.live),
        };
        self.now = self.past.as_ref().map_or(now, |past| past.at.monotonic);
        let query = Query {
            filter: &self.filter,
            now: self.list_time(),
            sort: self.settings.sort,
            reversed: self.settings.reversed,
            group: self.settings.group,
            expanded: &self.expanded,
            selected: self.selected_key(),
            traffic: self.traffic_of(),
            ranks: self.list.ranks(),
        };
        let List { top, selected, .. } = self.list;
        let window = Window { top, selected, height: self.height() };
        let list = match &self.frozen {
            Some(frozen) => list(frozen.rows(), &frozen.flows, &query, window),
            None => list(rows(shown, activity), &activity.flows, &query, window),
        };
        // The list has counted the table already, unless the list is of another moment.
        let tally = match &self.frozen {
            Some(_) => Tally::of(shown, &self.filter, self.now),
            None => list.tally,
        };
        let inspected = match self.mode {
            Mode::Detail(id) => inspect::find(shown, &activity.histories, id)
                .or_else(|| Some(InspectedRow::gone(self.frozen.as_ref()?.find(id)?))),
            _ => None,
        };
        (self.list, self.tally) = (list, tally);
        self.keep_selection();
        let is_live = self.past.is_none();
        self.live.tick(now, || if is_live { tally } else { Tally::of(table, &self.filter, now) });
        self.note_steps();
        self.ask_traffic(table, now);
        self.name_groups();
        self.name_namespaces(now);
        self.note_widths();
        match self.mode {
            Mode::Detail(_) => self.look(inspected, now),
            _ => self.detail = None,
        }
    }
}

#[cfg(test)]
mod tests;
