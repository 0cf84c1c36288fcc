//! Completes records without the kernel that made them.

use std::collections::VecDeque;

use rustc_hash::FxHashMap;

use super::{
    assembler::{Assembler, KernelQueries},
    capture::{STATES, entry},
};
use crate::{
    core::{
        event::Event,
        id::SocketId,
        time::{Mono, Wall},
    },
    kernel::{
        ring::record::{MalformedRecord, decode},
        sockets::sock_diag::{BucketState, SockQuery},
    },
};

/// Turns records into events as the live source does, without a kernel to ask.
pub struct OfflineAssembler(Assembler);

impl Default for OfflineAssembler {
    fn default() -> Self {
        Self(Assembler::new(false, Wall::EPOCH))
    }
}

impl OfflineAssembler {
    /// Takes one record, and appends the events that are complete with it to `events`.
    ///
    /// # Errors
    /// `MalformedRecord`, as for `decode`.
    pub fn record(
        &mut self,
        bytes: &[u8],
        events: &mut VecDeque<Event>,
    ) -> Result<(), MalformedRecord> {
        self.0.record(&decode(bytes)?, events);
        Ok(())
    }

    /// Settles everything that was due by `now`.
    pub fn advance(&mut self, now: Mono, events: &mut VecDeque<Event>) {
        self.0.advance(now, &mut RecordedAnswers::default(), events);
    }
}

/// A capture that cannot be read.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("no capture of netmon, or cut short, at byte {at}")]
pub struct MalformedCapture {
    /// The place of the first entry that cannot be read.
    pub at: usize,
}

/// Returns the events of a capture (`netmon record --raw`): the assembler takes its records, and
/// gets the answers that the kernel gave then.
///
/// # Errors
/// Fails at the first entry that cannot be read.
pub fn events_of_capture(capture: &[u8]) -> Result<VecDeque<Event>, MalformedCapture> {
    let mut events = VecDeque::new();
    let mut answers = RecordedAnswers::default();
    let mut assembler: Option<Assembler> = None;
    let mut rest = capture;
    while !rest.is_empty() {
        let malformed = MalformedCapture { at: capture.len() - rest.len() };
        let Some((kind, payload, after)) = split(rest) else { return Err(malformed) };
        rest = after;
        let is_read = match (&mut assembler, kind, payload) {
            (None, entry::HEADER, [kernel_reports]) => {
                assembler = Some(Assembler::new(*kernel_reports != 0, Wall::EPOCH));
                Some(())
            }
            (Some(assembler), entry::RECORD, bytes) => {
                decode(bytes).ok().map(|record| assembler.record(&record, &mut events))
            }
            (Some(_), entry::BUCKETS, payload) => answers.add_buckets(payload),
            (Some(_), entry::PORT, payload) => answers.add_port(payload),
            (Some(assembler), entry::ADVANCE, payload) => {
                moment(payload).map(|now| assembler.advance(now, &mut answers, &mut events))
            }
            (Some(assembler), entry::FINISH, payload) => {
                moment(payload).map(|now| assembler.finish(now, &mut answers, &mut events))
            }
            _ => None,
        };
        is_read.ok_or(malformed)?;
    }
    Ok(events)
}

/// Splits the first entry from the others: its kind and its payload.
fn split(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let ([kind, low, high], rest) = bytes.split_first_chunk()?;
    let (payload, rest) = rest.split_at_checked(u16::from_le_bytes([*low, *high]).into())?;
    Some((*kind, payload, rest))
}

fn moment(bytes: &[u8]) -> Option<Mono> {
    Some(Mono::from_nanos(i64::from_le_bytes(bytes.try_into().ok()?)))
}

fn id(bytes: &[u8]) -> Option<SocketId> {
    SocketId::new(u64::from_le_bytes(bytes.try_into().ok()?))
}

/// The answers of a capture; without answers, nothing is known.
#[derive(Default)]
struct RecordedAnswers {
    /// The answers about each socket, with their times. The last one stays true.
    buckets: FxHashMap<SocketId, VecDeque<(BucketState, Mono)>>,
    ports: VecDeque<(SocketId, Option<u16>)>,
}

impl RecordedAnswers {
    fn add_buckets(&mut self, payload: &[u8]) -> Option<()> {
        let (time, sockets) = payload.split_at_checked(8)?;
        let (sockets, []) = sockets.as_chunks::<9>() else { return None };
        let answer =
            |socket: &[u8; 9]| Some((id(&socket[..8])?, *STATES.get(usize::from(socket[8]))?));
        let time = moment(time)?;
        for socket in sockets {
            let (cookie, state) = answer(socket)?;
            self.buckets.entry(cookie).or_default().push_back((state, time));
        }
        Some(())
    }

    fn add_port(&mut self, payload: &[u8]) -> Option<()> {
        let (cookie, port) = payload.split_at_checked(8)?;
        let port = u16::from_le_bytes(port.try_into().ok()?);
        self.ports.push_back((id(cookie)?, (port != 0).then_some(port)));
        Some(())
    }
}

impl KernelQueries for RecordedAnswers {
    fn local_port(&mut self, _: u64, cookie: SocketId) -> Option<u16> {
        let place = self.ports.iter().position(|(known, _)| *known == cookie)?;
        self.ports.remove(place)?.1
    }

    fn minisockets(&mut self, queries: &[SockQuery]) -> (Vec<BucketState>, Mono) {
        let mut answered = Mono::BOOT;
        let mut state = |query: &SockQuery| {
            let answers = self.buckets.get_mut(&query.cookie);
            let answer = answers.and_then(|answers| match answers.len() {
                ..2 => answers.front().copied(),
                _ => answers.pop_front(),
            });
            let (state, time) = answer.unwrap_or((BucketState::Unknown, Mono::BOOT));
            answered = answered.max(time);
            state
        };
        (queries.iter().map(&mut state).collect(), answered)
    }
}
