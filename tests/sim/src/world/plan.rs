//! Which modules there are, and on which machines: drawn from the seed.

use super::Module;
use crate::clock::Rng;
use crate::cluster::Cluster;
use crate::options::{Options, rule};
use holdfast_api::checker::{CheckAction, When};
use holdfast_api::resource::ResourceValue;

/// The resource that says of a module whether it is healthy.
pub fn resource(module: &str) -> String {
    format!("module.{module}")
}

/// The number of machines, and what lives on them. One run in four is the plainest: one module on two machines.
pub fn draw(rng: &mut Rng, options: &Options, verbose: bool) -> (usize, Vec<Module>) {
    let mut modules = Vec::new();
    let machines = if rng.chance(400) { 3 } else { 2 };
    if machines == 2 && rng.chance(400) {
        let cluster = Cluster::new(options.clone(), verbose);
        modules.push(Module { name: "mirror1".to_owned(), machines: vec![0, 1], needs: None, cluster });
        return (machines, modules);
    }
    for light in 0..rng.within((0, 2)) as usize {
        let machine = rng.draw() as usize % machines;
        let mut own = options.light_beside(rng.draw());
        let needs = modules.iter().position(|other: &Module| other.machines == [machine] && light > 0);
        if let Some(needed) = needs {
            add_need(rng, &mut own, &modules[needed]);
        }
        let cluster = Cluster::new(own, verbose);
        modules.push(Module { name: format!("light{}", light + 1), machines: vec![machine], needs, cluster });
    }
    let mut pairs = vec![[0, 1]];
    match machines {
        2 => pairs.push([0, 1]),
        _ => pairs.extend([[1, 2], [0, 2]].into_iter().take(rng.within((1, 2)) as usize)),
    }
    for (index, pair) in pairs.into_iter().enumerate() {
        let mut own = if index == 0 { options.clone() } else { options.beside(rng.draw()) };
        let needs =
            modules.iter().position(|other| other.cluster.options.nodes == 1 && pair.contains(&other.machines[0]));
        let needs = needs.filter(|_| rng.chance(400));
        if let Some(needed) = needs {
            add_need(rng, &mut own, &modules[needed]);
        }
        let cluster = Cluster::new(own, verbose);
        modules.push(Module { name: format!("mirror{}", index + 1), machines: pair.to_vec(), needs, cluster });
    }
    (machines, modules)
}

/// As by `<module name="…"/>`: a checker of the other module, and what its failing does.
fn add_need(rng: &mut Rng, options: &mut Options, needed: &Module) {
    let name = resource(&needed.name);
    let action = [CheckAction::Wait, CheckAction::Wait, CheckAction::StopStart][rng.draw() as usize % 3];
    // Where a stopstart reboots the machine, and with it what is needed, that would go on for ever.
    let action = if options.automatic_reboot { CheckAction::Wait } else { action };
    options.rules.rules.push(rule("m_needed", &name, ResourceValue::Down, action));
    options.checkers.push((name, When::Pre));
}
