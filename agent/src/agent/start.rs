//! Putting an engine together: settings, ledger and drivers from cluster and module configuration.

use super::{Agent, EngineHandle, Inner};
use crate::clock;
use crate::drivers::heartbeat::{Heartbeats, Link};
use crate::drivers::replica::{self, Replica};
use crate::drivers::script::{Scripts, Setting};
use crate::engine::{Drivers, Engine};
use crate::ledger::{Ledger, LedgerThread};
use crate::logs::ModuleLog;
use crate::modules::Checked;
use crate::options::program_beside;
use crate::report::blank;
use anyhow::{Context, Result, anyhow, ensure};
use holdfast_api::config::{ClusterConfig, ClusterNode};
use holdfast_api::userconfig::Acknowledge;
use holdfast_core::heartbeat::module_key;
use holdfast_core::node::Node;
use holdfast_core::settings::{BrokenRules, Settings, Witness};
use holdfast_replica::control::{AsyncMode, Configure, PROTOCOL};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

const INPUTS: usize = 512;
const REQUESTS: usize = 64;

/// The two nodes of a mirror module, as seen from here.
struct Pair<'a> {
    own: &'a ClusterNode,
    peer: &'a ClusterNode,
}

impl Pair<'_> {
    fn address(node: &ClusterNode, lan: &str) -> Result<String> {
        node.addresses.get(lan).cloned().with_context(|| format!("{} has no address on network {lan}", node.name))
    }
}

fn pair<'a>(cluster: &'a ClusterConfig, fingerprint: &str) -> Result<Pair<'a>> {
    let own = cluster.nodes.iter().find(|node| node.fingerprint == fingerprint);
    let own = own.context("this node is not in the cluster configuration")?;
    let mut others = cluster.nodes.iter().filter(|node| node.id != own.id);
    let peer = others.next().context("the cluster has no second node yet: add it in the cluster configuration")?;
    ensure!(others.next().is_none(), "a mirror module runs on two nodes, and the cluster has more");
    Ok(Pair { own, peer })
}

fn secret(cluster: &ClusterConfig) -> Result<Vec<u8>> {
    let digits = cluster.secret.as_bytes().chunks(2);
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    digits.map(byte).collect::<Option<Vec<u8>>>().context("the cluster's secret is not hexadecimal")
}

impl Agent {
    /// Starts every engine that does not run; one that cannot run says why in its report.
    pub(super) async fn start_engines(self: &Arc<Self>, inner: &mut Inner) {
        let node = self.reports.node();
        for (name, held) in &mut inner.modules {
            if held.engine.is_some() {
                continue;
            }
            let started = match &inner.cluster {
                Some(cluster) => self.start_engine(cluster, &held.checked),
                None => {
                    Err(anyhow!("no cluster configuration yet: `holdfast cluster config FILE.json`, or the console"))
                }
            };
            match started {
                Ok(engine) => held.engine = Some(engine),
                Err(error) => {
                    let reason = format!("{error:#}");
                    tracing::warn!(module = name, "cannot run: {reason}");
                    let config = &held.checked.config;
                    self.reports.set(blank(name, config.id, &node, config.version, &reason), false);
                }
            }
        }
    }

    fn start_engine(&self, cluster: &ClusterConfig, checked: &Checked) -> Result<EngineHandle> {
        let (config, user_config) = (&checked.config, &checked.user_config);
        let pair = pair(cluster, &self.identity().fingerprint)?;
        crate::files::make_dir(&self.layout.module_var(&config.name))?;
        let (ledger, durable) = Ledger::open(&self.layout.ledger(&config.name))?;
        // Longer than a busy disk takes, shorter than what the peer takes for death.
        let deadline = Duration::from_millis((user_config.heart.timeout_ms / 2).clamp(500, 5000));
        let ledger = LedgerThread::start(ledger, &config.name, deadline)?;
        let (inbox, inputs) = mpsc::channel(INPUTS);
        let (requests, asked) = mpsc::channel(REQUESTS);
        let key = module_key(&secret(cluster)?, config.id.0);
        let drivers = Drivers {
            heartbeats: Heartbeats::start(&links(checked, &pair)?, key, &inbox),
            replica: Replica::new(self.replica_setting(cluster, checked, &pair)?, inbox.clone()),
            scripts: self.script_setting(checked).map(|setting| Scripts::new(setting, inbox.clone())),
            errd: user_config.errd.clone(),
        };
        let engine = Engine {
            node: Node::new(self.settings(checked, &pair), durable, clock::moment()),
            module: config.name.clone(),
            id: config.id,
            version: config.version,
            ledger,
            drivers,
            log: ModuleLog::start(self.module_log(&config.name), &config.name, &pair.own.name)?,
            application_log: self.application_log(checked),
            reports: self.reports.clone(),
            inputs,
            inbox,
            requests: asked,
        };
        Ok(EngineHandle { requests, task: tokio::spawn(engine.run()) })
    }

    fn settings(&self, checked: &Checked, pair: &Pair<'_>) -> Settings {
        let user_config = &checked.user_config;
        Settings {
            module: checked.config.name.clone(),
            node: pair.own.id,
            node_name: pair.own.name.clone(),
            peer: pair.peer.id,
            peer_name: pair.peer.name.clone(),
            links: user_config.heart.links.len(),
            pulse_ms: user_config.heart.pulse_ms,
            timeout_ms: user_config.heart.timeout_ms,
            maxloop: user_config.service.maxloop,
            loop_interval_ms: user_config.service.loop_interval_ms,
            failover: true,
            has_scripts: user_config.user.is_some(),
            signature: user_config.signature(),
            boot_id: self.boot.id,
            incarnation: self.incarnation,
            witness: Witness::default(),
            witness_timeout_ms: user_config.heart.timeout_ms,
            broken: BrokenRules::default(),
        }
    }

    /// Folder, environment and limits of a module's scripts; `None` without `<user>`.
    pub(super) fn script_setting(&self, checked: &Checked) -> Option<Setting> {
        let user = checked.user_config.user.clone()?;
        let name = &checked.config.name;
        let active = self.layout.active(name);
        let text = |path: std::path::PathBuf| path.to_string_lossy().into_owned();
        let mut env = vec![
            ("PATH".to_owned(), "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned()),
            ("HOME".to_owned(), std::env::var("HOME").unwrap_or_else(|_| "/root".to_owned())),
            ("LANG".to_owned(), std::env::var("LANG").unwrap_or_else(|_| "C.UTF-8".to_owned())),
            ("SAFE".to_owned(), text(self.layout.safe())),
            ("SAFEVAR".to_owned(), text(self.layout.var())),
            ("SAFEBIN".to_owned(), text(self.layout.safe())),
            ("SAFEMODULE".to_owned(), name.clone()),
            ("SAFEUSERBIN".to_owned(), text(active.join("bin"))),
            ("SAFEUSERCONF".to_owned(), text(active.join("conf"))),
            ("SAFEUSERVAR".to_owned(), text(self.layout.module_var(name))),
            ("HOLDFAST_SOCKET".to_owned(), text(self.layout.socket())),
        ];
        env.extend(user.vars.iter().map(|var| (var.name.clone(), var.value.clone())));
        Some(Setting { bin: active.join("bin"), env, user, log: self.application_log(checked) })
    }

    fn replica_setting(
        &self,
        cluster: &ClusterConfig,
        checked: &Checked,
        pair: &Pair<'_>,
    ) -> Result<Option<replica::Setting>> {
        let Some(rfs) = &checked.user_config.rfs else {
            return Ok(None);
        };
        let (config, lan) = (&checked.config, checked.user_config.flow_lan());
        let port = SocketAddr::from((Ipv4Addr::UNSPECIFIED, config.id.replication_port()));
        let configure = Configure {
            protocol: PROTOCOL,
            module: config.name.clone(),
            module_id: config.id,
            directories: rfs.directories.iter().map(Into::into).collect(),
            listen: port,
            peer: port,
            node: pair.own.id,
            peer_node: pair.peer.id,
            key_file: self.layout.key(),
            certificate_file: self.layout.certificate(),
            peer_fingerprint: pair.peer.fingerprint.clone(),
            encryption: rfs.encryption,
            secret: cluster.secret.clone(),
            async_mode: match rfs.acknowledge {
                Acknowledge::Second => AsyncMode::Second,
                Acknowledge::None => AsyncMode::None,
            },
            state_dir: self.layout.replica(&config.name),
            boot_id: self.boot.text.clone(),
            // The application waits no longer for a silent peer than for a silent heartbeat.
            send_timeout_ms: rfs.send_timeout_ms.min(checked.user_config.heart.timeout_ms),
            resume_window_ms: checked.user_config.heart.pulse_ms,
        };
        Ok(Some(replica::Setting {
            program: self.options.replica_bin.clone().unwrap_or_else(|| program_beside("holdfast-replica")),
            configure,
            local: Pair::address(pair.own, lan)?,
            peer: Pair::address(pair.peer, lan)?,
        }))
    }
}

fn links(checked: &Checked, pair: &Pair<'_>) -> Result<Vec<Link>> {
    let heart = &checked.user_config.heart;
    let port = heart.port.unwrap_or_else(|| checked.config.id.heartbeat_port());
    let link = |link: &holdfast_api::userconfig::HeartbeatLink| {
        let (local, peer) = (Pair::address(pair.own, &link.lan)?, Pair::address(pair.peer, &link.lan)?);
        Ok(Link { lan: link.lan.clone(), local, peer, port })
    };
    heart.links.iter().map(link).collect()
}
