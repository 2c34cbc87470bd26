//! The tidy ring: rules that no compiler checks.

#[path = "tidy/catalogue.rs"]
mod catalogue;
#[path = "tidy/source.rs"]
mod source;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Lines a file may have.
const FILE_LINES_MAX: usize = 700;
/// Lines a function may have.
const FUNCTION_LINES_MAX: usize = 70;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace").to_path_buf()
}

/// Files below `folder` (relative to the root) with this extension, without what is built or fetched.
fn files(folder: &str, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(&folder) else {
            continue;
        };
        for path in entries.map(|entry| entry.expect("an entry").path()) {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if path.is_dir() {
                if !name.starts_with("target") && !name.starts_with('.') && name != "node_modules" {
                    folders.push(path);
                }
            } else if path.extension().is_some_and(|found| found == extension) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display()))
}

fn shown(path: &Path) -> String {
    path.strip_prefix(root()).unwrap_or(path).display().to_string()
}

/// Fails with all complaints at once.
fn demand(complaints: &[String], cure: &str) {
    assert!(complaints.is_empty(), "{} found:\n  {}\n{cure}\n", complaints.len(), complaints.join("\n  "));
}

#[test]
fn every_source_file_begins_with_its_one_job() {
    let bad: Vec<String> =
        files("", "rs").iter().filter(|path| !read(path).starts_with("//! ")).map(|path| shown(path)).collect();
    demand(&bad, "Begin each file with `//! ` and one line that says its one job.");
}

#[test]
fn no_source_file_is_too_long() {
    let length = |path: &PathBuf| read(path).lines().count();
    let bad: Vec<String> = files("", "rs")
        .iter()
        .filter(|path| length(path) > FILE_LINES_MAX)
        .map(|path| format!("{}: {} lines", shown(path), length(path)))
        .collect();
    demand(&bad, "Split it by jobs: a file has at most 700 lines (aim at 400).");
}

#[test]
fn no_function_is_too_long() {
    let mut bad = Vec::new();
    for path in files("", "rs") {
        for function in source::functions(&read(&path)) {
            if function.length > FUNCTION_LINES_MAX {
                bad.push(format!("{}:{} fn {}: {} lines", shown(&path), function.line, function.name, function.length));
            }
        }
    }
    demand(&bad, "Split it: a function has at most 70 lines.");
}

#[test]
fn core_does_no_io() {
    let forbidden = [
        "tokio",
        "std::net",
        "std::fs",
        "std::io",
        "std::process",
        "std::env",
        "Instant::now",
        "SystemTime",
        "thread",
        "getrandom",
        "rand::",
        "println!",
        "eprintln!",
        "tracing::",
    ];
    let mut bad = Vec::new();
    for path in files("agent/core/src", "rs") {
        for (number, line) in source::bare(&read(&path)).lines().enumerate() {
            for word in forbidden.iter().filter(|word| line.contains(**word)) {
                bad.push(format!("{}:{} has {word}", shown(&path), number + 1));
            }
        }
    }
    demand(
        &bad,
        "The core gets time, randomness and results as inputs and gives its effects as outputs; move it to the driver.",
    );
}

/// Which of our crates each crate may use.
const DIRECTION: &[(&str, &[&str])] = &[
    ("server/api", &[]),
    ("agent/core", &["holdfast-api"]),
    ("agent/replica", &["holdfast-api", "holdfast-core"]),
    ("agent", &["holdfast-api", "holdfast-core", "holdfast-replica"]),
    ("server", &["holdfast-api"]),
    ("web", &["holdfast-api"]),
    ("tests", &["holdfast-api", "holdfast-core", "holdfast-replica", "holdfast-agent", "holdfast-server"]),
    ("tests/browser", &["holdfast-tests", "holdfast-api"]),
    ("tests/fuzz", &["holdfast-api", "holdfast-core", "holdfast-replica", "holdfast-agent"]),
    ("tests/fuzz/libfuzzer", &["holdfast-fuzz"]),
    ("tests/sim", &["holdfast-api", "holdfast-core", "holdfast-replica"]),
    ("tests/xtask", &[]),
];

/// Names before `=` or `.` in the dependency tables of a manifest.
fn dependencies(manifest: &Path) -> Vec<String> {
    let mut inside = false;
    let mut found = Vec::new();
    for line in read(manifest).lines().map(str::trim) {
        if line.starts_with('[') {
            inside = line.ends_with("dependencies]");
        } else if inside {
            let name: String = line.chars().take_while(|c| c.is_ascii_alphanumeric() || "-_".contains(*c)).collect();
            if !name.is_empty() {
                found.push(name);
            }
        }
    }
    found
}

#[test]
fn crates_depend_in_one_direction() {
    let mut bad = Vec::new();
    let known: BTreeMap<&str, &[&str]> = DIRECTION.iter().copied().collect();
    for manifest in files("", "toml").iter().filter(|path| path.ends_with("Cargo.toml")) {
        let folder = shown(manifest.parent().expect("a folder"));
        if folder.is_empty() {
            continue;
        }
        let Some(allowed) = known.get(folder.as_str()) else {
            bad.push(format!("{folder} is a crate that tests/tests/tidy.rs does not know"));
            continue;
        };
        for name in dependencies(manifest).iter().filter(|name| name.starts_with("holdfast-")) {
            if !allowed.contains(&name.as_str()) {
                bad.push(format!("{folder} depends on {name}"));
            }
        }
    }
    demand(
        &bad,
        "api ◀ core ◀ replica ◀ agent; api ◀ server; api ◀ web; tests sees all. What two sides need lives in server/api.",
    );
}

#[test]
fn core_has_only_pure_dependencies() {
    let allowed = ["blake3", "holdfast-api", "serde", "serde_json", "thiserror", "expect-test", "proptest"];
    let bad: Vec<String> = dependencies(&root().join("agent/core/Cargo.toml"))
        .into_iter()
        .filter(|name| !allowed.contains(&name.as_str()))
        .collect();
    demand(&bad, "agent/core has no dependency that does IO.");
}

#[test]
fn top_level_holds_only_what_the_layout_names() {
    let allowed = [
        "Cargo.toml",
        "Cargo.lock",
        "README.md",
        "LICENSE",
        "server",
        "web",
        "agent",
        "migrations",
        "assets",
        "tests",
        "target",
    ];
    let bad: Vec<String> = fs::read_dir(root())
        .expect("the root")
        .filter_map(|entry| entry.expect("an entry").file_name().into_string().ok())
        .filter(|name| !name.starts_with('.') && !name.starts_with("target-") && !allowed.contains(&name.as_str()))
        .collect();
    demand(&bad, "Nothing else belongs at the top level (README, Layout).");
}

#[test]
fn console_has_no_inline_style_or_script() {
    let mut bad = Vec::new();
    let web = [files("web", "rs"), files("web", "html"), files("assets/console", "html")].concat();
    for path in web {
        for (number, line) in read(&path).lines().enumerate() {
            let line = line.trim_start();
            let attribute = ["style=\"", "style=move", "style:", "onclick=\"", "<script>"]
                .iter()
                .find(|word| line.contains(**word));
            if let Some(word) = attribute.filter(|_| !line.starts_with("//")) {
                bad.push(format!("{}:{} has {word}", shown(&path), number + 1));
            }
        }
    }
    demand(
        &bad,
        "The content security policy refuses inline style and script: use a class in assets/console, or an attribute of SVG.",
    );
}

#[test]
fn no_test_is_ignored() {
    let word = concat!("#[ign", "ore");
    let bad: Vec<String> =
        files("", "rs").iter().filter(|path| read(path).contains(word)).map(|path| shown(path)).collect();
    demand(&bad, "A test that cannot run must fail with the reason.");
}

/// Folders of migrations in their order, with their text.
fn migrations() -> Vec<(String, String)> {
    let mut found: Vec<(String, String)> = fs::read_dir(root().join("migrations"))
        .expect("migrations")
        .map(|entry| entry.expect("an entry").path())
        .map(|path| {
            (path.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned(), read(&path.join("up.sql")))
        })
        .collect();
    found.sort();
    found
}

fn schema(connection: &rusqlite::Connection) -> Vec<String> {
    let mut statement =
        connection.prepare("SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY name").expect("a schema");
    let rows = statement.query_map([], |row| row.get(0)).expect("rows");
    rows.map(|row| row.expect("a row")).collect()
}

#[test]
fn every_migration_applies_to_an_empty_and_to_the_previous_database() {
    let folder = tempfile::tempdir().expect("a folder");
    let previous = folder.path().join("previous.db");
    let all = migrations();
    assert!(!all.is_empty());
    for (index, (name, text)) in all.iter().enumerate() {
        assert_eq!(name.split('-').next(), Some(format!("{:03}", index + 1).as_str()), "{name} is out of order");
        // The previous database was written and closed by an earlier program.
        let connection = rusqlite::Connection::open(&previous).expect("a database");
        connection
            .execute_batch(text)
            .unwrap_or_else(|error| panic!("{name} does not apply to the previous database: {error}"));
        let empty = rusqlite::Connection::open_in_memory().expect("a database");
        for (earlier, text) in &all[..=index] {
            empty
                .execute_batch(text)
                .unwrap_or_else(|error| panic!("{earlier} does not apply to an empty database: {error}"));
        }
        assert_eq!(schema(&connection), schema(&empty), "{name} gives another schema on the previous database");
    }
}
/// The first ```mermaid block of the README that is a state diagram.
fn readme_diagram() -> Option<String> {
    let readme = read(&root().join("README.md"));
    let blocks = readme.split("```mermaid\n").skip(1).filter_map(|rest| rest.split("```").next());
    blocks.map(str::to_owned).find(|block| block.trim_start().starts_with("stateDiagram"))
}

#[test]
fn readme_state_diagram_is_the_automaton() {
    let table = holdfast_core::automaton::mermaid();
    let drawn = readme_diagram().unwrap_or_default();
    assert!(
        drawn.trim() == table.trim(),
        "The README's state diagram is not the automaton's table. Put this into a ```mermaid block:\n{table}"
    );
}

#[test]
fn the_console_makes_its_effects_in_one_place() {
    let mut bad = Vec::new();
    for path in files("web/src", "rs").iter().filter(|path| !path.ends_with("web/src/effect.rs")) {
        for (number, line) in source::bare(&read(path)).lines().enumerate() {
            if ["Effect::new", "Effect::watch", "RenderEffect::new"].iter().any(|made| line.contains(made)) {
                bad.push(format!("{}:{}", shown(path), number + 1));
            }
        }
    }
    demand(&bad, "Use crate::effect::effect: Leptos runs an effect once more though its owner is gone.");
}
