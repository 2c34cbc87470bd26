//! Who hears whom: per network of a module and per node, as their resources say.

use crate::language::t;
use crate::rules::tone::Tone;
use holdfast_api::console::{ModuleFacts, ModuleOnNode};

/// What a node says of a network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cell {
    /// Its colour.
    pub tone: Tone,
    /// In words.
    pub text: &'static str,
    /// Since when; 0 if it is not known.
    pub since_unix_ms: u64,
}

/// One row for each network: its name, whether it carries the replication, and one cell for each node in order.
pub fn matrix(facts: &ModuleFacts, nodes: &[ModuleOnNode], live: bool) -> Vec<(String, bool, Vec<Cell>)> {
    let row = |network: &holdfast_api::console::NetworkFacts| {
        let name = format!("heartbeat.{}", network.ident);
        let cells = nodes.iter().map(|on| cell(on, &name, live)).collect();
        (network.lan.clone(), network.lan == facts.flow, cells)
    };
    facts.networks.iter().map(row).collect()
}

fn cell(on: &ModuleOnNode, resource: &str, live: bool) -> Cell {
    let found = on
        .report
        .as_ref()
        .filter(|_| on.fresh && live)
        .and_then(|report| report.resources.iter().find(|other| other.name == resource));
    let Some(found) = found else { return Cell { tone: Tone::Lost, text: t!("not known"), since_unix_ms: 0 } };
    let (tone, text) = match found.value.to_string().as_str() {
        "up" => (Tone::Ok, t!("hears the other node")),
        "down" => (Tone::Bad, t!("hears nothing")),
        _ => (Tone::Idle, t!("has not looked")),
    };
    Cell { tone, text, since_unix_ms: found.since_unix_ms }
}

#[cfg(test)]
mod tests {
    use super::matrix;
    use crate::rules::actions::tests::on_node;
    use crate::rules::tone::Tone;
    use holdfast_api::agent::ResourceReport;
    use holdfast_api::console::{ModuleFacts, NetworkFacts};
    use holdfast_api::resource::ResourceValue;
    use holdfast_api::state::{ModuleState, Readiness};

    #[test]
    fn a_one_way_cut_is_seen_as_such_and_a_silent_node_says_nothing() {
        let resource =
            |value| ResourceReport { name: "heartbeat.flow".into(), value, since_unix_ms: 7, by: String::new() };
        let mut nodes =
            vec![on_node(1, ModuleState::Prim, Readiness::Ready), on_node(2, ModuleState::Second, Readiness::Ready)];
        for (on, value) in nodes.iter_mut().zip([ResourceValue::Up, ResourceValue::Down]) {
            on.report.as_mut().expect("a report").resources.push(resource(value));
        }
        let network = NetworkFacts { lan: "default".into(), ident: "flow".into() };
        let facts = ModuleFacts { networks: vec![network], flow: "default".into(), ..ModuleFacts::default() };
        let tones =
            |nodes: &[_], live| matrix(&facts, nodes, live)[0].2.iter().map(|cell| cell.tone).collect::<Vec<_>>();
        assert_eq!(tones(&nodes, true), [Tone::Ok, Tone::Bad]);
        nodes[0].fresh = false;
        assert_eq!(tones(&nodes, true), [Tone::Lost, Tone::Bad]);
        assert_eq!(tones(&nodes, false), [Tone::Lost, Tone::Lost]);
        assert!(matrix(&facts, &nodes, true)[0].1, "it carries the replication");
    }
}
