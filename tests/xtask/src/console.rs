//! Builds the console: wasm by cargo, glue by wasm-bindgen as a library, one hashed directory, compressed siblings.

use crate::editor;
use anyhow::{Context, Result, ensure};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The target the console is compiled for.
const TARGET: &str = "wasm32-unknown-unknown";
/// Raised when the layout of the output changes, so that an older one is rebuilt.
const LAYOUT: u8 = 3;
/// Files smaller than this (bytes) are served as they are.
const COMPRESS_MIN: u64 = 256;
/// Compressed bytes that a browser should have to load at most before the console can be used.
const FIRST_LOAD_MAX: u64 = 300_000;
/// What is loaded only where it is needed: the editor, and the texts of other languages than English.
const EDITOR: &str = "editor.js";
/// In `index.html`, replaced by the address of the hashed directory.
const ASSETS_MARK: &str = "{{assets}}";

/// Builds the console into `target/console/dist` and returns that folder's path.
///
/// The folder holds `index.html` and `assets/<hash>/…`, the hash covering every file, so that all below
/// `assets/` may be cached for ever; each larger file has `.br` and `.gz` siblings. `release` optimises and
/// compresses for delivery. Nothing is written when the inputs have not changed.
///
/// # Errors
/// When the console does not compile, or a file cannot be written.
pub fn build(root: &Path, release: bool) -> Result<PathBuf> {
    let wasm = compile(root, release)?;
    let sources = [root.join("assets/console"), root.join("web/locales")];
    let editor = editor_or_none(root, release)?;
    let out = root.join("target/console");
    let dist = out.join("dist");
    let key = input_key(&wasm, &sources, editor.as_deref(), release)?;
    if fs::read_to_string(dist.join(".key")).is_ok_and(|saved| saved == key) {
        return Ok(dist);
    }
    let stage = fresh_dir(&out.join("stage"))?;
    bind(&split(&wasm, &stage)?, &stage, release)?;
    for folder in &sources {
        copy_sources(folder, &stage)?;
    }
    ensure!(stage.join("index.html").is_file(), "assets/console/index.html is missing");
    if let Some(editor) = editor {
        fs::copy(&editor, stage.join(EDITOR)).context("cannot copy the editor")?;
    }
    let fresh = fresh_dir(&out.join("dist.new"))?;
    lay_out(&stage, &fresh)?;
    compress_tree(&fresh, release)?;
    fs::write(fresh.join(".key"), &key).context("cannot write the console's key")?;
    let first_load = first_load(&fresh)?;
    println!("console: first load {first_load} bytes compressed (a release build aims at {FIRST_LOAD_MAX})");
    if release && first_load > FIRST_LOAD_MAX {
        // A console that loads a moment later is better than none.
        eprintln!("warning: the console's first load has grown beyond {FIRST_LOAD_MAX} bytes");
    }
    swap_in(&fresh, &dist)?;
    fs::remove_dir_all(&stage).ok();
    Ok(dist)
}

/// The editor's file. Without Node or the registry a development build goes without: the console then edits in plain
/// fields.
fn editor_or_none(root: &Path, release: bool) -> Result<Option<PathBuf>> {
    match editor::bundle(root) {
        Ok(path) => Ok(Some(path)),
        Err(error) if !release => {
            eprintln!("warning: the console is built without its editor: {error:#}");
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// Compiles the crate; returns the path of the wasm file.
fn compile(root: &Path, release: bool) -> Result<PathBuf> {
    let profile = if release { "wasm-release" } else { "wasm-dev" };
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let target_dir = root.join("target");
    // Without type erasure views are large types, slow to compile, and the release is 17 % larger on the wire. The
    // variable also replaces flags meant for the native build (RUSTFLAGS would win over it).
    // With its relocations the program can be cut into pieces.
    let flags = "--cfg erase_components -Clink-args=--emit-relocs";
    let status = Command::new(cargo)
        .current_dir(root)
        .args([
            "build",
            "--quiet",
            "--package",
            "holdfast-web",
            "--lib",
            "--target",
            TARGET,
            "--profile",
            profile,
            "--target-dir",
        ])
        .arg(&target_dir)
        .env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUSTFLAGS", flags)
        .env_remove("RUSTFLAGS")
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .status()
        .context("cannot run cargo")?;
    ensure!(status.success(), "the console does not compile (see above)");
    Ok(target_dir.join(TARGET).join(profile).join("holdfast_web.wasm"))
}

/// One hash over everything the output depends on.
fn input_key(wasm: &Path, sources: &[PathBuf], editor: Option<&Path>, release: bool) -> Result<String> {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&[LAYOUT, u8::from(release)]);
    hasher.update(&fs::read(wasm).with_context(|| format!("cannot read {}", wasm.display()))?);
    for folder in sources {
        for (name, path) in files_below(folder)? {
            hash_file(&mut hasher, &name, &path)?;
        }
    }
    if let Some(editor) = editor {
        hash_file(&mut hasher, EDITOR, editor)?;
    }
    Ok(hasher.finalize().to_hex().to_string())
}

/// Cuts the pieces that are loaded later out of the program, into the stage; the path of what is left.
fn split(wasm: &Path, stage: &Path) -> Result<PathBuf> {
    let program = fs::read(wasm).with_context(|| format!("cannot read {}", wasm.display()))?;
    let main = wasm.with_extension("main.wasm");
    let mut options = wasm_split_cli_support::Options::new(&program);
    options.output_dir = stage;
    options.main_out_path = &main;
    options.main_module = "./app.js";
    wasm_split_cli_support::transform(options)
        .map_err(|error| anyhow::anyhow!("the console's program cannot be cut into pieces: {error:#}"))?;
    Ok(main)
}

/// Generates the JavaScript glue beside the wasm file.
fn bind(wasm: &Path, stage: &Path, release: bool) -> Result<()> {
    let mut bindgen = wasm_bindgen_cli_support::Bindgen::new();
    bindgen
        .input_path(wasm)
        .web(true)?
        .typescript(false)
        .debug(!release)
        .keep_debug(!release)
        // The pieces call each other by these names.
        .keep_lld_exports(true)
        .demangle(false)
        .remove_producers_section(release)
        .remove_name_section(release)
        .out_name("app")
        .generate(stage)
        .context("wasm-bindgen cannot make the console's JavaScript")
}

/// Copies a folder into the stage.
fn copy_sources(sources: &Path, stage: &Path) -> Result<()> {
    for (name, path) in files_below(sources)? {
        let to = stage.join(&name);
        make_parent(&to)?;
        fs::copy(&path, &to).with_context(|| format!("cannot copy {}", path.display()))?;
    }
    Ok(())
}

/// Moves the stage below `assets/<hash>` of `fresh` and writes `index.html` with that address.
fn lay_out(stage: &Path, fresh: &Path) -> Result<()> {
    let files = files_below(stage)?;
    let mut hasher = blake3::Hasher::new();
    for (name, path) in &files {
        hash_file(&mut hasher, name, path)?;
    }
    let hash = hasher.finalize().to_hex()[..16].to_owned();
    let assets = fresh.join("assets").join(&hash);
    for (name, path) in files.iter().filter(|(name, _)| name != "index.html") {
        let to = assets.join(name);
        make_parent(&to)?;
        fs::copy(path, &to).with_context(|| format!("cannot copy {}", path.display()))?;
    }
    let index = fs::read_to_string(stage.join("index.html")).context("cannot read index.html")?;
    ensure!(index.contains(ASSETS_MARK), "assets/console/index.html does not name its assets by {ASSETS_MARK}");
    fs::write(fresh.join("index.html"), index.replace(ASSETS_MARK, &format!("/assets/{hash}")))
        .context("cannot write index.html")
}

/// Writes the `.br` and `.gz` siblings of every file worth it.
fn compress_tree(dir: &Path, release: bool) -> Result<()> {
    for (name, path) in files_below(dir)? {
        let bytes = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        if (bytes.len() as u64) < COMPRESS_MIN {
            continue;
        }
        fs::write(dir.join(format!("{name}.br")), brotli(&bytes, release)?)
            .context("cannot write a compressed file")?;
        fs::write(dir.join(format!("{name}.gz")), gzip(&bytes, release)?).context("cannot write a compressed file")?;
    }
    Ok(())
}

/// True for what the page loads at its start: not the editor, no other language's texts, no piece of the program.
fn is_loaded_first(name: &str) -> bool {
    let file = name.rsplit('/').next().unwrap_or(name);
    let is_piece = file.ends_with(".wasm") && (file.starts_with("split_") || file.starts_with("chunk_"));
    !(is_piece || file.ends_with(EDITOR) || file.ends_with(".json"))
}

/// Bytes of everything that the page loads at its start, as brotli makes them.
fn first_load(dir: &Path) -> Result<u64> {
    let files = files_below(dir)?;
    let mut sum = 0;
    let plain = |name: &str| !name.ends_with(".br") && !name.ends_with(".gz") && !name.starts_with('.');
    for (name, path) in files.iter().filter(|(name, _)| plain(name) && is_loaded_first(name)) {
        let small = dir.join(format!("{name}.br"));
        let taken = if small.is_file() { &small } else { path };
        sum += fs::metadata(taken).with_context(|| format!("cannot look at {}", taken.display()))?.len();
    }
    Ok(sum)
}

fn brotli(bytes: &[u8], release: bool) -> Result<Vec<u8>> {
    let params =
        brotli::enc::BrotliEncoderParams { quality: if release { 11 } else { 3 }, lgwin: 22, ..Default::default() };
    let mut out = Vec::new();
    brotli::BrotliCompress(&mut &*bytes, &mut out, &params).context("brotli failed")?;
    Ok(out)
}

fn gzip(bytes: &[u8], release: bool) -> Result<Vec<u8>> {
    let level = if release { flate2::Compression::best() } else { flate2::Compression::fast() };
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), level);
    encoder.write_all(bytes).context("gzip failed")?;
    encoder.finish().context("gzip failed")
}

/// Puts `fresh` in the place of `dist`; a server that reads `dist` sees one or the other.
fn swap_in(fresh: &Path, dist: &Path) -> Result<()> {
    let old = dist.with_extension("old");
    fs::remove_dir_all(&old).ok();
    if dist.exists() {
        fs::rename(dist, &old).with_context(|| format!("cannot move {} away", dist.display()))?;
    }
    fs::rename(fresh, dist).with_context(|| format!("cannot put {} in place", dist.display()))?;
    fs::remove_dir_all(&old).ok();
    Ok(())
}

/// Every file below `dir` as (path with slashes relative to `dir`, path), sorted by name.
fn files_below(dir: &Path) -> Result<Vec<(String, PathBuf)>> {
    let mut found = Vec::new();
    let mut pending = vec![dir.to_owned()];
    while let Some(here) = pending.pop() {
        for entry in fs::read_dir(&here).with_context(|| format!("cannot list {}", here.display()))? {
            let path = entry.with_context(|| format!("cannot list {}", here.display()))?.path();
            if path.is_dir() {
                pending.push(path);
            } else {
                let name = path.strip_prefix(dir).context("a file outside its own folder")?;
                found.push((name.to_string_lossy().replace('\\', "/"), path));
            }
        }
    }
    found.sort();
    Ok(found)
}

fn hash_file(hasher: &mut blake3::Hasher, name: &str, path: &Path) -> Result<()> {
    let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    // Lengths first, so that no two sets of files run into the same bytes.
    hasher.update(&(name.len() as u64).to_le_bytes()).update(name.as_bytes());
    hasher.update(&(bytes.len() as u64).to_le_bytes()).update(&bytes);
    Ok(())
}

fn make_parent(path: &Path) -> Result<()> {
    let parent = path.parent().context("a file without a folder")?;
    fs::create_dir_all(parent).with_context(|| format!("cannot make {}", parent.display()))
}

/// An empty directory at `path`, whatever was there.
fn fresh_dir(path: &Path) -> Result<PathBuf> {
    fs::remove_dir_all(path).ok();
    fs::create_dir_all(path).with_context(|| format!("cannot make {}", path.display()))?;
    Ok(path.to_owned())
}

#[cfg(test)]
mod tests {
    use super::{COMPRESS_MIN, compress_tree, files_below, fresh_dir, lay_out};
    use std::fs;
    use std::path::PathBuf;

    fn scratch(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("holdfast-console-{name}-{}", std::process::id()));
        fresh_dir(&path).expect("a scratch folder")
    }

    #[test]
    fn index_names_the_hashed_directory_and_a_change_renames_it() {
        let root = scratch("hash");
        let stage = fresh_dir(&root.join("stage")).expect("stage");
        fs::write(stage.join("index.html"), "<link href='{{assets}}/a.css'>").expect("write");
        fs::write(stage.join("a.css"), "a{}").expect("write");
        let mut names = Vec::new();
        for text in ["a{}", "b{}"] {
            fs::write(stage.join("a.css"), text).expect("write");
            let fresh = fresh_dir(&root.join("dist")).expect("dist");
            lay_out(&stage, &fresh).expect("laid out");
            let files: Vec<String> = files_below(&fresh).expect("list").into_iter().map(|(name, _)| name).collect();
            assert_eq!(files.len(), 2);
            let index = fs::read_to_string(fresh.join("index.html")).expect("read");
            assert!(index.contains(&format!("/{}", files[0])), "{index} names {files:?}");
            names.push(files[0].clone());
        }
        assert_ne!(names[0], names[1]);
        fs::remove_dir_all(root).expect("removed");
    }

    #[test]
    fn the_first_load_counts_each_file_once_as_it_travels() {
        let root = scratch("load");
        fs::write(root.join("small"), "x").expect("write");
        fs::write(root.join("large"), vec![b'x'; 10_000]).expect("write");
        compress_tree(&root, false).expect("compressed");
        let compressed = fs::metadata(root.join("large.br")).expect("there").len();
        assert_eq!(super::first_load(&root).expect("counted"), compressed + 1);
        for later in ["fr.json", "editor.js", "split_setup.wasm", "chunk_1.wasm"] {
            fs::write(root.join(later), "x").expect("write");
        }
        assert_eq!(super::first_load(&root).expect("counted"), compressed + 1, "what is loaded later does not count");
        fs::remove_dir_all(root).expect("removed");
    }

    #[test]
    fn only_larger_files_get_compressed_siblings() {
        let root = scratch("compress");
        fs::write(root.join("small"), "x").expect("write");
        fs::write(root.join("large"), vec![b'x'; COMPRESS_MIN as usize]).expect("write");
        compress_tree(&root, false).expect("compressed");
        let names: Vec<String> = files_below(&root).expect("list").into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["large", "large.br", "large.gz", "small"]);
        fs::remove_dir_all(root).expect("removed");
    }
}
