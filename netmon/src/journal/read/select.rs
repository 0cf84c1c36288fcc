//! The selection of rows of `connections` by a filter. Blocks without such rows are skipped by
//! their statistics and Bloom filters. In the other blocks, the columns that the filter names are
//! read first.

#[cfg(test)]
mod tests;

use std::net::IpAddr;

use arrow_array::{
    BooleanArray, DictionaryArray, Int32Array, Int64Array, RecordBatch, StringArray,
    TimestampMicrosecondArray,
    cast::AsArray,
    types::{Int8Type, Int32Type},
};
use parquet::{
    bloom_filter::Sbbf,
    data_type::AsBytes,
    file::{metadata::ColumnChunkMetaData, statistics::Statistics},
};

use super::{
    blocks::Block,
    parquet_file::{self, ParquetFile, may_have_values},
};
use crate::{
    core::{
        errno,
        filter::{Extent, Filter, Quantity, Question, Side, TextFact},
        tcp::TcpState,
        time::{TimeSpan, Wall},
    },
    journal::{
        error::{Malformed, Result},
        schema::{
            NETNS_KEY,
            column::{column, recorder_netns, recorder_netns_of},
        },
    },
};

/// Returns whether a block may have rows in a stretch of time that a filter lets pass.
pub(super) fn may_have(block: &Block, span: TimeSpan, filter: &Filter) -> bool {
    block.may_be_in(span)
        && block
            .group()
            .is_none_or(|(file, group)| filter.may_match(&SelectedGroup { file, group }))
}

/// Reads the rows of a block that are in a stretch of time and that a filter may let pass. Of a
/// block in memory, all rows are returned.
pub(super) fn load(block: &Block, span: TimeSpan, filter: &Filter) -> Result<RecordBatch> {
    let is_all = *filter == Filter::default() && span.from <= block.least && span.to >= block.most;
    let Some((file, group)) = block.group().filter(|_| !is_all) else { return block.load() };
    let mut names = vec!["time"];
    filter.questions(&mut |question| names.extend(columns_of(question)));
    let filter = filter.clone();
    file.select(group, None, &names, move |batch| selected(batch, span, &filter))
}

/// Returns the columns that answer a question.
const fn columns_of(question: &Question<'_>) -> &'static [&'static str] {
    match question {
        Question::State(_) => &["state"],
        Question::Port(Side::Local, _) => &["local_port"],
        Question::Port(Side::Remote, _) => &["remote_port"],
        Question::Address(Side::Local, ..) => &["local_addr"],
        Question::Address(Side::Remote, ..) => &["remote_addr"],
        Question::Pid(_) => &["pid", "holder_pid"],
        Question::Parent(_) => &["ppid", "holder_ppid"],
        Question::LoginUid(_) => &["login_uid", "holder_login_uid"],
        Question::Uid(_) => &["uid"],
        Question::Netns(_) | Question::OwnNetns => &["netns"],
        Question::Interface(_) => &["interface"],
        Question::Cgroup(_) => &["cgroup_id"],
        Question::Cookie(_) => &["cookie"],
        Question::Text(TextFact::Comm, _) => &["comm", "holder_comm"],
        Question::Text(TextFact::Exe, _) => &["exe", "holder_exe"],
        Question::Text(TextFact::Args, _) => &["args", "holder_args"],
        Question::Text(TextFact::Parent, _) => &["parent_exe", "holder_parent_exe"],
        Question::Text(TextFact::Device, _) => &["device"],
        Question::Text(TextFact::LoginUser, _) => &["login_user", "holder_login_user"],
        Question::Text(TextFact::User, _) => &["user"],
        Question::Text(TextFact::Netns, _) => &["netns_name"],
        Question::Text(TextFact::Cgroup, _) => &["cgroup"],
        Question::Text(TextFact::Unit, _) => &["unit"],
        Question::Text(TextFact::UserUnit, _) => &["user_unit"],
        Question::Text(TextFact::Container, _) => &["container"],
        Question::Text(TextFact::ContainerId, _) => &["container_id"],
        Question::Text(TextFact::Pod, _) => &["pod"],
        Question::Direction(_) => &["direction"],
        Question::Verdict(_) => &["verdict"],
        Question::Errno(_) => &["errno"],
        Question::Quantity(Quantity::Lifetime, _) => &["time", "opened", "first_sight"],
        Question::Quantity(Quantity::Bytes, _) => &["bytes_sent", "bytes_received"],
        Question::Quantity(Quantity::BytesSent, _) => &["bytes_sent"],
        Question::Quantity(Quantity::BytesReceived, _) => &["bytes_received"],
        Question::Quantity(Quantity::Retransmits, _) => &["retransmits"],
        Question::Quantity(Quantity::Rtt, _) => &["rtt_us"],
    }
}

/// Returns which rows of a batch are in a stretch of time and pass a filter.
fn selected(batch: &RecordBatch, span: TimeSpan, filter: &Filter) -> Result<BooleanArray> {
    let time: TimestampMicrosecondArray = column(batch, "time")?;
    let rows = filter.select(batch.num_rows(), &mut |question| answers(batch, question))?;
    let times = time.values().iter();
    let is_in = times.map(|time| span.contains(Wall::from_micros(*time)));
    Ok(rows.into_iter().zip(is_in).map(|(row, is_in)| Some(row && is_in)).collect())
}

/// Answers a question for each row of a batch.
fn answers(batch: &RecordBatch, question: &Question<'_>) -> Result<Vec<bool>> {
    let name = columns_of(question)[0];
    match *question {
        Question::State(is) => {
            let is = |text: &str| {
                TcpState::ALL.into_iter().any(|state| state.name() == text && is(state))
            };
            few_texts(batch, name, is)
        }
        Question::Verdict(verdict) => few_texts(batch, name, |text| text == verdict.name()),
        Question::Port(_, [low, high]) => {
            let ports: Int32Array = column(batch, name)?;
            let (low, high) = (i32::from(low), i32::from(high));
            // A row without a port has port 0.
            let is_in = |port: Option<i32>| (low..=high).contains(&port.unwrap_or(0));
            Ok(ports.iter().map(is_in).collect())
        }
        Question::Pid(pid) | Question::Parent(pid) => {
            let pid = i32::try_from(pid).ok();
            any_column(question, |name| {
                let pids: Int32Array = column(batch, name)?;
                Ok(pids.iter().map(|known| pid.is_some() && known == pid).collect())
            })
        }
        Question::LoginUid(uid) => any_column(question, |name| equal(batch, name, uid.into())),
        Question::Uid(number) | Question::Netns(number) => equal(batch, name, number.into()),
        Question::OwnNetns => match recorder_netns(batch) {
            Some(own) => equal(batch, name, own.into()),
            None => Ok(vec![false; batch.num_rows()]),
        },
        Question::Interface(0) => {
            let numbers: Int64Array = column(batch, name)?;
            Ok(numbers.iter().map(|number| number.is_none()).collect())
        }
        Question::Interface(number) => equal(batch, name, number.into()),
        Question::Cgroup(id) => equal(batch, name, id.cast_signed()),
        Question::Address(_, is, _) => {
            texts(batch, name, |text| text.parse::<IpAddr>().is_ok_and(is))
        }
        Question::Cookie(cookie) => equal(batch, name, cookie.get().cast_signed()),
        Question::Text(_, wanted) => {
            any_column(question, |name| texts(batch, name, |text| wanted.matches(text)))
        }
        Question::Direction(direction) => few_texts(batch, name, |text| text == direction.name()),
        Question::Errno(wanted) => texts(batch, name, |text| errno::number(text) == Some(wanted)),
        Question::Quantity(quantity, [low, high]) => {
            let is_in = |number: Option<u64>| number.is_some_and(|n| low <= n && n <= high);
            Ok(quantities(batch, quantity)?.into_iter().map(is_in).collect())
        }
    }
}

/// Returns for each row whether any of the columns of a question answers with yes.
fn any_column(
    question: &Question<'_>,
    answer: impl Fn(&'static str) -> Result<Vec<bool>>,
) -> Result<Vec<bool>> {
    let mut rows = Vec::new();
    for name in columns_of(question) {
        let more = answer(name)?;
        rows.resize(more.len(), false);
        rows.iter_mut().zip(more).for_each(|(row, more)| *row |= more);
    }
    Ok(rows)
}

/// Returns a quantity of each row, if the row has it.
fn quantities(batch: &RecordBatch, quantity: Quantity) -> Result<Vec<Option<u64>>> {
    let not_negative = |number: i64| u64::try_from(number).unwrap_or(0);
    let counts = |name| -> Result<Vec<Option<u64>>> {
        let numbers: Int64Array = column(batch, name)?;
        Ok(numbers.iter().map(|number| number.map(not_negative)).collect())
    };
    match *columns_of(&Question::Quantity(quantity, [0, 0])) {
        [time, opened, first_sight] => {
            let time: TimestampMicrosecondArray = column(batch, time)?;
            let opened: TimestampMicrosecondArray = column(batch, opened)?;
            let first_sight: BooleanArray = column(batch, first_sight)?;
            let times = time.iter().zip(&opened).zip(&first_sight);
            let lifetime = |((time, opened), first_sight): ((Option<i64>, Option<i64>), _)| {
                let lifetime = time?.saturating_sub(opened?);
                (first_sight == Some(false)).then(|| not_negative(lifetime))
            };
            Ok(times.map(lifetime).collect())
        }
        [sent, received] => {
            let sum = |(sent, received): (Option<u64>, _)| Some(sent?.saturating_add(received?));
            Ok(counts(sent)?.into_iter().zip(counts(received)?).map(sum).collect())
        }
        [name, ..] => counts(name),
        [] => Ok(Vec::new()),
    }
}

fn equal(batch: &RecordBatch, name: &'static str, wanted: i64) -> Result<Vec<bool>> {
    let numbers: Int64Array = column(batch, name)?;
    Ok(numbers.iter().map(|number| number == Some(wanted)).collect())
}

/// Tests each text of a column once, and returns the answer for each row.
fn texts(
    batch: &RecordBatch,
    name: &'static str,
    test: impl Fn(&str) -> bool,
) -> Result<Vec<bool>> {
    let array: DictionaryArray<Int32Type> = column(batch, name)?;
    let values: &StringArray = array.values().as_string_opt().ok_or(Malformed::Column(name))?;
    let passed: Vec<bool> = values.iter().map(|text| text.is_some_and(&test)).collect();
    let passes = |key: Option<i32>| {
        key.and_then(|key| passed.get(usize::try_from(key).ok()?)).copied().unwrap_or(false)
    };
    Ok(array.keys().iter().map(passes).collect())
}

/// Does the same as [`texts`] for a column of few texts, whose keys have 8 bits.
fn few_texts(
    batch: &RecordBatch,
    name: &'static str,
    test: impl Fn(&str) -> bool,
) -> Result<Vec<bool>> {
    let array: DictionaryArray<Int8Type> = column(batch, name)?;
    let values: &StringArray = array.values().as_string_opt().ok_or(Malformed::Column(name))?;
    let passed: Vec<bool> = values.iter().map(|text| text.is_some_and(&test)).collect();
    let passes = |key: Option<i8>| {
        key.and_then(|key| passed.get(usize::try_from(key).ok()?)).copied().unwrap_or(false)
    };
    Ok(array.keys().iter().map(passes).collect())
}

/// A row group, known only by its statistics and Bloom filters.
struct SelectedGroup<'a> {
    file: &'a ParquetFile,
    group: usize,
}

impl SelectedGroup<'_> {
    fn column(&self, name: &str) -> Option<(usize, &ColumnChunkMetaData)> {
        parquet_file::column(self.file.groups().get(self.group)?, name)
    }

    /// Returns whether a number from `low` to `high` may be in a column. A row without a number
    /// counts as `null`.
    fn may_be_between(&self, name: &str, [low, high]: [i64; 2], null: Option<i64>) -> bool {
        let Some((_, column)) = self.column(name) else { return true };
        let Some(statistics) = column.statistics() else { return true };
        let nulls = statistics.null_count_opt();
        if null.is_some_and(|null| (low..=high).contains(&null)) && nulls != Some(0) {
            return true;
        }
        let range = match statistics {
            Statistics::Int32(known) => known
                .min_opt()
                .zip(known.max_opt())
                .map(|(least, most)| (i64::from(*least), i64::from(*most))),
            Statistics::Int64(known) => known.min_opt().copied().zip(known.max_opt().copied()),
            _ => return true,
        };
        match range {
            Some((least, most)) => least <= high && most >= low,
            None => may_have_values(column),
        }
    }

    /// Returns whether a value may be in a column that has a Bloom filter.
    fn may_be<T: AsBytes + ?Sized>(&self, name: &str, value: &T) -> bool {
        let Some((number, _)) = self.column(name) else { return true };
        let group = self.group;
        let filter: Result<Option<Sbbf>> =
            self.file.read(|builder| Ok(builder.get_row_group_column_bloom_filter(group, number)?));
        // A filter that cannot be read excludes nothing: the reading of the rows reports the error.
        !matches!(filter, Ok(Some(filter)) if !filter.check(value))
    }

    /// Returns whether a text may be in a column.
    fn may_be_text(&self, name: &str, wanted: &str) -> bool {
        let Some((_, column)) = self.column(name) else { return true };
        let Some(Statistics::ByteArray(known)) = column.statistics() else { return true };
        match (known.min_opt(), known.max_opt()) {
            // A truncated minimum is below the real minimum, and a truncated maximum is above the
            // real maximum: both are still bounds.
            (Some(least), Some(most)) => {
                least.as_bytes() <= wanted.as_bytes() && most.as_bytes() >= wanted.as_bytes()
            }
            _ => may_have_values(column),
        }
    }
}

impl Extent for SelectedGroup<'_> {
    fn may_have(&self, question: &Question<'_>) -> bool {
        let name = columns_of(question)[0];
        let is = |number: i64| self.may_be_between(name, [number, number], None);
        match *question {
            Question::Port(_, [low, high]) => {
                self.may_be_between(name, [low.into(), high.into()], Some(0))
                    && (low != high || low == 0 || self.may_be(name, &i32::from(low)))
            }
            Question::Address(_, _, Some(address)) => self.may_be(name, &*address.to_string()),
            Question::Address(_, _, None) | Question::State(_) => true,
            Question::Pid(pid) | Question::Parent(pid) => i32::try_from(pid).is_ok_and(|pid| {
                let range = [pid.into(), pid.into()];
                let may_be =
                    |name: &&str| self.may_be_between(name, range, None) && self.may_be(name, &pid);
                columns_of(question).iter().any(may_be)
            }),
            Question::LoginUid(uid) => columns_of(question)
                .iter()
                .any(|name| self.may_be_between(name, [uid.into(), uid.into()], None)),
            Question::Uid(number) | Question::Netns(number) => is(number.into()),
            Question::OwnNetns => {
                recorder_netns_of(self.file.key(NETNS_KEY)).is_some_and(|own| is(own.into()))
            }
            Question::Interface(number) => {
                self.may_be_between(name, [number.into(), number.into()], Some(0))
            }
            Question::Cgroup(id) => is(id.cast_signed()),
            Question::Cookie(cookie) => {
                let number = cookie.get().cast_signed();
                is(number) && self.may_be(name, &number)
            }
            Question::Text(_, text) => text.only().is_none_or(|wanted| {
                let may_be =
                    |name: &&str| self.may_be_text(name, wanted) && self.may_be(name, wanted);
                columns_of(question).iter().any(may_be)
            }),
            Question::Direction(direction) => self.may_be_text(name, direction.name()),
            Question::Verdict(verdict) => self.may_be_text(name, verdict.name()),
            Question::Errno(wanted) => self.may_be_text(name, &errno::text(wanted)),
            Question::Quantity(Quantity::Lifetime | Quantity::Bytes, _) => true,
            Question::Quantity(_, range) => {
                let [low, high] = range.map(|number| i64::try_from(number).unwrap_or(i64::MAX));
                self.may_be_between(name, [low, high], None)
            }
        }
    }
}
