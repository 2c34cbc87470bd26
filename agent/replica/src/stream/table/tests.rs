//! Who may hear of success, as a table of cases.

use super::*;
use crate::frame::{Message, encode};
use std::sync::Mutex;

const GENERATION: Generation = Generation { number: 4, id: 44 };

fn hello(session: u64, incarnation: u64, applied: u64) -> Hello {
    Hello { module: 1, node: 2, boot_id: "boot".into(), incarnation, session, generation: GENERATION, applied }
}

fn paired() -> Table {
    let mut table = Table::new(GENERATION);
    table.expect(7).unwrap();
    assert_eq!(table.greet(&hello(7, 1, 0)), Greeting::Opens);
    let epoch = table.open(&hello(7, 1, 0));
    assert!(table.pair(epoch));
    table.complete_resync().unwrap();
    table
}

fn place(table: &mut Table) -> u64 {
    table.place(encode(&Message::UpToDate, &[]), false, Instant::now()).map_or_else(|| table.place_nowhere(), |p| p.0)
}

fn recorder() -> (Answer, Arc<Mutex<Vec<Verdict>>>) {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let writer = seen.clone();
    (Box::new(move |verdict| writer.lock().unwrap().push(verdict)), seen)
}

fn run((verdict, answers): Verdicts) {
    answers.into_iter().for_each(|answer| answer(verdict));
}

#[test]
fn paired_changes_are_answered_by_the_peer_only() {
    let mut table = paired();
    let (first, second) = (place(&mut table), place(&mut table));
    let (answer, seen) = recorder();
    assert!(table.complete(first, answer).is_none());
    let (later, seen_later) = recorder();
    assert!(table.complete(second, later).is_none());
    run(table.acknowledge(first, Instant::now()).unwrap());
    assert_eq!(*seen.lock().unwrap(), [Verdict::Acknowledged]);
    assert!(seen_later.lock().unwrap().is_empty());
    let (early, _) = recorder();
    assert!(table.complete(first, early).is_some(), "acknowledged before the local change was done");
    assert!(table.acknowledge(second + 1, Instant::now()).is_err());
}

#[test]
fn a_sync_is_answered_by_its_own_word_and_holds_nobody_back() {
    let mut table = paired();
    let (sync, write) = (place(&mut table), place(&mut table));
    table.begin_sync(sync, Instant::now());
    let (answer, synced) = recorder();
    assert!(table.complete(sync, answer).is_none());
    let (answer, written) = recorder();
    assert!(table.complete(write, answer).is_none());
    run(table.acknowledge(write, Instant::now()).unwrap());
    assert_eq!(written.lock().unwrap().len(), 1, "a later change does not wait for the sync");
    assert!(synced.lock().unwrap().is_empty(), "the sync has only begun");
    assert!(!table.is_idle());
    assert!(table.stuck(Instant::now() + Duration::from_secs(9), Duration::from_secs(5)).is_some());
    run(table.synced(sync));
    assert_eq!(*synced.lock().unwrap(), [Verdict::Acknowledged]);
    assert!(table.is_idle());
}

#[test]
fn the_word_of_a_sync_may_come_before_its_acknowledgement_or_with_a_greeting() {
    let mut table = paired();
    let (early, greeted) = (place(&mut table), place(&mut table));
    table.begin_sync(early, Instant::now());
    table.begin_sync(greeted, Instant::now());
    let (answer, seen) = recorder();
    assert!(table.complete(early, answer).is_none());
    run(table.synced(early));
    assert!(seen.lock().unwrap().is_empty(), "what came before it is not acknowledged yet");
    let (answer, seen_later) = recorder();
    assert!(table.complete(greeted, answer).is_none());
    table.synced_before(greeted);
    run(table.acknowledge(greeted, Instant::now()).unwrap());
    assert_eq!((seen.lock().unwrap().len(), seen_later.lock().unwrap().len()), (1, 1));
}

#[test]
fn a_lost_stream_holds_back_until_the_grant() {
    let mut table = paired();
    let sent = place(&mut table);
    assert_eq!(table.lose(), Some(7));
    let held = place(&mut table);
    assert!(held > sent);
    let (answers, seen): (Vec<_>, Vec<_>) = [recorder(), recorder(), recorder()].into_iter().unzip();
    for (ticket, answer) in [sent, held, 0].into_iter().zip(answers) {
        assert!(table.complete(ticket, answer).is_none());
    }
    assert_eq!(table.held_back(), 3);
    assert!(table.continue_alone(GENERATION).is_err(), "not a higher generation");
    table.continue_alone(Generation { number: 5, id: 5 }).unwrap();
    run(table.release(Verdict::Acknowledged));
    assert!(seen.iter().all(|seen| *seen.lock().unwrap() == [Verdict::Acknowledged]));
    let (answer, _) = recorder();
    assert!(table.complete(held, answer).is_some());
}

#[test]
fn refusing_is_final() {
    let mut table = paired();
    let ticket = place(&mut table);
    let (answer, seen) = recorder();
    assert!(table.complete(ticket, answer).is_none());
    table.mode = Mode::Refusing;
    table.close_session();
    run(table.release(Verdict::Refused));
    assert_eq!(*seen.lock().unwrap(), [Verdict::Refused]);
    let (answer, _) = recorder();
    assert!(matches!(table.complete(ticket, answer), Some((Verdict::Refused, _))));
    assert!(table.continue_alone(Generation { number: 9, id: 9 }).is_err());
}

#[test]
fn only_the_same_peer_resumes_and_only_where_it_was() {
    let mut table = paired();
    for _ in 0..3 {
        place(&mut table);
    }
    run(table.acknowledge(1, Instant::now()).unwrap());
    assert_eq!(table.greet(&hello(7, 1, 2)), Greeting::Resumes(2));
    assert_eq!(table.kept_after(2).len(), 1);
    assert!(matches!(table.greet(&hello(7, 2, 2)), Greeting::Refused(_)), "another incarnation");
    assert!(matches!(table.greet(&hello(8, 1, 2)), Greeting::Refused(_)), "another session");
    assert!(matches!(table.greet(&hello(7, 1, 9)), Greeting::Refused(_)), "never sent");
    assert!(matches!(table.greet(&hello(7, 1, 0)), Greeting::Refused(_)), "acknowledged more than it has");
    table.mode = Mode::Alone;
    assert!(matches!(table.greet(&hello(7, 1, 2)), Greeting::Refused(_)), "a resync begins anew");
}

#[test]
fn a_peer_of_a_newer_generation_is_never_overwritten() {
    let mut table = Table::new(GENERATION);
    table.expect(7).unwrap();
    for generation in [Generation { number: 5, id: 1 }, Generation { number: 4, id: 1 }] {
        assert!(matches!(table.greet(&Hello { generation, ..hello(7, 1, 0) }), Greeting::Refused(_)));
    }
}

#[test]
fn no_session_begins_while_changes_are_held_back() {
    let mut table = paired();
    assert!(table.expect(8).is_err());
    table.lose();
    assert!(table.expect(8).is_err());
    table.continue_alone(Generation { number: 5, id: 5 }).unwrap();
    assert!(table.expect(8).is_ok());
}

#[test]
fn a_resync_that_breaks_before_its_end_leaves_the_grant_as_it_was() {
    let mut table = Table::new(GENERATION);
    let open = |table: &mut Table, session| {
        table.expect(session).unwrap();
        table.open(&hello(session, 1, 0))
    };
    open(&mut table, 7);
    table.lose();
    table.continue_alone(GENERATION).expect("lost while copying");
    let epoch = open(&mut table, 8);
    assert!(table.pair(epoch));
    table.lose();
    table.continue_alone(GENERATION).expect("lost after copying, before the peer was told");
    assert_eq!(table.mode, Mode::Alone);
    assert!(table.complete_resync().is_err(), "nothing was copied");
    let epoch = open(&mut table, 9);
    assert!(table.pair(epoch));
    table.lose();
    table.complete_resync().expect("the order crosses the loss of the stream");
    assert!(table.continue_alone(GENERATION).is_err(), "the grant was given up");
    table.continue_alone(Generation { number: 5, id: 5 }).unwrap();
}
