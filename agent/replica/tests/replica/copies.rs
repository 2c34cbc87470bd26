//! Both copies compared, and what a diverged one holds set aside.

use super::*;

/// The secondary's own files, below its mount.
fn below_mount(replica: &Replica, path: &Path) -> PathBuf {
    // The mount is this process's, too; the replica holds a handle of what is below it.
    let folder = PathBuf::from(format!("/proc/{}/fd", replica.child.id()));
    let real = fs::read_dir(&folder).unwrap().filter_map(|entry| {
        let fd = entry.unwrap().path();
        let below = fs::read_link(&fd).ok()? == path && fs::metadata(&fd).ok()?.is_dir();
        // Of the mount itself nobody has a handle; a path through this one is below it.
        below.then_some(fd)
    });
    real.last().unwrap()
}

#[test]
fn a_comparison_under_load_names_exactly_what_differs() {
    let nodes = Nodes::new();
    fill(&nodes.data(1), 0, 60);
    fs::hard_link(nodes.data(1).join("folder1/file1"), nodes.data(1).join("folder2/link")).unwrap();
    let (one, two) = pair(&nodes, |_| {});
    let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let (busy, root) = (stop.clone(), nodes.data(1));
    let load = std::thread::spawn(move || {
        let mut round = 0;
        while !busy.load(std::sync::atomic::Ordering::Relaxed) {
            fill(&root, 60, 80);
            fs::rename(root.join("folder5/file61"), root.join(format!("folder6/moved{}", round % 3))).unwrap();
            let _ = fs::remove_file(root.join("folder0/file70"));
            round += 1;
        }
    });
    for _ in 0..3 {
        let report = one.verify();
        assert_eq!((report.failed, report.named, report.differences), (None, Vec::new(), 0));
        assert!(report.entries >= 60 && report.bytes > 1 << 20);
    }
    let own = below_mount(&two, &nodes.data(2));
    fs::write(own.join("folder0/extra"), "x").unwrap();
    fs::remove_file(own.join("folder1/file8")).unwrap();
    let changed = fs::OpenOptions::new().write(true).open(own.join("folder6/file55")).unwrap();
    let before = changed.metadata().unwrap().modified().unwrap();
    std::os::unix::fs::FileExt::write_all_at(&changed, b"y", 40_000).unwrap();
    changed.set_modified(before).unwrap();
    fs::set_permissions(own.join("folder2/file2"), std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let mut report = one.verify();
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    load.join().unwrap();
    report.named.sort();
    let root = nodes.data(2).display().to_string();
    assert_eq!(
        report.named,
        [
            format!("{root}/folder0/extra: only on the secondary"),
            format!("{root}/folder1/file8: only on the primary"),
            format!("{root}/folder2/file2: mode 644 / 600"),
            format!("{root}/folder6/file55: content, in the 64 KiB from byte 0 on"),
        ]
    );
    assert_eq!(report.differences, 4);
}

#[test]
fn a_diverged_copy_is_set_aside_before_it_is_overwritten() {
    let nodes = Nodes::new();
    for node in [1, 2] {
        fill(&nodes.data(node), 0, 30);
    }
    let state = nodes.state(2);
    let own = nodes.data(2);
    fs::write(own.join("folder3/file3"), "written while wrongly alone").unwrap();
    fs::create_dir_all(own.join("only/deep")).unwrap();
    fs::write(own.join("only/deep/file"), "here alone").unwrap();
    std::os::unix::fs::symlink("anywhere", own.join("link")).unwrap();
    let mut one = nodes.start(1);
    one.command(C::Serve { generation: SECOND });
    one.expect_event(E::Serving);
    fs::write(nodes.data(1).join("folder4/file4"), "changed by the survivor").unwrap();
    let mut two = Replica::start(Configure { state_dir: state.clone(), ..nodes.configure(2) });
    let same = |a: &Path, b: &Path| {
        let time = fs::metadata(a).unwrap().modified().unwrap();
        fs::File::open(b).unwrap().set_modified(time).unwrap();
    };
    for i in 0..30 {
        let name = format!("folder{}/file{i}", i % 7);
        same(&nodes.data(1).join(&name), &own.join(&name));
    }
    two.command(C::SetAside { run: 5, generation: FIRST });
    let (entries, folder) = two.expect("SetAside", |e| match e {
        E::SetAside { run: 5, entries, folder, .. } => Some((*entries, PathBuf::from(folder))),
        _ => None,
    });
    let manifests = setaside::list(&state).unwrap();
    let shown: Vec<_> = manifests[0].entries.iter().map(|e| format!("{} {}", e.kind, e.path)).collect();
    let at = own.display().to_string();
    let wanted = [
        format!("file {at}/folder3/file3"),
        format!("file {at}/folder4/file4"),
        format!("link {at}/link"),
        format!("directory {at}/only"),
        format!("directory {at}/only/deep"),
        format!("file {at}/only/deep/file"),
    ];
    assert_eq!((shown.as_slice(), entries, manifests[0].generation), (&wanted[..], 6, FIRST));
    let aside = |name: &str| folder.join("files").join(own.strip_prefix("/").unwrap()).join(name);
    assert_eq!(fs::read_to_string(aside("folder3/file3")).unwrap(), "written while wrongly alone");
    assert_eq!(fs::read_to_string(aside("only/deep/file")).unwrap(), "here alone");
    assert_eq!(fs::read_link(aside("link")).unwrap(), Path::new("anywhere"));
    // What is the same on both now is not for long.
    assert!(manifests[0].whole);
    assert_eq!(fs::read(aside("folder5/file5")).unwrap(), fs::read(own.join("folder5/file5")).unwrap());
    assert_eq!(fs::read_to_string(own.join("only/deep/file")).unwrap(), "here alone", "nothing was overwritten yet");
    follow(&mut one, &mut two, 9, SECOND);
    assert_eq!(fs::read_to_string(aside("only/deep/file")).unwrap(), "here alone");
    assert!(!own.join("only").exists());
    assert_eq!(one.verify().named, Vec::<String>::new());
    setaside::delete(&state, &manifests[0].id).unwrap();
    assert!(setaside::list(&state).unwrap().is_empty() && setaside::delete(&state, "../x").is_err());
}

#[test]
fn directories_with_more_entries_than_descriptors_are_counted_and_set_aside() {
    const FEW: u64 = 100;
    const MANY: usize = 400;
    let nodes = Nodes::new();
    for number in 0..MANY {
        fs::create_dir_all(nodes.data(2).join(format!("crowd/folder{number}"))).unwrap();
        fs::write(nodes.data(2).join(format!("crowd/folder{number}/file")), "below").unwrap();
        fs::write(nodes.data(2).join(format!("crowd/file{number}")), "here alone").unwrap();
    }
    let (mut one, mut two) = (nodes.start(1), nodes.start(2));
    two.limit_descriptors(FEW);
    two.command(C::Inspect);
    let inventory = two.expect("Inspected", |e| match e {
        E::Inspected { inventory, .. } => Some(*inventory),
        _ => None,
    });
    assert_eq!(inventory.entries, 3 * MANY as u64 + 1);
    one.command(C::Serve { generation: SECOND });
    one.expect_event(E::Serving);
    two.command(C::SetAside { run: 5, generation: FIRST });
    let (entries, folder) = two.expect("SetAside", |e| match e {
        E::SetAside { run: 5, entries, folder, .. } => Some((*entries, PathBuf::from(folder))),
        E::NotSetAside { reason, .. } => panic!("{reason}"),
        _ => None,
    });
    assert_eq!(entries, 3 * MANY as u64 + 1);
    let aside = folder.join("files").join(nodes.data(2).strip_prefix("/").unwrap()).join("crowd");
    for number in 0..MANY {
        assert_eq!(fs::read_to_string(aside.join(format!("folder{number}/file"))).unwrap(), "below");
        assert_eq!(fs::read_to_string(aside.join(format!("file{number}"))).unwrap(), "here alone");
    }
}

#[test]
fn a_copy_that_is_being_set_aside_is_let_go_of_when_it_is_ordered_otherwise() {
    let nodes = Nodes::new();
    // Copying it would take minutes, and no room.
    fs::File::create(nodes.data(2).join("sparse")).unwrap().set_len(1 << 40).unwrap();
    let mut one = nodes.start(1);
    one.command(C::Serve { generation: SECOND });
    one.expect_event(E::Serving);
    let mut two = nodes.start(2);
    two.command(C::SetAside { run: 3, generation: FIRST });
    let all = setaside::folder(&nodes.state(2));
    let below = nodes.data(2).join("sparse").strip_prefix("/").unwrap().to_owned();
    eventually("it is being copied", || {
        let copies = fs::read_dir(&all).into_iter().flatten().flatten();
        copies.into_iter().any(|copy| copy.path().join("files").join(&below).exists())
    });
    two.command(C::Release { abort: false });
    let reason = two.expect("NotSetAside", |e| match e {
        E::NotSetAside { run: 3, reason } => Some(reason.clone()),
        _ => None,
    });
    assert!(reason.contains("ordered otherwise"), "{reason}");
    assert!(setaside::list(&nodes.state(2)).unwrap().is_empty());
    assert!(nodes.data(2).join("sparse").exists());
}

#[test]
fn what_a_resync_would_change_is_told_beforehand_and_nothing_is_changed() {
    let nodes = Nodes::new();
    for node in [1, 2] {
        fill(&nodes.data(node), 0, 30);
    }
    let mut one = nodes.start(1);
    one.command(C::Serve { generation: FIRST });
    one.expect_event(E::Serving);
    fs::write(nodes.data(1).join("novel"), vec![7; 300_000]).unwrap();
    fs::write(nodes.data(2).join("folder3/file3"), "other").unwrap();
    fs::write(nodes.data(2).join("extra"), "here alone").unwrap();
    let mut two = nodes.start(2);
    let report = two.verify();
    assert_eq!(report.failed, None);
    let root = nodes.data(2).display().to_string();
    let named = |name: &str| report.named.iter().any(|line| line.starts_with(&format!("{root}/{name}: ")));
    assert!(named("novel") && named("extra") && named("folder3/file3"), "{:?}", report.named);
    // Five blocks of the new file, and one of the other.
    assert_eq!(report.bytes_to_copy, 6 * 65536);
    assert_eq!(fs::read_to_string(nodes.data(2).join("extra")).unwrap(), "here alone");
    assert!(!nodes.data(2).join("novel").exists());
    follow(&mut one, &mut two, 7, FIRST);
    let failed = two.verify().failed.unwrap();
    assert!(failed.contains("does not serve"), "{failed}");
    assert_eq!(one.verify().named, Vec::<String>::new());
    release_both(&nodes, one, two);
}

#[test]
fn what_cannot_be_compared_is_not_taken_for_set_aside() {
    let nodes = Nodes::new();
    let mut two = nodes.start(2);
    two.command(C::SetAside { run: 1, generation: FIRST });
    let reason = two.expect("NotSetAside", |e| match e {
        E::NotSetAside { run: 1, reason } => Some(reason.clone()),
        _ => None,
    });
    assert!(reason.contains("asking the primary"), "{reason}");
}
