//! Putting an engine together: settings, ledger and drivers from cluster and module configuration.

use super::begin::{Parts, begin};
use super::{Agent, EngineHandle, Inner};
use crate::drivers::checks::{self, Checks};
use crate::drivers::connections::Connections;
use crate::drivers::heartbeat::{Heartbeats, Link};
use crate::drivers::replica::{self, Replica};
use crate::drivers::script::{Scripts, Setting};
use crate::drivers::vip::{self, Addresses};
use crate::drivers::witness;
use crate::engine::{Drivers, Engine};
use crate::journal::Journal;
use crate::ledger::{Ledger, LedgerThread};
use crate::logs::ModuleLog;
use crate::modules::Checked;
use crate::options::program_beside;
use crate::report::blank;
use crate::settled::{self, Record};
use anyhow::{Context, Result, anyhow, ensure};
use holdfast_api::config::{ClusterConfig, ClusterNode};
use holdfast_api::ids::NodeId;
use holdfast_api::userconfig::{self, Acknowledge, Mode, UserConfig};
use holdfast_core::covered::Covered;
use holdfast_core::durable::Durable;
use holdfast_core::heartbeat::module_key;
use holdfast_core::output::Script;
use holdfast_core::settings::{BrokenRules, LinkTimes, Rules, SAVE_LIMIT_MS, Settings, Witness};
use holdfast_replica::control::{AsyncMode, Configure, Orphan, PROTOCOL};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

const INPUTS: usize = 512;
const REQUESTS: usize = 64;
/// Time between two marks from which an interrupted resync goes on, in milliseconds.
const RESYNC_MARK_MS: u64 = 15_000;

/// The nodes of a module, as seen from here: two of a mirror module, one of a light one.
struct Nodes<'a> {
    own: &'a ClusterNode,
    peer: Option<&'a ClusterNode>,
}

impl Nodes<'_> {
    fn peer(&self) -> Result<&ClusterNode> {
        self.peer.context("the cluster has no second node yet: add it in the cluster configuration")
    }

    fn address(node: &ClusterNode, lan: &str) -> Result<String> {
        node.addresses.get(lan).cloned().with_context(|| format!("{} has no address on network {lan}", node.name))
    }
}

fn nodes<'a>(cluster: &'a ClusterConfig, fingerprint: &str, mode: Mode) -> Result<Nodes<'a>> {
    let own = cluster.nodes.iter().find(|node| node.fingerprint == fingerprint);
    let own = own.context("this node is not in the cluster configuration")?;
    if mode == Mode::Light {
        return Ok(Nodes { own, peer: None });
    }
    let mut others = cluster.nodes.iter().filter(|node| node.id != own.id);
    let nodes = Nodes { own, peer: others.next() };
    nodes.peer()?;
    ensure!(others.next().is_none(), "a mirror module runs on two nodes, and the cluster has more");
    Ok(nodes)
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
        let nodes = nodes(cluster, &self.identity().fingerprint, user_config.service.mode)?;
        crate::files::make_dir(&self.layout.module_var(&config.name))?;
        let (ledger, durable) = Ledger::open(&self.layout.ledger(&config.name))?;
        let ledger = LedgerThread::start(ledger, &config.name)?;
        let (inbox, inputs) = mpsc::channel(INPUTS);
        let (requests, asked) = mpsc::channel(REQUESTS);
        let key = module_key(&secret(cluster)?, config.id.0);
        let log =
            ModuleLog::start(self.module_log(&config.name), &config.name, &nodes.own.name)?.also_to(Journal::system());
        let witness = self.witness_setting(cluster, checked, nodes.own.id, &log)?;
        let checks = checks::Setting {
            module: config.name.clone(),
            check: user_config.check.clone(),
            errd: user_config.errd.clone(),
            programs: self.script_setting(checked),
            reports: self.reports.clone(),
            log: log.clone(),
            run_dir: self.layout.run.clone(),
        };
        let drivers = Drivers {
            witness: witness::Witness::start(witness, inbox.clone())?,
            heartbeats: Heartbeats::start(&links(checked, &nodes)?, key, &inbox),
            replica: Replica::new(self.replica_setting(cluster, checked, &nodes, &durable)?, inbox.clone()),
            addresses: Addresses::start(self.address_setting(checked), inbox.clone()),
            scripts: self.script_setting(checked).map(|setting| Scripts::new(setting, inbox.clone())),
            checks: Checks::new(checks, self.store.switches(&config.name)?, inbox.clone()),
            connections: Connections::start(user_config.vip.as_ref(), &inbox),
            reboot_command: self.options.reboot_command.clone(),
        };
        self.reports.watch(&config.name, drivers.replica.figures());
        let mut parts = Parts {
            settings: self.node_settings(checked, &nodes),
            durable,
            run_dir: self.layout.run.clone(),
            record: Record::of(&self.layout.run, &config.name),
            drivers,
            log,
        };
        let (module, id, version) = (config.name.clone(), config.id, config.version);
        let (reports, application_log) = (self.reports.clone(), self.application_log(checked));
        let task = tokio::spawn(async move {
            let node = begin(&mut parts).await;
            let Parts { record, drivers, log, .. } = parts;
            let engine = Engine {
                node,
                module,
                id,
                version,
                ledger,
                record,
                drivers,
                log,
                application_log,
                reports,
                inputs,
                inbox,
                requests: asked,
            };
            engine.run().await;
        });
        Ok(EngineHandle { requests, task })
    }

    /// What the core has to know of a module.
    pub(super) fn settings(&self, cluster: &ClusterConfig, checked: &Checked) -> Result<Settings> {
        let nodes = nodes(cluster, &self.identity().fingerprint, checked.user_config.service.mode)?;
        Ok(self.node_settings(checked, &nodes))
    }

    fn node_settings(&self, checked: &Checked, nodes: &Nodes<'_>) -> Settings {
        let user_config = &checked.user_config;
        let links = if nodes.peer.is_some() { user_config.heart.links.as_slice() } else { &[] };
        let checkers = user_config.check.checkers.iter();
        Settings {
            module: checked.config.name.clone(),
            mode: user_config.service.mode,
            node: nodes.own.id,
            node_name: nodes.own.name.clone(),
            peer: nodes.peer.map_or(NodeId(0), |peer| peer.id),
            peer_name: nodes.peer.map_or_else(String::new, |peer| peer.name.clone()),
            links: links.len(),
            link_idents: links.iter().map(|link| link.ident.clone()).collect(),
            pulse_ms: user_config.heart.shortest_pulse_ms(),
            timeout_ms: user_config.heart.shortest_timeout_ms(),
            link_times: link_times(&user_config.heart, links),
            maxloop: user_config.service.maxloop,
            loop_interval_ms: user_config.service.loop_interval_ms,
            failover: user_config.service.failover,
            defaultprim: user_config.service.defaultprim.clone(),
            automatic_reboot: user_config.service.automatic_reboot,
            boot: user_config.service.boot,
            scripts: scripts(checked),
            checkers: checkers.map(|checker| (checker.resource(), checker.when)).collect(),
            rules: rules(user_config),
            covered: Arc::new(covered(user_config)),
            signature: user_config.signature(),
            boot_id: self.boot.id,
            incarnation: self.incarnation,
            witness: match user_config.witness {
                userconfig::Witness::None => Witness::None,
                userconfig::Witness::Ping { .. } => Witness::Ping,
                userconfig::Witness::Server { .. } | userconfig::Witness::Etcd { .. } => Witness::Register,
            },
            witness_timeout_ms: witness::limit(user_config).as_millis() as u64,
            save_limit_ms: SAVE_LIMIT_MS,
            broken: BrokenRules::default(),
        }
    }

    fn witness_setting(
        &self,
        cluster: &ClusterConfig,
        checked: &Checked,
        node: NodeId,
        log: &ModuleLog,
    ) -> Result<witness::Setting> {
        Ok(witness::Setting {
            module: checked.config.name.clone(),
            id: checked.config.id,
            etcd_key: witness::etcd_key(&secret(cluster)?, &checked.config.name, checked.config.id.0),
            node,
            witness: checked.user_config.witness.clone(),
            limit: witness::limit(&checked.user_config),
            register: self.register.clone(),
            log: log.clone(),
            reports: self.reports.clone(),
        })
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
        let (bin, log, runs) = (active.join("bin"), self.application_log(checked), crate::cgroup::runs_of(name));
        Some(Setting { bin, env, user, log, runs })
    }

    pub(super) fn address_setting(&self, checked: &Checked) -> Option<vip::Setting> {
        let vip = checked.user_config.vip.clone()?;
        let (module, id) = (checked.config.name.clone(), checked.config.id);
        Some(vip::Setting { module, id, vip, run_dir: self.layout.run.clone() })
    }

    fn replica_setting(
        &self,
        cluster: &ClusterConfig,
        checked: &Checked,
        nodes: &Nodes<'_>,
        durable: &Durable,
    ) -> Result<Option<replica::Setting>> {
        let Some(rfs) = &checked.user_config.rfs else {
            return Ok(None);
        };
        let (config, lan) = (&checked.config, checked.user_config.flow_lan());
        let (own, peer) = (nodes.own, nodes.peer()?);
        let port = SocketAddr::from((Ipv4Addr::UNSPECIFIED, config.id.replication_port()));
        let configure = Configure {
            protocol: PROTOCOL,
            module: config.name.clone(),
            module_id: config.id,
            directories: rfs.directories.iter().map(Into::into).collect(),
            exclusions: rfs.exclusions.clone(),
            covered: durable.covered.clone(),
            required: rfs.required.iter().map(Into::into).collect(),
            listen: port,
            peer: port,
            node: own.id,
            peer_node: peer.id,
            key_file: self.layout.key(),
            certificate_file: self.layout.certificate(),
            peer_fingerprint: peer.fingerprint.clone(),
            encryption: rfs.encryption,
            secret: cluster.secret.clone(),
            async_mode: match rfs.acknowledge {
                Acknowledge::Second => AsyncMode::Second,
                Acknowledge::None => AsyncMode::None,
            },
            state_dir: self.layout.replica(&config.name),
            boot_id: self.boot.text.clone(),
            // The application waits no longer for a silent peer than for a silent heartbeat.
            send_timeout_ms: rfs.send_timeout_ms.min(checked.user_config.heart.shortest_timeout_ms()),
            resume_window_ms: checked.user_config.heart.shortest_pulse_ms(),
            resync_threads: rfs.resync_threads,
            resync_bytes_per_s: rfs.resync_bytes_per_s,
            resync_mark_ms: RESYNC_MARK_MS,
            orphan: Some(self.orphan(checked)),
        };
        Ok(Some(replica::Setting {
            program: self.options.replica_bin.clone().unwrap_or_else(|| program_beside("holdfast-replica")),
            configure,
            local: Nodes::address(own, lan)?,
            peer: Nodes::address(peer, lan)?,
        }))
    }
}

impl Agent {
    /// How a module's data plane goes on when this agent is gone. The peer may serve from the heartbeat timeout on, or as
    /// soon as its witness has spoken; it wants the addresses then.
    fn orphan(&self, checked: &Checked) -> Orphan {
        let (name, timeout_ms) = (&checked.config.name, checked.user_config.heart.shortest_timeout_ms());
        let witness = match checked.user_config.witness {
            userconfig::Witness::None => Duration::ZERO,
            _ => witness::limit(&checked.user_config),
        };
        let text = |path: std::path::PathBuf| path.to_string_lossy().into_owned();
        let release = || {
            let run = text(self.layout.run.clone());
            vec![
                text(program_beside("holdfast")),
                "release-addresses".into(),
                "--run-dir".into(),
                run,
                "--module".into(),
                name.clone(),
            ]
        };
        Orphan {
            socket: settled::replica_socket(&self.layout.run, name),
            limit_ms: timeout_ms + witness.as_millis() as u64,
            addresses_ms: timeout_ms / 2,
            release: checked.user_config.vip.as_ref().map(|_| release()).unwrap_or_default(),
        }
    }
}

/// What is replicated.
fn covered(user_config: &UserConfig) -> Covered {
    user_config.rfs.as_ref().map(|rfs| Covered::new(&rfs.directories, &rfs.exclusions)).unwrap_or_default()
}

/// The scripts that the package has; without `<user>` none is run.
fn scripts(checked: &Checked) -> Vec<Script> {
    let there = |script: &Script| checked.package.files.contains_key(&format!("bin/{}", script.file_name()));
    let all = checked.user_config.user.iter().flat_map(|_| Script::ALL);
    all.filter(there).collect()
}

fn rules(user_config: &UserConfig) -> Rules {
    let failover = &user_config.failover;
    Rules {
        rules: holdfast_api::rules::effective_rules(user_config),
        period_ms: failover.period_ms,
        handle_time_ms: failover.handle_time_ms,
    }
}

/// The times of each network; none where they are those of the module.
fn link_times(heart: &userconfig::Heart, links: &[userconfig::HeartbeatLink]) -> Vec<LinkTimes> {
    let times = links.iter().map(|link| heart.times_of(link));
    let all: Vec<_> = times.map(|(pulse_ms, timeout_ms)| LinkTimes { pulse_ms, timeout_ms }).collect();
    if all.iter().all(|times| Some(times) == all.first()) { Vec::new() } else { all }
}

fn links(checked: &Checked, nodes: &Nodes<'_>) -> Result<Vec<Link>> {
    let Some(peer) = nodes.peer else {
        return Ok(Vec::new());
    };
    let heart = &checked.user_config.heart;
    let port = heart.port.unwrap_or_else(|| checked.config.id.heartbeat_port());
    let link = |link: &userconfig::HeartbeatLink| {
        let (local, peer) = (Nodes::address(nodes.own, &link.lan)?, Nodes::address(peer, &link.lan)?);
        Ok(Link { lan: link.lan.clone(), ident: link.ident.clone(), local, peer, port })
    };
    heart.links.iter().map(link).collect()
}
