//! Shell completions and manual pages, made from the same definitions as the command line itself.

use super::{Cli, DONE, absent};
use anyhow::{Context, Result};
use clap::{Command, CommandFactory, Subcommand};
use clap_complete::Shell;
use clap_mangen::Man;
use std::io::{Write, stdout};
use std::path::{Path, PathBuf};

/// Section of the manual: commands of whoever runs the machine.
const SECTION: &str = "8";

#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// Print completions for a shell, as `holdfast completions bash > /etc/bash_completion.d/holdfast`.
    Completions {
        /// bash, elvish, fish, powershell or zsh.
        shell: Shell,
    },
    /// Print the manual page, or write all pages (of each command, and of holdfast-agent) into a folder.
    Manual {
        /// The folder, such as /usr/share/man/man8; made if it is not there.
        folder: Option<PathBuf>,
    },
}

/// Carries a command out; no agent is needed.
pub(super) fn run(verb: &Verb) -> Result<u8> {
    match verb {
        Verb::Completions { shell } => {
            clap_complete::generate(*shell, &mut Cli::command(), "holdfast", &mut stdout());
        }
        Verb::Manual { folder: None } => stdout().write_all(&page(own()))?,
        Verb::Manual { folder: Some(folder) } => {
            std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
            for (name, page) in pages() {
                write(&folder.join(name), &page)?;
            }
        }
    }
    Ok(DONE)
}

fn write(path: &Path, page: &[u8]) -> Result<()> {
    std::fs::write(path, page).with_context(|| format!("cannot write {}", path.display()))?;
    writeln!(stdout(), "{}", path.display())?;
    Ok(())
}

/// The command line, with what means nothing here.
fn own() -> Command {
    let command = Cli::command();
    let codes = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    command.after_long_help(format!(
        "{codes}\n\nWords of other products that are answered with a reason:\n{}",
        absent::list()
    ))
}

/// Every page with its file name.
pub(super) fn pages() -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    for mut command in [own(), crate::options::Cli::command()] {
        // Gives those below their whole name and the options they share.
        command.build();
        add(&command, &mut found);
    }
    found
}

/// A command's page and those of the commands below it, named as `holdfast-module-install.8`.
fn add(command: &Command, found: &mut Vec<(String, Vec<u8>)>) {
    for below in command.get_subcommands().filter(|below| below.get_name() != "help") {
        add(below, found);
    }
    let name = command.get_display_name().unwrap_or_else(|| command.get_name());
    found.push((format!("{name}.{SECTION}"), page(command.clone())));
}

fn page(command: Command) -> Vec<u8> {
    let mut bytes = Vec::new();
    // Writing into memory does not fail.
    let _ = Man::new(command).section(SECTION).source("Holdfast").manual("Holdfast").render(&mut bytes);
    bytes
}

#[cfg(test)]
mod tests {
    use super::{Cli, pages};
    use clap::{Command, CommandFactory};
    use clap_complete::Shell;

    /// Every command with the words that lead to it.
    fn all(command: &Command, way: &str, found: &mut Vec<(String, Command)>) {
        for below in command.get_subcommands().filter(|below| below.get_name() != "help") {
            let way = format!("{way}-{}", below.get_name());
            all(below, &way, found);
            found.push((way, below.clone()));
        }
    }

    #[test]
    fn every_word_and_every_option_has_help_and_a_page_of_the_manual_that_says_it() {
        let mut words = Vec::new();
        all(&Cli::command(), "holdfast", &mut words);
        all(&crate::options::Cli::command(), "holdfast-agent", &mut words);
        let pages: std::collections::BTreeMap<String, Vec<u8>> = pages().into_iter().collect();
        assert!(words.len() > 50, "{}", words.len());
        for (way, command) in words {
            let about = command.get_about().map(ToString::to_string).unwrap_or_default();
            assert!(!about.is_empty(), "{way} has no help");
            for argument in command.get_arguments() {
                assert!(argument.get_help().is_some(), "{way} {} has no help", argument.get_id());
            }
            let page = String::from_utf8(pages[&format!("{way}.8")].clone()).unwrap();
            let first = about.split(['-', '\\', '`', '.', '\'']).next().unwrap();
            assert!(page.contains(first), "{way}: {page}");
        }
        let main = String::from_utf8(pages["holdfast.8"].clone()).unwrap();
        assert!(main.contains("Exit codes") && main.contains("webserver"), "{main}");
    }

    #[test]
    fn completions_of_each_shell_know_the_words() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let mut text = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "holdfast", &mut text);
            let text = String::from_utf8(text).unwrap();
            for word in ["waitstart", "getports", "logview", "primforce"] {
                assert!(text.contains(word), "{shell} does not know {word}");
            }
        }
    }
}
