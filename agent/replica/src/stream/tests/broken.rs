//! Rules of the stream, broken on purpose: each is seen by somebody who reads the other copy after every write.

use super::support::Pair;
use super::tracked::differences;
use std::fs;
use std::os::unix::fs::FileExt;

/// What somebody sees who writes one block again and again.
#[derive(Debug, PartialEq, Eq)]
struct Observed {
    /// Writes that were acknowledged and not in the other copy then.
    missing: usize,
    /// Whether the copies are the same in the end.
    same: bool,
}

fn overwrite(acknowledges_early: bool, applies_out_of_order: bool) -> Observed {
    let mut pair = Pair::tracked(|a, _| fs::write(a.join("file"), [0; 8]).unwrap());
    pair.applies_out_of_order = applies_out_of_order;
    pair.resync(1);
    pair.sender.acknowledge_early(acknowledges_early);
    let file = fs::File::options().write(true).open(pair.a().join("file")).unwrap();
    let mut missing = 0;
    for number in 1..=600_u64 {
        file.write_all_at(&number.to_le_bytes(), 0).unwrap();
        missing += usize::from(fs::read(pair.b().join("file")).unwrap() != number.to_le_bytes());
    }
    drop(file);
    pair.stop();
    Observed { missing, same: differences(&pair).is_empty() }
}

#[test]
fn what_is_acknowledged_is_in_the_other_copy() {
    assert_eq!(overwrite(false, false), Observed { missing: 0, same: true });
}

#[test]
fn an_acknowledgement_before_the_peers_is_seen() {
    let observed = overwrite(true, false);
    assert!(observed.missing > 0, "{observed:?}");
}

#[test]
fn changes_applied_out_of_order_are_seen() {
    let observed = overwrite(false, true);
    assert!(observed.missing > 0 && !observed.same, "{observed:?}");
}
