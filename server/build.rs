//! Embeds the module templates and, if `HOLDFAST_CONSOLE_DIST` names its folder, the built console.

use std::fmt::Write;
use std::path::{Path, PathBuf};

fn files_below(folder: &Path, found: &mut Vec<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return;
    };
    for entry in entries.flatten() {
        let path = entry.path();
        if path.is_dir() {
            files_below(&path, found);
        } else {
            found.push(path);
        }
    }
    found.sort();
}

fn main() {
    let here = PathBuf::from(std::env::var("CARGO_MANIFEST_DIR").expect("cargo sets it"));
    let mut out = String::from("/// Template, path in the module, bytes, may be run.\n");
    out.push_str("static TEMPLATES: &[(&str, &str, &[u8], bool)] = &[\n");
    let modules = here.join("../assets/modules");
    println!("cargo:rerun-if-changed={}", here.join("../assets").display());
    println!("cargo:rerun-if-changed={}", modules.display());
    let mut found = Vec::new();
    files_below(&modules, &mut found);
    for file in found {
        let inside = file.strip_prefix(&modules).expect("it is below").to_string_lossy().into_owned();
        let Some((template, path)) = inside.split_once('/') else {
            continue;
        };
        let run = path.starts_with("bin/");
        writeln!(out, "({template:?}, {path:?}, include_bytes!({file:?}), {run}),").expect("memory");
    }
    out.push_str("];\n/// Path, bytes.\nstatic CONSOLE: &[(&str, &[u8])] = &[\n");
    println!("cargo:rerun-if-env-changed=HOLDFAST_CONSOLE_DIST");
    if let Some(dist) = std::env::var_os("HOLDFAST_CONSOLE_DIST").map(PathBuf::from) {
        println!("cargo:rerun-if-changed={}", dist.display());
        let mut found = Vec::new();
        files_below(&dist, &mut found);
        for file in found {
            let path = file.strip_prefix(&dist).expect("it is below");
            writeln!(out, "({path:?}, include_bytes!({file:?})),").expect("memory");
        }
    }
    out.push_str("];\n");
    let target = PathBuf::from(std::env::var("OUT_DIR").expect("cargo sets it")).join("embedded.rs");
    std::fs::write(target, out).expect("the build folder can be written");
}
