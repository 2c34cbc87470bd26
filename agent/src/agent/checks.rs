//! What scripts, custom checkers and operators tell the checkers and their resources.

use super::Agent;
use crate::drivers::checks::{Order, Switches};
use crate::engine::{CommandResult, ToEngine};
use anyhow::{Result, anyhow, ensure};
use holdfast_api::resource::ResourceValue;
use holdfast_core::input::LoopOrder;
use holdfast_core::resources::{RESOURCES_MAX, check_foreign};

/// Whether a resource may be set by hand. Its switches are switched by commands; so much the core lets the drivers say.
fn check(name: &str, value: &ResourceValue) -> Result<()> {
    check_foreign(name, value).map_err(|reason| anyhow!(reason))?;
    ensure!(!name.starts_with("usersetting."), "{name} is not set by hand: order `checker on|off` or `errd on|off`");
    Ok(())
}

impl Agent {
    /// Sets a resource of a module.
    pub async fn set_resource(&self, module: &str, name: &str, value: &str, by: &str) -> Result<String> {
        let value = ResourceValue::from(value.to_owned());
        check(name, &value)?;
        let held = self.reports.get(module).map(|report| report.resources).unwrap_or_default();
        ensure!(
            held.len() < RESOURCES_MAX || held.iter().any(|resource| resource.name == name),
            "module {module} has {RESOURCES_MAX} resources already: set one of those"
        );
        let request = ToEngine::SetResource { name: name.to_owned(), value, by: by.to_owned() };
        let requests = self.requests(module).await?;
        requests
            .send(request)
            .await
            .map_err(|_| anyhow!("module {module} was configured anew meanwhile: try again"))?;
        Ok(String::new())
    }

    /// Switches checkers, process checker or classes of a module, or lists them. Switches are kept over restarts.
    pub async fn order_checks(&self, module: &str, order: Order, by: &str) -> CommandResult {
        let save = |change: fn(&mut Switches, bool), on| -> Result<()> {
            let mut switches = self.store.switches(module)?;
            change(&mut switches, on);
            self.store.save_switches(module, &switches)
        };
        // Only of a module that is held: a switch of one that is not would wait for ever.
        self.requests(module).await.map_err(|error| format!("{error:#}"))?;
        let saved = match order {
            Order::Checkers(on) => save(|switches, on| switches.checkers = on, on),
            Order::Errd(on) => save(|switches, on| switches.errd = on, on),
            Order::Enable(_) | Order::Disable(_) | Order::List => Ok(()),
        };
        saved.map_err(|error| format!("nothing was switched: {error:#}"))?;
        self.ask(module, |reply| ToEngine::Checks { order, by: by.to_owned(), reply }).await
    }

    /// Counts a restart of a script's own towards `maxloop`, counts anew, or says how many are left.
    pub async fn order_loop(&self, module: &str, order: LoopOrder, by: &str) -> CommandResult {
        self.ask(module, |reply| ToEngine::Loop { order, by: by.to_owned(), reply }).await
    }
}

#[cfg(test)]
mod tests {
    use super::check;
    use holdfast_api::resource::ResourceValue;

    #[test]
    fn resources_that_the_module_says_itself_cannot_be_set() {
        check("custom.10.0.0.1:80", &ResourceValue::Down).unwrap();
        for name in ["rfs.uptodate", "state.local", "usersetting.errd", "web", "custom.a b"] {
            check(name, &ResourceValue::Up).unwrap_err();
        }
    }
}
