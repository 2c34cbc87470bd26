//! A follower and what it saves, without a primary.

use super::*;
use crate::control::AsyncMode;
use crate::filter::Filter;
use crate::tls::tests::Keys;
use std::os::fd::OwnedFd;

/// A follower that finds nobody, and its tracker.
fn follower(base: &std::path::Path) -> (Follower, Arc<Tracker>) {
    let root = Arc::new(OwnedFd::from(std::fs::File::open(base).unwrap()));
    let tracker = Tracker::open(base, (vec![root.clone()], &Filter::default()), "boot").unwrap().unwrap();
    let local = Local {
        module: 1,
        node: 2,
        peer_node: 1,
        boot_id: "boot".into(),
        incarnation: 1,
        send_timeout: Duration::from_secs(1),
        resume_window: Duration::from_secs(1),
    };
    let follow = Follow {
        local,
        peer: "127.0.0.1:1".parse().unwrap(),
        protection: Keys::new().trusting(&Keys::new()),
        session: 9,
        generation: Generation { number: 1, id: 1 },
        events: Arc::new(|_| {}),
        tracker: Some(tracker.clone()),
    };
    let applier = Applier::new(vec![(base.to_owned(), root)], AsyncMode::Second).unwrap();
    (Follower::start(follow, applier), tracker)
}

#[test]
fn what_ends_after_a_fence_is_not_saved() {
    let folder = tempfile::tempdir_in("/tmp").unwrap();
    let (mut follower, tracker) = follower(folder.path());
    follower.shared.know(|tracker| tracker.paired(5, u64::MAX)).unwrap();
    follower.fence();
    follower.shared.know(|tracker| tracker.paired(9, u64::MAX)).unwrap_err();
    assert_eq!(tracker.standing().base, 5);
}

#[test]
fn a_doubt_is_not_taken_back_by_what_was_under_way() {
    let folder = tempfile::tempdir_in("/tmp").unwrap();
    let (follower, tracker) = follower(folder.path());
    follower.shared.know(|tracker| tracker.paired(5, u64::MAX)).unwrap();
    assert_eq!(follower.shared.doubt("a disk failed".into()), "a disk failed");
    follower.shared.know(|tracker| tracker.paired(9, u64::MAX)).unwrap_err();
    assert_eq!(tracker.standing(), crate::track::Standing::default());
}
