//! The thread that answers the questions of the screen: about names, filters with
//! names, sockets, and the past.

use std::{
    sync::mpsc::{Receiver, RecvTimeoutError},
    time::{Duration, Instant},
};

use tokio::sync::mpsc::Sender;

use crate::{
    cli::{
        args::journal::JournalArgs,
        names::{namespaces, user},
        top::{escaped, played::PastReader, traffic::TrafficReader},
    },
    core::filter::{Filter, FilterNames, RowKind},
    kernel::inspect,
    view::tui::{Inspected, NameQuery, ScreenAnswer, ScreenInput, ScreenQuery},
};

/// The time after which sockets that no question uses are closed.
const SWEEP: Duration = Duration::from_secs(2);

/// Answers questions until no sender of questions is left.
pub(super) fn answer(
    questions: &Receiver<ScreenQuery>,
    to: &Sender<ScreenInput>,
    past: &JournalArgs,
    names: &dyn FilterNames,
) {
    let mut netns_name = namespaces();
    let mut past = PastReader::new(past);
    let mut traffic = TrafficReader::default();
    loop {
        let question = if traffic.has_sockets() {
            questions.recv_timeout(SWEEP)
        } else {
            questions.recv().map_err(Into::into)
        };
        let question = match question {
            Ok(question) => question,
            Err(RecvTimeoutError::Timeout) => {
                traffic.sweep();
                continue;
            }
            Err(RecvTimeoutError::Disconnected) => return,
        };
        let answer = match question {
            ScreenQuery::Name(of) => ScreenAnswer::Name(
                of,
                match of {
                    NameQuery::Netns(inum) => netns_name(inum),
                    NameQuery::User(id) => user(id),
                },
            ),
            ScreenQuery::Inspect(tuple, cookie) => {
                let found = inspect(&tuple, cookie)
                    .map(|(recv_q, send_q, info)| Box::new(Inspected { recv_q, send_q, info }));
                ScreenAnswer::Inspected(cookie, found)
            }
            ScreenQuery::Past(from, jump, filter) => {
                let began = Instant::now();
                let frame = past.frame(from, jump, &filter);
                log::debug!("a moment of the past took {:?}", began.elapsed());
                match frame {
                    Ok(frame) => ScreenAnswer::Past(Box::new(frame)),
                    Err(error) => ScreenAnswer::Nowhere(escaped(&format!("{error:#}"))),
                }
            }
            ScreenQuery::Filter(text) => {
                let filter = Filter::parse(&text, names, RowKind::Connection);
                ScreenAnswer::Filter(text, filter)
            }
            ScreenQuery::Traffic(scope) => ScreenAnswer::Traffic(traffic.answer(&scope)),
            ScreenQuery::Timeline(span) => match past.timeline(span) {
                Some(timeline) => ScreenAnswer::Timeline(timeline),
                None => continue,
            },
        };
        if to.blocking_send(ScreenInput::Answer(answer)).is_err() {
            return;
        }
    }
}
