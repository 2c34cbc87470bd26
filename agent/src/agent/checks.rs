//! What scripts, custom checkers and operators tell the checkers and their resources.

use super::Agent;
use crate::drivers::checks::{Order, Switches};
use crate::engine::{CommandResult, ToEngine};
use anyhow::{Result, anyhow, ensure};
use holdfast_api::resource::ResourceValue;
use holdfast_core::input::LoopOrder;

/// Longest name and longest value of a resource, in bytes.
const RESOURCE_MAX: usize = 64;
/// Most resources of a module that are set by hand.
const RESOURCES_MAX: usize = 512;
/// Classes of resources that the module itself says: setting them by hand would only hide the truth.
const OWN_CLASSES: [&str; 6] = ["state", "rfs", "heart", "heartbeat", "heartbeatlocaladdr", "usersetting"];

/// Whether a resource of this name may be set by hand to this value.
fn check(name: &str, value: &str) -> Result<()> {
    let good = |text: &str| {
        !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | ':' | '%'))
    };
    let parts = name.split_once('.');
    ensure!(
        name.len() <= RESOURCE_MAX && parts.is_some_and(|(class, id)| good(class) && good(id)),
        "{name:?} names no resource: write CLASS.IDENT, such as custom.web (letters, digits, _ - . : %; at most \
         {RESOURCE_MAX} characters)"
    );
    let class = parts.map_or("", |(class, _)| class);
    ensure!(
        !OWN_CLASSES.contains(&class),
        "{name} is said by the module itself and cannot be set; use commands (`start`, `stop`, `failover`, `errd`, …)"
    );
    ensure!(
        !value.is_empty() && value.len() <= RESOURCE_MAX && !value.chars().any(char::is_control),
        "{value:?} is no value: write up, down, init, unknown, or a short word or number"
    );
    Ok(())
}

impl Agent {
    /// Sets a resource of a module.
    pub async fn set_resource(&self, module: &str, name: &str, value: &str, by: &str) -> Result<String> {
        check(name, value)?;
        let held = self.reports.get(module).map(|report| report.resources).unwrap_or_default();
        ensure!(
            held.len() < RESOURCES_MAX || held.iter().any(|resource| resource.name == name),
            "module {module} has {RESOURCES_MAX} resources already: set one of those"
        );
        let value = ResourceValue::from(value.to_owned());
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

    #[test]
    fn resources_that_the_module_says_itself_cannot_be_set() {
        check("custom.web", "down").unwrap();
        check("custom.10.0.0.1:80", "3").unwrap();
        for name in ["rfs.uptodate", "state.local", "web", "custom.", ".x", "custom.a b", "custom.\n"] {
            check(name, "up").unwrap_err();
        }
        check(&format!("custom.{}", "x".repeat(64)), "up").unwrap_err();
        check("custom.web", "").unwrap_err();
        check("custom.web", "a\nb").unwrap_err();
    }
}
