//! Runs other programs: always said, never silent about a failure.

use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The workspace's folder.
pub fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).map_or_else(|| here.to_path_buf(), Path::to_path_buf)
}

/// Cargo as called by the one that runs this program.
pub fn cargo(root: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(arguments).current_dir(root);
    // What cargo set for this program must not leak into what it builds: that would rebuild it.
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_PKG_")
            || text.starts_with("CARGO_MANIFEST")
            || text == "CARGO_CRATE_NAME"
            || text == "CARGO_BIN_NAME"
        {
            command.env_remove(&name);
        }
    }
    command
}

/// The command as somebody would type it.
pub fn shown(command: &Command) -> String {
    let mut text =
        Path::new(command.get_program()).file_name().unwrap_or(command.get_program()).to_string_lossy().into_owned();
    for argument in command.get_args() {
        let argument = argument.to_string_lossy();
        text.push(' ');
        if argument.contains([' ', '\'', '"', '*']) {
            text.push_str(&format!("'{argument}'"))
        } else {
            text.push_str(&argument)
        }
    }
    text
}

/// Says the command, runs it and demands success.
pub fn run(command: &mut Command) -> Result<()> {
    let text = shown(command);
    println!("+ {text}");
    let status = command.status().with_context(|| format!("cannot run `{text}`"))?;
    if !status.success() {
        bail!("`{text}` failed ({status})");
    }
    Ok(())
}

/// Runs the command quietly; its standard output, if it succeeded.
pub fn output(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Whether this program runs as root.
pub fn is_root() -> bool {
    output("id", &["-u"]).is_some_and(|id| id.trim() == "0")
}

/// This program's own command line with `sudo` in front, as somebody would type it.
pub fn with_sudo(arguments: &str) -> String {
    // sudo resets PATH, and rustup lives in the caller's home.
    format!("sudo -E env \"PATH=$PATH\" cargo {arguments}")
}
