//! Tests the states after FIN_WAIT2 -> CLOSE and CLOSING -> CLOSE.

use super::*;

#[test]
fn a_taken_fin_is_time_wait_at_once() {
    let mut bench = Bench::new();
    bench.take(closed(FinWait2, flag::DONE, 0, 100));
    bench.take(closed(TcpState::Closing, flag::DONE, 0, 100));
    assert_eq!(bench.states(), [(FinWait2, TimeWait), (TcpState::Closing, TimeWait)]);
}

#[test]
fn a_doubtful_time_wait_is_asked_about() {
    for (old, flags) in [
        (FinWait2, flag::DONE | flag::BUCKETS_FULL),
        (TcpState::Closing, flag::DONE | flag::LINGER),
    ] {
        for (bucket, state) in [(BucketState::TimeWait, TimeWait), (BucketState::Gone, Close)] {
            let mut bench = Bench::new();
            bench.script.state = Some(bucket);
            bench.take(closed(old, flags, 0, 100 * MS));
            assert!(bench.events().is_empty());
            bench.advance(at_ms(100));
            let events = bench.events();
            assert_eq!((events[0].new, events[0].time), (state, at_ms(100)));
            assert!(!events[0].inferred, "it was so at once");
        }
    }
}

/// By connect with AF_UNSPEC, and then with another address.
#[test]
fn a_doubtful_end_comes_before_the_next_connection_of_the_socket() {
    let mut bench = Bench::new();
    bench.script.port = Some(50_000);
    bench.take(closed(FinWait2, flag::DONE | flag::BUCKETS_FULL, 0, 100 * MS));
    bench.take(connect(101 * MS));
    bench.advance(at_ms(300));
    assert_eq!(bench.states(), [(FinWait2, Close), (Close, SynSent)]);
}

#[test]
fn an_orphan_ends_as_it_is_found() {
    for (bucket, state) in [(BucketState::TimeWait, TimeWait), (BucketState::Gone, Close)] {
        let mut bench = Bench::new();
        bench.take(closed(FinWait2, flag::DEAD, 0, 100 * MS));
        bench.script.state = Some(BucketState::Waiting);
        for ms in 101..150 {
            bench.advance(at_ms(ms));
        }
        assert!(bench.events().is_empty(), "it still waits");
        assert!(bench.script.questions < 8, "asked ever less often: {}", bench.script.questions);
        // The change may have happened during the question.
        (bench.script.state, bench.script.answer_time) = (Some(bucket), at_ms(1_007));
        bench.advance(at_ms(1_000));
        let events = bench.events();
        assert_eq!((events[0].old, events[0].new), (FinWait2, state));
        assert!(events[0].inferred && events[0].time == at_ms(1_007));
    }
}

/// A hypervisor may stop the CPU between the CLOSE and its RST, while netmon runs on another CPU.
#[test]
fn an_orphan_without_a_bucket_waits_for_its_rst() {
    let orphan = || closed(FinWait2, flag::DEAD, 0, 100 * MS);
    let mut bench = Bench::new();
    bench.script.state = Some(BucketState::Gone);
    bench.take(orphan());
    bench.advance(at_ms(127));
    assert!(bench.events().is_empty(), "the RST may still come");
    bench.take(note(kind::RESET, Close, 0, 128 * MS));
    let [event] = &bench.events()[..] else { panic!("one event") };
    assert_eq!((event.reset, event.inferred), (Some(ResetSide::Sent), false));
    assert_eq!(event.time, at_ms(100));

    bench.take(orphan());
    bench.advance(at_ms(127));
    bench.advance(at_ms(150));
    let [event] = &bench.events()[..] else { panic!("one event") };
    assert_eq!((event.reset, event.inferred), (None, true));

    bench.take(orphan());
    bench.advance(at_ms(127));
    let Bench { assembler, script, out } = &mut bench;
    assembler.finish(at_ms(128), script, out);
    assert_eq!(bench.events().len(), 1, "no RST comes any more");
}

#[test]
fn an_orphan_that_cannot_be_seen_is_given_up() {
    let mut bench = Bench::new();
    bench.take(closed(FinWait2, flag::DEAD, 0, 1));
    for second in 1..80 {
        bench.advance(at_ms(second * 1_000));
    }
    assert_eq!(bench.states(), [(FinWait2, Close)]);
    assert_eq!(bench.assembler.next_due(), None);
}

const PEER: SocketId = socket(8);

/// Returns the end of the other end, on this host.
fn peer(flags: u8, errno: u8, time: u64) -> Record {
    let mut peer = wire::Transition { flags, errno, ..wire(LastAck, Close, time) };
    std::mem::swap(&mut peer.local_addr, &mut peer.remote_addr);
    std::mem::swap(&mut peer.local_port, &mut peer.remote_port);
    peer.cookie = PEER.get();
    Record::Transition(peer)
}

#[test]
fn an_orphan_is_gone_when_its_peer_on_this_host_is_reset() {
    let mut bench = Bench::new();
    bench.take(closed(FinWait2, flag::DEAD | flag::BUCKETS_FULL, 0, 100));
    bench.take(peer(flag::RESET_RECEIVED, ECONNRESET, 150));
    let events = bench.events();
    assert_eq!((events[0].cookie, events[0].new, events[0].time), (COOKIE, Close, at(100)));
    assert!(!events[0].inferred);
    assert_eq!((events[1].cookie, events[1].reset), (PEER, Some(ResetSide::Received)));
    bench.advance(at_ms(1_000));
    assert_eq!((events.len(), bench.script.questions), (2, 0));
}

#[test]
fn an_orphan_with_its_peer_on_this_host_needs_no_question() {
    let mut bench = Bench::new();
    bench.take(closed(FinWait2, flag::DEAD, 0, 100));
    bench.take(peer(0, 0, 150));
    let events = bench.events();
    assert_eq!((events[0].cookie, events[0].new, events[0].time), (COOKIE, TimeWait, at(150)));
    assert!(!events[0].inferred);
    assert_eq!((events[1].cookie, events[1].new), (PEER, Close));
    assert_eq!(bench.script.questions, 0);
}

#[test]
fn a_reset_ends_an_orphan_at_its_time() {
    // A RST on the socket, within microseconds of the event: there never was a bucket.
    let mut bench = Bench::new();
    bench.take(closed(FinWait2, flag::DEAD, 0, 100));
    bench.take(reset(Close, 120));
    assert_eq!(bench.events()[0].time, at(100));
    // A RST on the bucket, at any time, is the end of the bucket.
    bench.take(closed(FinWait2, flag::DEAD, 0, 100));
    bench.take(reset(TimeWait, 9_000));
    let events = bench.events();
    assert_eq!((events[0].time, events[0].new), (at(9_000), Close));
    assert_eq!(events[0].reset, Some(ResetSide::Sent));
}

#[test]
fn questions_stay_within_their_budget() {
    let mut bench = Bench::new();
    bench.script.state = Some(BucketState::Waiting);
    for cookie in 1..=20_000 {
        let orphan =
            wire::Transition { cookie, flags: flag::DEAD, ..wire(FinWait2, Close, 1_000 * MS) };
        bench.take(Record::Transition(orphan));
    }
    for ms in 1_001..=2_000 {
        bench.advance(at_ms(ms));
    }
    assert!((2_000..=2_600).contains(&bench.script.questions), "{}", bench.script.questions);
}

#[test]
fn what_is_doubtful_is_known_within_a_second() {
    let mut bench = Bench::new();
    bench.script.state = Some(BucketState::Gone);
    let flags = flag::DONE | flag::BUCKETS_FULL;
    for cookie in 1..=5_000 {
        let end = wire::Transition { cookie, flags, ..wire(FinWait2, Close, 1_000 * MS) };
        bench.take(Record::Transition(end));
    }
    let believed = bench.events();
    assert_eq!(believed.len(), 3_000, "there is no time to ask about them");
    assert!(believed.iter().all(|event| event.inferred && event.new == Close));
    for ms in 1_000..=2_000 {
        bench.advance(at_ms(ms));
    }
    let answers = bench.events();
    assert_eq!(answers.len(), 2_000);
    assert!(answers.iter().all(|event| !event.inferred && event.new == Close));
}

#[test]
fn what_is_parked_is_bounded() {
    let mut bench = Bench::new();
    for cookie in 1..=70_000 {
        let orphan = wire::Transition { cookie, flags: flag::DEAD, ..wire(FinWait2, Close, 1) };
        bench.take(Record::Transition(orphan));
    }
    let pushed_out = bench.events();
    assert_eq!(pushed_out.len(), 70_000 - 65_536);
    assert!(pushed_out.iter().all(|event| event.inferred && event.new == Close));
}

#[test]
fn an_orphan_is_followed_without_questions() {
    for (state, expected) in [(TimeWait, TimeWait), (Close, Close)] {
        let mut bench = reporting();
        bench.take(closed(FinWait2, WAITS, 0, 100));
        bench.advance(at_ms(60_000));
        assert!(bench.events().is_empty());
        bench.take(note(kind::MINISOCKET, state, 0, 200));
        let [event] = &bench.events()[..] else { panic!("one event") };
        assert_eq!((event.new, event.time, event.inferred), (expected, at(200), false));
        assert_eq!(bench.script.questions, 0);
    }
}

#[test]
fn an_unreported_end_is_asked_about() {
    let mut bench = reporting();
    bench.script.state = Some(BucketState::Gone);
    bench.take(closed(FinWait2, WAITS, 0, 100));
    bench.advance(at_ms(71_000));
    assert_eq!((bench.states(), bench.script.questions), (vec![(FinWait2, Close)], 1));
}

#[test]
fn a_time_wait_is_one_when_it_was_made() {
    let mut bench = reporting();
    // The bucket exists, so BUCKETS_FULL and LINGER do not matter.
    let flags = flag::DONE | flag::LINGER | flag::BUCKETS_FULL | flag::MINISOCKET;
    bench.take(closed(FinWait2, flags, 0, 100));
    assert_eq!(bench.states(), [(FinWait2, TimeWait)]);
    bench.take(note(kind::MINISOCKET, Close, 0, 300));
    assert_eq!(bench.out.pop_front(), Some(Event::TimeWaitEnded { time: at(300), cookie: COOKIE }));
    bench.take(note(kind::MINISOCKET, TimeWait, 0, 400));
    assert!(bench.events().is_empty(), "its time began anew, which is no transition");
}
