//! A module's own programs around its configuration: `config` before it counts, `postconfig` once it does, `deconfig`
//! before it is forgotten, `confcheck` of one that is only looked at; and `state` and `level`, which say something more.

use super::Agent;
use crate::drivers::{hook, script::Setting};
use crate::modules::{self, Checked};
use anyhow::{Context, Result, ensure};
use std::path::Path;

impl Agent {
    /// Asks a hook of a module in use; `None`: it has none, or runs no programs.
    pub(super) async fn ask_hook(&self, checked: &Checked, name: &str) -> Result<Option<hook::Outcome>> {
        let Some(setting) = self.script_setting(checked) else {
            return Ok(None);
        };
        self.ask_in(&setting, checked, name).await
    }

    async fn ask_in(&self, setting: &Setting, checked: &Checked, name: &str) -> Result<Option<hook::Outcome>> {
        crate::files::make_dir(&self.layout.module_var(&checked.config.name))?;
        hook::ask(setting, name).await.with_context(|| format!("{name} cannot be run"))
    }

    /// Scripts of a module with its files in this folder.
    fn setting_in(&self, checked: &Checked, dir: &Path) -> Option<Setting> {
        let mut setting = self.script_setting(checked)?;
        for (name, below) in [("SAFEUSERBIN", "bin"), ("SAFEUSERCONF", "conf")] {
            let folder = dir.join(below).to_string_lossy().into_owned();
            setting.env.iter_mut().filter(|(other, _)| other == name).for_each(|(_, value)| value.clone_from(&folder));
        }
        setting.bin = dir.join("bin");
        Some(setting)
    }

    /// What the `confcheck` of an installed module says of it as edited.
    ///
    /// # Errors
    /// It says no.
    pub(super) async fn ask_confcheck(&self, checked: &Checked) -> Result<String> {
        let dir = self.layout.installed(&checked.config.name);
        match self.setting_in(checked, &dir) {
            Some(setting) => said_yes("confcheck", self.ask_in(&setting, checked, "confcheck").await?),
            None => Ok(String::new()),
        }
    }

    /// Lets a module prepare for a configuration that does not count yet, with its files in a folder of their own.
    ///
    /// # Errors
    /// Its `config` says no: the configuration is not to be taken.
    pub(super) async fn ask_config(&self, checked: &Checked) -> Result<String> {
        let has_one = checked.package.files.contains_key("bin/config");
        let dir = self.layout.active(&format!(".{}.config", checked.config.name));
        let Some(setting) = self.setting_in(checked, &dir).filter(|_| has_one) else {
            return Ok(String::new());
        };
        modules::unfold(checked, &dir)?;
        let said = self.ask_in(&setting, checked, "config").await.and_then(|outcome| said_yes("config", outcome));
        modules::remove_tree(&dir)?;
        said
    }

    /// Tells a module that its configuration counts now, or (`deconfig`) is about to be forgotten; what it says to that.
    /// Nothing is taken back if it fails: that is only told.
    pub(super) async fn tell_configured(&self, checked: &Checked, name: &str) -> String {
        let asked = self.ask_hook(checked, name).await;
        asked.and_then(|outcome| said_yes(name, outcome)).unwrap_or_else(|error| {
            tracing::warn!(module = checked.config.name, "{error:#}");
            format!("\nhowever: {error:#}; see the application log")
        })
    }
}

/// What a hook said, on a line of its own.
///
/// # Errors
/// It says no.
fn said_yes(name: &str, outcome: Option<hook::Outcome>) -> Result<String> {
    let Some(hook::Outcome { code, text }) = outcome else {
        return Ok(String::new());
    };
    let said = text.trim_end();
    let how = code.map_or_else(|| "ended without an exit code".to_owned(), |code| format!("exit code {code}"));
    ensure!(code == Some(0), "the module's {name} says no ({how}): {said}");
    Ok(if said.is_empty() { String::new() } else { format!("\n{said}") })
}

#[cfg(test)]
mod tests {
    use super::said_yes;
    use crate::drivers::hook::Outcome;

    #[test]
    fn a_hook_agrees_by_its_exit_code_alone() {
        let said = |code, text: &str| said_yes("config", Some(Outcome { code, text: text.to_owned() }));
        assert_eq!(said(Some(0), "").unwrap(), "");
        assert_eq!(said(Some(0), "ready\n").unwrap(), "\nready");
        assert_eq!(said_yes("config", None).unwrap(), "");
        assert!(said(Some(3), "no disk\n").unwrap_err().to_string().ends_with("says no (exit code 3): no disk"));
        assert!(said(None, "").is_err());
    }
}
