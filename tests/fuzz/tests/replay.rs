//! The committed corpus of every format and mutations of it: no panic, no memory out of proportion, refusals in words.

use holdfast_fuzz::{TARGETS, corpus_folder, memory, replay, target};

#[global_allocator]
static ALLOCATOR: memory::Counting = memory::Counting;

fn holds(name: &str) {
    let target = target(name).unwrap_or_else(|| panic!("no target {name}"));
    let counts = replay(target, 1, target.mutations).unwrap_or_else(|why| panic!("{why}"));
    println!("{name}: {counts:?}");
    assert!(counts.read > 5 && counts.refused > 20, "{name}: {counts:?}");
}

macro_rules! replays {
    ($($test:ident $target:literal,)*) => {
        $(#[test] fn $test() { holds($target); })*

        #[test]
        fn every_target_is_replayed_and_has_a_corpus() {
            let replayed = [$($target),*];
            for target in TARGETS {
                assert!(replayed.contains(&target.name), "{} is not replayed", target.name);
                let files = std::fs::read_dir(corpus_folder(target)).expect("a corpus").count();
                assert!(files > 4, "{} has {files} files", target.name);
            }
        }
    };
}

replays! {
    userconfig_names_a_place_or_is_read_and_edited "userconfig",
    rules_name_a_place_or_are_read_back_as_printed "rules",
    packages_are_read_or_refused_in_words "package",
    heartbeats_are_refused_or_read_as_sent "heartbeat",
    ledgers_are_refused_or_read_and_saved "ledger",
    frames_of_the_cluster_link_are_refused_or_read_as_sent "cluster-link",
    lines_of_the_command_line_are_refused_or_read_as_sent "command-line",
    control_messages_are_refused_or_read_as_sent_in_any_pieces "replica-control",
    stream_frames_are_refused_or_read_as_sent "stream",
    messages_of_agents_and_server_are_refused_or_read_as_sent "agent-server",
    bodies_of_the_console_are_refused_or_read_as_sent "console",
    lines_of_enrolment_are_refused_or_read_as_sent "enrolment",
    answers_of_etcd_are_refused_or_read "register",
}

#[test]
fn what_takes_much_memory_is_seen() {
    let (_, taken) = memory::taken(|| drop(vec![0_u8; 1 << 20]));
    assert!(taken >= 1 << 20, "{taken}");
}
