//! Suites and programs that know how a local file system behaves, on the mount of a pair under load and on the same disk
//! without us: what differs is listed here, and both copies are equal afterwards.

use crate::bench::{Bench, MODULE, Scenario, TIMEOUT_MS, progress, settle};
use anyhow::{Context, Result, bail, ensure};
use holdfast_replica::verify::{Compare, compare_trees_and_holes};
use holdfast_tests::lab::Lab;
use holdfast_tests::lab::cluster::ModulePlan;
use holdfast_tests::lab::wait::wait_until;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How many seconds each time-bound part takes, instead of [`SECONDS`].
const SECONDS_VARIABLE: &str = "HOLDFAST_SUITE_SECONDS";
const SECONDS: u32 = 6;

/// On the mount, and beside it on the same disk.
const MOUNT: &str = "/srv/bank/suites";
const DISK: &str = "/srv/reference";
/// Another file system.
const OTHER: &str = "/srv/other";

/// Tests of pjdfstest that end otherwise on the mount: the C library knows the greatest number of links of some file
/// systems by their name, and of no FUSE one, so this test is skipped.
const DEVIATIONS: [&str; 1] = ["link::link_count_max"];
/// Fewer mean that it did not really run.
const TESTS_MIN: usize = 200;

/// Named tests of this file.
pub const SCENARIOS: &[Scenario] =
    &[Scenario { name: "posix_suites_find_a_local_file_system_and_both_copies_are_equal", run: suites }];

fn suites(_: &mut Bench) -> Result<()> {
    let prepare = |lab: &Lab| {
        let line = format!("mkdir -p {DISK} {OTHER} && mount -t tmpfs -o size=64m tmpfs {OTHER}");
        lab.host(1).shell(&line).map(|_| ())
    };
    Bench::own("suites", &ModulePlan::bank(TIMEOUT_MS), prepare)?.tell(|bench| {
        let load = bench.load()?;
        progress(&load, 20)?;
        let lab = bench.lab()?;
        lab.host(1).shell(&format!("mkdir {MOUNT}"))?;
        for (name, part) in PARTS {
            let began = Instant::now();
            part(lab)?;
            println!("  {name}: {:.1} s", began.elapsed().as_secs_f64());
        }
        lab.wait_pair(MODULE, 1)?;
        progress(&load, 20)?;
        bench.finish(load)?;
        let began = Instant::now();
        demand_equal(bench.lab()?)?;
        println!("  comparing both copies: {:.1} s", began.elapsed().as_secs_f64());
        Ok(())
    })
}

type Part = (&'static str, fn(&Lab) -> Result<()>);
const PARTS: [Part; 4] =
    [("pjdfstest", system_calls), ("fsx", random_operations), ("stress-ng", stress), ("programs", programs)];

fn seconds() -> u32 {
    std::env::var(SECONDS_VARIABLE).ok().and_then(|text| text.parse().ok()).unwrap_or(SECONDS)
}

/// A program that `cargo xtask test` installs below the target folder.
fn tool(name: &str) -> Result<PathBuf> {
    let program = std::env::current_exe()?;
    let target = program.ancestors().nth(3).context("no target folder")?;
    let path = target.join("tools/bin").join(name);
    ensure!(path.is_file(), "{name} is not installed; `cargo xtask test --only namespaces` installs it");
    Ok(path)
}

/// Runs a program on the primary; what it printed, and whether it succeeded.
fn ran(lab: &Lab, limit_s: u32, program: &Path, arguments: &[&str]) -> Result<(String, bool)> {
    let output = lab.host(1).output(limit_s, &program.display().to_string(), arguments)?;
    let text = [output.stdout, output.stderr].concat();
    Ok((String::from_utf8_lossy(&text).into_owned(), output.status.success()))
}

/// What pjdfstest says of each of its tests.
fn verdicts(lab: &Lab, directory: &str) -> Result<BTreeMap<String, (String, String)>> {
    let configuration = lab.folder().join("pjdfstest.toml");
    let text = format!(
        "[features]\nsecondary_fs = \"{OTHER}\"\nposix_fallocate = {{}}\nutime_now = {{}}\nutimensat = {{}}\n\
         rename_ctime = {{}}\nstat_st_birthtime = {{}}\n[settings]\nnaptime = 0.02\n\
         [dummy_auth]\nentries = [[\"nobody\", \"nogroup\"], [\"daemon\", \"daemon\"]]\n"
    );
    std::fs::write(&configuration, text)?;
    let configuration = configuration.display().to_string();
    let (said, _) = ran(lab, 300, &tool("pjdfstest")?, &["-c", &configuration, "-p", directory])?;
    let mut found: BTreeMap<String, (String, String)> = BTreeMap::new();
    let mut last = None;
    for line in said.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            [name, verdict] if ["ok", "FAILED", "skipped"].contains(&verdict) && name.contains("::") => {
                found.insert(name.to_owned(), (verdict.to_owned(), String::new()));
                last = Some(name.to_owned());
            }
            _ => {
                if let Some((_, why)) = last.as_ref().and_then(|name| found.get_mut(name)) {
                    why.push_str(line);
                }
            }
        }
    }
    ensure!(found.len() >= TESTS_MIN, "pjdfstest told of {} tests only:\n{said}", found.len());
    Ok(found)
}

fn system_calls(lab: &Lab) -> Result<()> {
    let (here, there) = (verdicts(lab, MOUNT)?, verdicts(lab, DISK)?);
    let ok = here.values().filter(|(verdict, _)| verdict == "ok").count();
    println!("  pjdfstest: {ok} of {} tests pass on the mount", here.len());
    let other: Vec<_> =
        here.iter().filter(|(name, told)| there.get(*name).is_none_or(|same| same.0 != told.0)).collect();
    let names: Vec<&str> = other.iter().map(|(name, _)| name.as_str()).collect();
    ensure!(names == DEVIATIONS, "not as on the disk without us: {other:#?}");
    Ok(())
}

/// fsx on one file after the other, each with its seed.
fn random_operations(lab: &Lab) -> Result<()> {
    let began = Instant::now();
    for seed in 1.. {
        let (seed, path) = (seed.to_string(), format!("{MOUNT}/fsx{seed}"));
        let (said, fine) = ran(lab, 120, &tool("fsx")?, &["-S", &seed, "-N", "1000", "-P", "/tmp", "-q", &path])?;
        ensure!(fine, "fsx -S {seed}: {said}");
        if began.elapsed() >= Duration::from_secs(u64::from(seconds())) {
            println!("  fsx: {seed} seeds");
            return Ok(());
        }
    }
    Ok(())
}

/// What stress-ng knows of file systems. Not: mounts and what is no file (bind-mount, binderfs, eventfd, procfs, ioprio);
/// what marks or syncs the whole machine (fanotify, io); what no FUSE file system has (chattr, inode-flags, verity,
/// fiemap); copy-file, which takes 128 MB at least; iomix, which waits for the disk for most of half a minute.
const STRESSORS: [&str; 36] = [
    "access",
    "chdir",
    "chmod",
    "chown",
    "dentry",
    "dir",
    "dirdeep",
    "dirmany",
    "dnotify",
    "dup",
    "fallocate",
    "fcntl",
    "file-ioctl",
    "filename",
    "flock",
    "fpunch",
    "fsize",
    "fstat",
    "getdent",
    "handle",
    "hdd",
    "inotify",
    "lease",
    "link",
    "locka",
    "lockf",
    "lockofd",
    "mknod",
    "open",
    "rename",
    "seek",
    "symlink",
    "sync-file",
    "touch",
    "utime",
    "xattr",
];

/// All of them at once.
fn stress(lab: &Lab) -> Result<()> {
    let (time, folder) = (format!("{}s", seconds()), format!("{MOUNT}/stress"));
    lab.host(1).shell(&format!("mkdir {folder}"))?;
    let ones: Vec<String> = STRESSORS.iter().flat_map(|name| [format!("--{name}"), "1".into()]).collect();
    // Small files: the machine's disk holds two copies of them, and may be nearly full.
    let sizes = "--hdd-bytes 8m --fallocate-bytes 8m --sync-file-bytes 8m --seek-size 8m \
                 --chdir-dirs 256 --dentries 512 --dirdeep-inodes 1000";
    let how = ["-t", &time, "--verify", "--temp-path", &folder];
    let arguments: Vec<&str> = ones.iter().map(String::as_str).chain(sizes.split_whitespace()).chain(how).collect();
    let (said, fine) = ran(lab, seconds() + 120, Path::new("stress-ng"), &arguments)?;
    ensure!(fine && !said.contains("fail:") && !said.contains("skipping"), "stress-ng: {said}");
    println!("  stress-ng: {} stressors", STRESSORS.len());
    Ok(())
}

/// Programs that people use, and what only some file systems can: each twice, on the mount and on the disk without us.
fn programs(lab: &Lab) -> Result<()> {
    let lines = [
        "tar -C / -cf - etc usr/share/perl5 | tar -C . -xpf - && diff -r --no-dereference /usr/share/perl5 usr/share/perl5",
        "git init -q repository && cp -r usr/share/perl5 repository/ && cd repository && git add . \
         && git -c user.name=lab -c user.email=lab commit -qm first && git mv perl5 moved \
         && git -c user.name=lab -c user.email=lab commit -qm second && git gc -q && git checkout -q HEAD~1 \
         && git fsck --strict --no-progress && git status --porcelain | wc -l | grep -qx 0",
        "dd if=/dev/urandom of=direct bs=64k count=16 oflag=direct status=none && dd if=direct of=/dev/null bs=4k iflag=direct status=none",
        "truncate -s 1G sparse && printf end | dd of=sparse bs=1 seek=900000000 conv=notrunc status=none \
         && fallocate -l 2M holes && dd if=/dev/urandom of=holes bs=64k count=32 conv=notrunc status=none \
         && fallocate -p -o 65536 -l 131072 holes && cp --sparse=always holes copied && test $(du -k sparse | cut -f1) -lt 100",
        "touch \"$(printf 'not-\\377-utf8')\" && mkdir \"$(printf '\\001\\200')\" && ln -s \"$(printf '\\377')\" link \
         && ls | LC_ALL=C grep -qa \"$(printf 'not-\\377-utf8')\"",
        "exec 9>locked && flock -n 9 && ! flock -n locked true && exec 9>&- && flock -n locked true",
    ];
    for line in lines {
        for directory in [MOUNT, DISK] {
            let script = format!("set -e; cd {directory}; export HOME=/tmp; {line}");
            let output = lab.host(1).output(120, "sh", &["-c", &script])?;
            ensure!(output.status.success(), "{directory}: {line}: {}", String::from_utf8_lossy(&output.stderr));
        }
    }
    Ok(())
}

fn demand_equal(lab: &Lab) -> Result<()> {
    let (left, right) = (lab.backing(1, "/srv/bank"), lab.backing(2, "/srv/bank"));
    wait_until("both copies to be equal", Duration::from_secs(30), || {
        settle(lab, 1)?;
        let found = compare_trees_and_holes(&left, &right, Compare { stamped_times: false })?;
        let shown: Vec<String> = found.iter().take(20).map(ToString::to_string).collect();
        if shown.is_empty() { Ok(true) } else { bail!("{} differences: {}", found.len(), shown.join("; ")) }
    })
}
