//! Golden scenarios: a transcript is a list of orders (`> …`), each followed by what the two nodes then did.
//!
//! The world is a calm one of the simulator (no chance, fixed delays), with what the first lines say of the module
//! (`! …`); the oracle checks every step as in the
//! simulation. Running a transcript gives the same transcript, or the difference is the change to review.

use super::cluster::Cluster;
use super::faults::process_missing;
use super::options::Options;
use super::replica::{GUARD, Mode as Plane};
use super::witness::Kind;
use holdfast_api::checker::When;
use holdfast_api::resource::ResourceValue;
use holdfast_api::userconfig::{DefaultPrim, Mode};
use holdfast_core::input::{CheckAction, Input, ModuleCommand};
use holdfast_core::output::Script;
use holdfast_core::replica::{ReplicaCommand, ReplicaEvent};
use holdfast_core::settings::{LinkTimes, Settings};

/// Runs the orders of a transcript and returns it with what happens now.
///
/// # Errors
/// An order that is not understood, by its line; or a rule that was broken, by its text.
pub fn run(transcript: &str) -> Result<String, String> {
    let mut options = Options::calm();
    for (number, line) in transcript.lines().enumerate() {
        if let Some(said) = line.strip_prefix("! ") {
            configure(&mut options, said).map_err(|why| format!("line {}: {why}", number + 1))?;
        }
    }
    let witness = transcript.lines().find_map(|line| line.strip_prefix("> witness "));
    let witness = witness.map_or(Ok(Kind::None), witness_kind)?;
    let mut cluster = Cluster::new(Options { witness, ..options }, true);
    cluster.run_for(10);
    cluster.log = Some(Vec::new());
    let mut out = String::new();
    for (number, line) in transcript.lines().enumerate() {
        if line.starts_with(['#', '!']) {
            out.push_str(line);
            out.push('\n');
        }
        let Some(order) = line.strip_prefix("> ") else {
            continue;
        };
        out.push_str(&format!("\n{line}\n"));
        obey(&mut cluster, order).map_err(|why| format!("line {}: {why}", number + 1))?;
        for said in cluster.log.replace(Vec::new()).unwrap_or_default() {
            out.push_str(&format!("{said}\n"));
        }
        for host in 0..2 {
            out.push_str(&format!("  {}\n", cluster.describe(host).trim_end()));
        }
        if let Some(violation) = &cluster.oracle.violation {
            return Err(violation.clone());
        }
    }
    Ok(name_numbers(&out))
}

/// Random numbers get names in the order of their appearance, so that a transcript changes only where behaviour does:
/// generations `2:5ad20f1c` become `2:A`, sessions become `session s1`.
fn name_numbers(text: &str) -> String {
    let mut generations: Vec<String> = Vec::new();
    let mut sessions: Vec<String> = Vec::new();
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(|c: char| c.is_ascii_hexdigit()) {
        let (before, from) = rest.split_at(at);
        out.push_str(before);
        let end = from.find(|c: char| !c.is_ascii_hexdigit()).unwrap_or(from.len());
        let (word, after) = from.split_at(end);
        let name = |known: &mut Vec<String>| {
            known.iter().position(|other| other == word).unwrap_or_else(|| {
                known.push(word.to_owned());
                known.len() - 1
            })
        };
        if word == "00000000" && out.ends_with(':') {
            out.push('-');
        } else if word.len() == 8 && out.ends_with(':') {
            out.push(char::from(b'A' + (name(&mut generations) % 26) as u8));
        } else if out.ends_with("session ") {
            out.push_str(&format!("s{}", name(&mut sessions) + 1));
        } else {
            out.push_str(word);
        }
        rest = after;
    }
    out.push_str(rest);
    out
}

/// A line of the module's configuration.
fn configure(options: &mut Options, said: &str) -> Result<(), String> {
    let words: Vec<&str> = said.split_whitespace().collect();
    match words.as_slice() {
        ["light"] => options.mode = Mode::Light,
        ["no-directories"] => options.replicates = false,
        ["scripts", "all"] => options.scripts = Script::ALL.to_vec(),
        ["scripts", names @ ..] => {
            options.scripts = Script::ALL.into_iter().filter(|script| names.contains(&script.file_name())).collect();
        }
        ["checker", resource, when] => {
            let levels = [When::Pre, When::Prim, When::Second, When::Both, When::Sec];
            let when = levels.into_iter().find(|level| level.as_str() == *when);
            options.checkers.push(((*resource).to_owned(), when.ok_or("unknown level")?));
        }
        ["rule", label, resource, value, action] => {
            let value = ResourceValue::from((*value).to_owned());
            options.rules.rules.push(super::options::rule(label, resource, value, check_action(action)?));
        }
        ["defaultprim", "lastprim"] => options.defaultprim = DefaultPrim::Lastprim,
        ["defaultprim", node] => options.defaultprim = DefaultPrim::Node((*node).to_owned()),
        ["failover", "off"] => options.failover = false,
        ["stream-timeout", time] => options.stream_timeout_ms = milliseconds(time)?,
        ["automatic-reboot"] => options.automatic_reboot = true,
        ["link", number, pulse, timeout] => {
            let module = LinkTimes { pulse_ms: options.pulse_ms, timeout_ms: options.timeout_ms };
            options.link_times.resize(options.links, module);
            let times = LinkTimes { pulse_ms: milliseconds(pulse)?, timeout_ms: milliseconds(timeout)? };
            *options.link_times.get_mut(link(number)?).ok_or("no such link")? = times;
        }
        ["maxloop", count] => options.maxloop = count.parse().map_err(|_| format!("`{count}` is no number"))?,
        _ => return Err(format!("unknown setting `{said}`")),
    }
    Ok(())
}

/// The module is configured anew on a node while it runs there.
fn reconfigure(cluster: &mut Cluster, host: usize, said: &str) -> Result<(), String> {
    configure(&mut cluster.options, said)?;
    let options = &cluster.options;
    if let Some(node) = &mut cluster.hosts[host].node {
        let settings = Settings {
            scripts: options.scripts.clone(),
            checkers: options.checkers.clone(),
            rules: options.rules.clone(),
            maxloop: options.maxloop,
            automatic_reboot: options.automatic_reboot,
            defaultprim: options.defaultprim.clone(),
            ..node.settings().clone()
        };
        node.apply(settings);
    }
    Ok(())
}

fn check_action(word: &str) -> Result<CheckAction, String> {
    use CheckAction::{NoAction, Restart, Stop, StopStart, Swap, Wait};
    let all = [Wait, Restart, StopStart, Stop, Swap, NoAction];
    all.into_iter().find(|action| action.as_str() == word).ok_or_else(|| format!("unknown action `{word}`"))
}

fn obey(cluster: &mut Cluster, order: &str) -> Result<(), String> {
    let words: Vec<&str> = order.split_whitespace().collect();
    match words.as_slice() {
        ["run", seconds] => {
            cluster.run_for(milliseconds(seconds)?);
            return Ok(());
        }
        // Said before anything happened.
        ["witness", ..] => return Ok(()),
        ["restart", "register"] => cluster.register_ends(100, None),
        ["restore", "register"] => cluster.register_ends(100, Some(0)),
        ["cut", "witness", node] => cluster.register.cut_until[index(node)?] = u64::MAX,
        ["join", "witness", node] => cluster.register.cut_until[index(node)?] = 0,
        ["cut"] => cluster.net.set_all(true),
        ["join"] => cluster.net.set_all(false),
        [verb @ ("cut" | "join"), "link", number] => {
            let link = link(number)?;
            (0..2).for_each(|host| cluster.net.set(host, link, *verb == "cut"));
        }
        ["cut", "from", node] => (0..2).for_each(|link| cluster.net.set(index(node).unwrap_or(0), link, true)),
        ["cover", "more"] => cluster.cover(true),
        ["cover", "less"] => cluster.cover(false),
        ["crash", "both"] => {
            for host in 0..2 {
                cluster.crash(host, 3_600_000);
            }
        }
        [verb, node, rest @ ..] => one_node(cluster, verb, index(node)?, rest)?,
        _ => return Err(format!("unknown order `{order}`")),
    }
    cluster.run_for(1);
    Ok(())
}

fn one_node(cluster: &mut Cluster, verb: &str, host: usize, rest: &[&str]) -> Result<(), String> {
    if let Some(kind) = operators_command(verb) {
        cluster.command(host, kind, "operator");
        return Ok(());
    }
    match (verb, rest) {
        ("files", [count]) => {
            (0..number(count)?).for_each(|file| cluster.hosts[host].disk.write_synced(1_000_000 + file));
        }
        ("own-files", [count]) => (0..number(count)?).for_each(|_| cluster.put_own_file(host)),
        ("crash", []) => cluster.crash(host, 3_600_000),
        ("boot", []) => {
            cluster.power_on(host);
            cluster.start_agent(host);
        }
        ("reboot", [seconds]) => cluster.crash(host, milliseconds(seconds)?),
        ("shutdown", []) => cluster.shut_down(host, false),
        ("hurry", []) => cluster.shut_down(host, true),
        ("kill-agent", [seconds]) => cluster.kill_agent(host, milliseconds(seconds)?),
        ("clock-ahead", [seconds]) => cluster.hosts[host].wall_off = milliseconds(seconds)? / 1000,
        ("restore-starts", [seconds]) => cluster.restore_starts(host, milliseconds(seconds)?),
        ("restart-agent", [seconds]) => cluster.end_agent(host, milliseconds(seconds)?),
        ("suspend", [seconds]) => {
            cluster.hosts[host].asleep_until = cluster.schedule.now() + milliseconds(seconds)?;
        }
        ("break-ledger", []) => cluster.hosts[host].ledger_broken = true,
        ("repair-ledger", []) => cluster.hosts[host].ledger_broken = false,
        ("break-stream", []) => {
            let session = cluster.stream.as_ref().map_or(0, |stream| stream.session);
            cluster.lose_stream(host, session, "connection reset");
        }
        ("replica-exits", []) => {
            cluster.end_replica(host);
            cluster.to_agent(host, Input::Replica(ReplicaEvent::Exited { reason: "signal 9".to_owned() }));
        }
        ("process-missing", [name, action]) => {
            let action = check_action(action)?;
            cluster.to_agent(host, process_missing(name, action));
        }
        ("finds", [resource, "bad"]) => {
            cluster.hosts[host].bad.insert((*resource).to_owned());
        }
        ("finds", [resource, "good"]) => {
            cluster.hosts[host].bad.remove(*resource);
            if *resource == GUARD {
                // The inspection under way finds it.
                cluster.order(host, ReplicaCommand::Inspect);
            }
        }
        ("set", [resource, value]) => {
            let (name, value) = ((*resource).to_owned(), ResourceValue::from((*value).to_owned()));
            cluster.to_agent(host, Input::ResourceSet { name, value, by: "admin".to_owned() });
        }
        ("configure", said) => reconfigure(cluster, host, &said.join(" "))?,
        ("scripts-hang", []) => cluster.options.script_ms = (3_600_000, 3_600_000),
        ("scripts-end", []) => cluster.options.script_ms = Options::calm().script_ms,
        ("until-resync", []) => {
            for _ in 0..100_000 {
                if matches!(cluster.hosts[host].replica.mode, Plane::Following { .. }) && cluster.stream.is_some() {
                    break;
                }
                cluster.run_for(1);
            }
        }
        _ => return Err(format!("unknown order `{verb}`")),
    }
    Ok(())
}

fn operators_command(verb: &str) -> Option<ModuleCommand> {
    Some(match verb {
        "start" => ModuleCommand::Start,
        "prim" => ModuleCommand::Prim,
        "primforce" => ModuleCommand::PrimForce,
        "forcestop" => ModuleCommand::ForceStop,
        "failover-off" => ModuleCommand::FailoverOff,
        "failover-on" => ModuleCommand::FailoverOn,
        "second" => ModuleCommand::Second,
        "stop" => ModuleCommand::Stop,
        "restart" => ModuleCommand::Restart,
        "stopstart" => ModuleCommand::StopStart,
        "swap" => ModuleCommand::Swap,
        _ => return None,
    })
}

fn witness_kind(name: &str) -> Result<Kind, String> {
    match name.split_whitespace().collect::<Vec<_>>().as_slice() {
        ["register"] => Ok(Kind::Register),
        ["ping"] => Ok(Kind::PingFromBoth),
        ["ping", "from", node] => Ok(Kind::PingFrom(index(node)?)),
        _ => Err(format!("unknown witness `{name}`")),
    }
}

fn number(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| format!("`{text}` is no number"))
}

fn index(node: &str) -> Result<usize, String> {
    match node {
        "node1" => Ok(0),
        "node2" => Ok(1),
        other => Err(format!("unknown node `{other}`")),
    }
}

fn link(number: &str) -> Result<usize, String> {
    match number {
        "1" => Ok(0),
        "2" => Ok(1),
        other => Err(format!("unknown link `{other}`")),
    }
}

fn milliseconds(text: &str) -> Result<u64, String> {
    let seconds = text.strip_suffix('s').and_then(|seconds| seconds.parse::<f64>().ok());
    seconds.map(|seconds| (seconds * 1000.0) as u64).ok_or_else(|| format!("`{text}` is no time such as 2.5s"))
}
