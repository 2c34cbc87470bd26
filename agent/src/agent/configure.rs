//! Taking configurations: the one path for the command line and for the server's pushes.

use super::{Agent, EngineHandle, Held, Inner, node_name};
use crate::engine::ToEngine;
use crate::modules::{self, Checked};
use crate::store::check_version;
use anyhow::{Context, Result, anyhow, bail, ensure};
use holdfast_api::config::{ClusterConfig, ModuleConfig};
use holdfast_api::state::ModuleState;
use std::sync::Arc;

/// Whether the modules held can run by a cluster configuration.
fn check_modules(inner: &Inner, config: &ClusterConfig) -> Result<()> {
    for held in inner.modules.values() {
        modules::check_among(&held.checked, Some(config), &[])
            .with_context(|| format!("module {}", held.checked.config.name))?;
    }
    Ok(())
}

impl Agent {
    /// What is wrong with a cluster configuration for this node by itself; this node's fingerprint if nothing is.
    fn check_alone(&self, config: &ClusterConfig) -> Result<String> {
        if let Some(problem) = config.validate().first() {
            bail!("cluster configuration, {}: {}", problem.field, problem.message);
        }
        let fingerprint = self.identity().fingerprint.clone();
        ensure!(
            config.nodes.iter().any(|node| node.fingerprint == fingerprint),
            "no node of this cluster configuration has this node's key fingerprint {fingerprint}: enter it for this node"
        );
        Ok(fingerprint)
    }

    /// Checks a cluster configuration, also against the modules held; nothing is changed.
    ///
    /// # Errors
    /// What is wrong, and the cure.
    pub async fn check_cluster(&self, config: &ClusterConfig) -> Result<String> {
        self.check_alone(config)?;
        let inner = self.inner.lock().await;
        check_modules(&inner, config)?;
        Ok(format!("the cluster configuration, version {}, can be held by this node", config.version))
    }

    /// Holds a cluster configuration and runs the modules by it.
    ///
    /// # Errors
    /// Why it was refused, and the cure; nothing was changed.
    pub async fn configure_cluster(self: &Arc<Self>, config: ClusterConfig) -> Result<String> {
        let fingerprint = self.check_alone(&config)?;
        let mut inner = self.inner.lock().await;
        let held = inner.cluster.as_ref();
        let fresh = check_version("cluster", held.map(|held| (held, held.version)), &config, config.version);
        if !fresh.map_err(|reason| anyhow!(reason))? {
            return Ok(format!("the cluster configuration is version {} already", config.version));
        }
        let alike = held
            .is_some_and(|held| held.lans == config.lans && held.secret == config.secret && held.nodes == config.nodes);
        let running = self.running(&inner);
        ensure!(
            alike || running.is_empty(),
            "networks and nodes change only while every module of this node is stopped; stop {} first",
            running.join(", ")
        );
        check_modules(&inner, &config)?;
        self.store.save_cluster(&config)?;
        self.reports.set_node(&node_name(&self.options, Some(&config), &fingerprint));
        let version = config.version;
        inner.cluster = Some(config);
        self.cluster_changed.send_replace(());
        if !alike {
            stop_engines(&mut inner).await;
            self.start_engines(&mut inner).await;
        }
        Ok(format!("the cluster configuration is now version {version}"))
    }

    /// Holds a module's configuration and runs it.
    ///
    /// # Errors
    /// Why it was refused, and the cure; nothing was changed.
    pub async fn configure(self: &Arc<Self>, config: ModuleConfig) -> Result<String> {
        let checked = tokio::task::spawn_blocking(move || modules::check(&config)).await??;
        let name = checked.config.name.clone();
        let _turn = self.configuring.lock().await;
        let already = format!("{name} has configuration {} already", checked.config.version);
        if !self.admits(&*self.inner.lock().await, &checked)? {
            return Ok(already);
        }
        let said = self.ask_config(&checked).await?;
        let mut inner = self.inner.lock().await;
        // What does not wait for its turn may have changed meanwhile.
        if !self.admits(&inner, &checked)? {
            return Ok(already);
        }
        let live = self.state(&name) != ModuleState::Stop;
        self.store.save_module(&checked.config)?;
        modules::activate(&self.layout, &checked)?;
        modules::install(&self.layout, &name, checked.config.id, &checked.package)?;
        let version = checked.config.version;
        if live {
            self.apply(&mut inner, checked.clone()).await?;
        } else {
            if let Some(held) = inner.modules.remove(&name) {
                stop_engine(held).await;
            }
            inner.modules.insert(name.clone(), Held { checked: checked.clone(), engine: None });
            self.start_engines(&mut inner).await;
        }
        drop(inner);
        let after = self.tell_configured(&checked, "postconfig").await;
        let notes = format!("{}{said}{after}", notes(&checked));
        Ok(format!("{name} has configuration {version} now{notes}"))
    }

    /// Whether a module's configuration is one to take; false: it is held already.
    ///
    /// # Errors
    /// Why it is refused, and the cure.
    fn admits(&self, inner: &Inner, checked: &Checked) -> Result<bool> {
        let name = &checked.config.name;
        let held = inner.modules.get(name);
        let old = held.map(|held| (&held.checked.config, held.checked.config.version));
        if !check_version(name, old, &checked.config, checked.config.version).map_err(|reason| anyhow!(reason))? {
            return Ok(false);
        }
        if let Some(held) = held {
            ensure!(
                held.checked.config.id == checked.config.id,
                "{name} is {} here, not {}: its number cannot change",
                held.checked.config.id,
                checked.config.id
            );
        }
        let others: Vec<&Checked> = inner.modules.values().map(|held| &held.checked).collect();
        modules::check_among(checked, inner.cluster.as_ref(), &others)?;
        let state = self.state(name);
        let stays = |same: &dyn Fn(&Checked) -> bool, what: &str| {
            ensure!(
                state == ModuleState::Stop || held.is_some_and(|held| same(&held.checked)),
                "{what} changed and {name} is {state}: stop it on every node, then configure it again"
            );
            Ok(())
        };
        let (wanted, mode) = (checked.user_config.signature(), checked.user_config.service.mode);
        stays(&|held| held.user_config.service.mode == mode, "`mode` of <service>")?;
        stays(&|held| held.user_config.signature() == wanted, "<heart> or <rfs>")?;
        Ok(true)
    }

    /// Gives a running module its new scripts, limits and process checks.
    pub(super) async fn apply(self: &Arc<Self>, inner: &mut Inner, checked: Checked) -> Result<()> {
        let name = checked.config.name.clone();
        let scripts = self.script_setting(&checked).map(Box::new);
        let (check, errd) = (checked.user_config.check.clone(), checked.user_config.errd.clone());
        let version = checked.config.version;
        let cluster = inner.cluster.as_ref().context("no cluster configuration")?;
        let settings = Box::new(self.settings(cluster, &checked)?);
        let addresses = self.address_setting(&checked).map(Box::new);
        let held = inner.modules.get_mut(&name).context("the module is gone")?;
        held.checked = checked.clone();
        if let Some(engine) = &held.engine {
            let request = ToEngine::Apply { scripts, check, errd, addresses, settings, version };
            engine.requests.send(request).await.map_err(|_| anyhow!("the module's engine ended"))?;
        }
        self.run_update(checked);
        Ok(())
    }

    /// Configures an installed module as it stands in its editable folder.
    pub async fn configure_installed(self: &Arc<Self>, name: &str) -> Result<String> {
        holdfast_api::config::check_name(name).map_err(|reason| anyhow!("module name: {reason}"))?;
        let held = self.inner.lock().await.modules.get(name).map(|held| held.checked.config.clone());
        let version = held.as_ref().map_or(1, |held| held.version + 1);
        let mut config = modules::configured(&self.layout, name, version)?;
        if let Some(held) = held
            && held.package == config.package
            && held.id == config.id
        {
            config.version = held.version;
        }
        self.configure(config).await
    }

    /// Forgets a stopped module; its logs and its replicated directories stay.
    pub async fn remove_module(self: &Arc<Self>, name: &str) -> Result<String> {
        let _turn = self.configuring.lock().await;
        let checked = self.stopped(&*self.inner.lock().await, name)?;
        let said = self.tell_configured(&checked, "deconfig").await;
        let mut inner = self.inner.lock().await;
        self.stopped(&inner, name)?;
        if let Err(error) = self.forget(&mut inner, name).await {
            self.start_engines(&mut inner).await;
            return Err(error);
        }
        inner.modules.remove(name);
        self.reports.remove(name);
        modules::remove_tree(&self.layout.active(name))?;
        Ok(format!("module {name} is forgotten; its files and logs are still there{said}"))
    }

    /// The configuration of a module, if that is stopped.
    fn stopped(&self, inner: &Inner, name: &str) -> Result<Checked> {
        let held = inner.modules.get(name).with_context(|| format!("module {name} is not configured on this node"))?;
        let state = self.state(name);
        ensure!(state == ModuleState::Stop, "module {name} is {state}: stop it first");
        Ok(held.checked.clone())
    }

    /// The ledger first: with the configuration gone nobody would miss it, and a module made again under this name would
    /// go on with what this one was.
    async fn forget(&self, inner: &mut Inner, name: &str) -> Result<()> {
        if let Some(engine) = inner.modules.get_mut(name).and_then(|held| held.engine.take()) {
            end_engine(engine).await;
        }
        let ledger = self.layout.ledger(name);
        crate::files::remove_durably(&ledger).with_context(|| {
            format!(
                "module {name} is still configured, for its state in {} cannot be removed: repair the disk, or remove that \
                 file by hand; then order it again",
                ledger.display()
            )
        })?;
        self.store.remove_module(name)
    }

    /// Forgets modules, cluster and server.
    pub async fn leave(self: &Arc<Self>) -> Result<String> {
        let running = self.running(&*self.inner.lock().await);
        ensure!(running.is_empty(), "stop {} on this node first", running.join(", "));
        for name in self.names().await {
            self.remove_module(&name).await?;
        }
        self.store.leave()?;
        self.inner.lock().await.cluster = None;
        self.cluster_changed.send_replace(());
        self.pairing.left();
        Ok("this node has left its cluster; enrolment is open again".to_owned())
    }
}

pub(super) fn notes(checked: &Checked) -> String {
    let line = |note: &holdfast_api::userconfig::Note| format!("\nline {}: {}", note.line, note.text);
    checked.user_config.notes.iter().map(line).collect()
}

pub(super) async fn stop_engines(inner: &mut Inner) {
    for held in inner.modules.values_mut() {
        if let Some(engine) = held.engine.take() {
            end_engine(engine).await;
        }
    }
}

pub(super) async fn stop_engine(held: Held) {
    if let Some(engine) = held.engine {
        end_engine(engine).await;
    }
}

async fn end_engine(engine: EngineHandle) {
    drop(engine.requests);
    let _ = engine.task.await;
}
