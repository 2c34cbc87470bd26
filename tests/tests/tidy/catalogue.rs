//! The module log says what it has to: each entry of its catalogue stands, in our words, in a golden transcript.

use super::{files, root};
use std::fs;

/// What is logged, its level, and words of the line.
const CATALOGUE: [(&str, &str, &str); 37] = [
    ("a person's command", "User", "start by operator"),
    ("a start at boot", "Event", "start by boot"),
    ("an automatic start", "Event", "automatic start after a stopstart"),
    ("a refused command with the cure", "Warning", "prim by operator refused: "),
    ("an action of a rule", "Event", "wait by rule p_gw: ping.gw is down"),
    ("the end of a wait", "Event", "wakes up: no wait rule holds any more"),
    ("this node's state", "Event", "STOP NotReady -> WAIT Transient: start"),
    ("the peer's state", "Event", " is PRIM Ready (was "),
    ("a peer that is not heard", "Warning", "no heartbeat for "),
    ("a resource that is up", "Event", "is up (was init), says pingcheck"),
    ("a resource that is down", "Warning", "is down (was up), says pingcheck"),
    ("a script", "Script", "run start_prim"),
    ("a missing process", "Error", "process app is missing"),
    ("the last restart", "Event", "(maxloop): the module stops here"),
    ("a swap", "Event", "(swap by operator)"),
    ("a swap to the preferred node", "Event", "automatic swap by defaultprim"),
    ("a start as primary that is given up", "Error", "not started as primary: "),
    ("a copy that is incomplete, and what an operator can do", "Event", "the resync here did not end"),
    ("failover switched off, and what an operator can do", "Event", "failover is off; start "),
    ("the node that stays after both served", "Warning", "this node stays primary"),
    ("the node that gives way after both served", "Error", "both nodes served apart from each other and "),
    ("writes that are held back", "Warning", "writes are held back: "),
    (
        "a node that may not be the newest, and what an operator can do",
        "Warning",
        ", which has served after this node: start ",
    ),
    ("a peer that may be newer and is silent", "Warning", ", which is silent and may have served after this node: "),
    ("a first start, which needs a choice", "Warning", "an operator to choose the reference: order `prim`"),
    ("a copy that is no longer complete", "Event", "this copy is inconsistent from then on"),
    ("a directory whose disk is not mounted", "Warning", ", which must be there before replication starts"),
    ("a resync that begins", "Event", "resync from it"),
    ("a resync that has ended", "Event", "resync complete: up to date"),
    ("a resync that broke", "Info", "to offer a resync again"),
    ("a peer heard for the first time", "Event", "(was unknown)"),
    ("a witness that hides", "Warning", "so this node is the isolated one"),
    ("a register that cannot be asked", "Warning", "the register, which cannot be asked: "),
    ("addresses taken away until it is sure", "Warning", "the virtual addresses are released until "),
    ("addresses that are back", "Event", "the virtual addresses are set again"),
    ("what both served and where it is", "Warning", "set aside in "),
    ("a machine that stood still", "Warning", "this node did nothing for "),
];

#[test]
fn every_entry_of_the_module_logs_catalogue_stands_in_a_golden_transcript() {
    let transcripts: String = files("tests/sim/scenarios", "txt")
        .iter()
        .map(|path| fs::read_to_string(path).expect("a transcript"))
        .collect();
    assert!(!transcripts.is_empty(), "no transcripts below {}", root().display());
    let missing: Vec<&str> = CATALOGUE
        .iter()
        .filter(|(_, level, words)| {
            !transcripts.lines().any(|line| line.contains(&format!(" {level} ")) && line.contains(words))
        })
        .map(|(what, ..)| *what)
        .collect();
    assert!(missing.is_empty(), "no transcript shows: {missing:?}");
}
