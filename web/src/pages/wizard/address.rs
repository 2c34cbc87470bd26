//! Wizard: how clients find the primary: by a virtual address that follows it, or by a load balancer.

use super::draft::Draft;
use super::{StepCard, StepFoot};
use crate::components::form::{RepeatList, TextField};
use crate::effect::effect;
use crate::language::t;
use crate::rules::wizard::Step;
use crate::store::Console;
use holdfast_api::config::VirtualIp;
use leptos::prelude::*;

/// An address as edited.
#[derive(Clone, Copy)]
struct Row {
    addr: RwSignal<String>,
    interface: RwSignal<String>,
    prefix: RwSignal<String>,
}

impl Row {
    fn of(address: &VirtualIp) -> Self {
        Self {
            addr: RwSignal::new(address.addr.clone()),
            interface: RwSignal::new(address.interface.clone()),
            prefix: RwSignal::new(address.prefix.map(|prefix| prefix.to_string()).unwrap_or_default()),
        }
    }

    fn empty() -> Self {
        Self::of(&VirtualIp::default())
    }

    fn address(self) -> VirtualIp {
        let prefix = self.prefix.get();
        let prefix = prefix.trim();
        VirtualIp {
            addr: self.addr.get().trim().to_owned(),
            interface: self.interface.get().trim().to_owned(),
            // What is no number is refused as 0.
            prefix: (!prefix.is_empty()).then(|| prefix.parse().unwrap_or(0)),
        }
    }
}

/// The step.
#[component]
pub fn AddressStep(
    /// The draft.
    draft: Draft,
) -> impl IntoView {
    let console = Console::get();
    let rows = RwSignal::new(
        draft
            .settings
            .with_untracked(|settings| settings.addresses.iter().map(Row::of).enumerate().collect::<Vec<_>>()),
    );
    let own = RwSignal::new(rows.with_untracked(|rows| !rows.is_empty()));
    effect(move || {
        let addresses: Vec<VirtualIp> =
            if own.get() { rows.with(|rows| rows.iter().map(|(_, row)| row.address()).collect()) } else { Vec::new() };
        if draft.settings.with_untracked(|settings| settings.addresses != addresses) {
            draft.settings.update(|settings| settings.addresses = addresses);
        }
    });
    let choose = move |wanted: bool| {
        if wanted && rows.with_untracked(Vec::is_empty) {
            rows.set(vec![(0, Row::empty())]);
        }
        own.set(wanted);
    };
    let health = Memo::new(move |_| {
        let name = draft.settings.with(|settings| settings.name.clone());
        let hosts = console
            .read(|snapshot| {
                let address = |node: &holdfast_api::console::ClusterNodeForm| node.addresses.values().next().cloned();
                snapshot.cluster.nodes.iter().filter_map(address).collect::<Vec<_>>()
            })
            .unwrap_or_default();
        hosts.into_iter().map(|host| format!("http://{host}:9010/var/modules/{name}/ready.txt")).collect::<Vec<_>>()
    });
    let row = move |key: usize, row: Row, remove: AnyView| view! { <Address draft rows key row remove /> };
    view! {
        <StepCard title=t!("Address") lead=t!("Clients must reach the application where it runs. Choose how they find it.")>
            <fieldset class="columns" aria-label=t!("How clients find the application")>
                <label class="choice">
                    <input type="radio" name="address" data-testid="address-own" prop:checked=move || own.get() on:change=move |_| choose(true) />
                    <div class="stack tight"><h3>{t!("Virtual address")}</h3><p class="small muted">{t!("An address that is set on the primary and moves with it. Both nodes must be on its network.")}</p></div>
                </label>
                <label class="choice">
                    <input type="radio" name="address" data-testid="address-cloud" prop:checked=move || !own.get() on:change=move |_| choose(false) />
                    <div class="stack tight"><h3>{t!("Load balancer, or nothing")}</h3><p class="small muted">{t!("In a cloud, where addresses cannot be moved: a load balancer asks each node's health address and sends clients to the one that answers 200.")}</p></div>
                </label>
            </fieldset>
            <Show
                when=move || own.get()
                fallback=move || view! {
                    <div class="stack tight" data-testid="health-addresses">
                        <p>{t!("Give the load balancer these health addresses:")}</p>
                        <ul class="stack tight">{move || health.get().into_iter().map(|url| view! { <li><code>{url}</code></li> }).collect_view()}</ul>
                    </div>
                }
            >
                <RepeatList rows row make=Row::empty add_label=t!("Add an address") testid="add-address" least=1 />
            </Show>
        </StepCard>
        <StepFoot draft step=Step::Address />
    }
}

#[component]
fn Address(draft: Draft, rows: RwSignal<Vec<(usize, Row)>>, key: usize, row: Row, remove: AnyView) -> impl IntoView {
    let problem = move |part: &'static str| {
        Signal::derive(move || {
            let index = rows.with(|rows| rows.iter().position(|(other, _)| *other == key))?;
            draft.message(&format!("addresses[{index}].{part}"))
        })
    };
    view! {
        <div class="repeat-row"><TextField id=format!("vip-{key}") label=t!("Virtual address") value=row.addr problem=problem("addr") placeholder="192.0.2.10" code=true />{remove}</div>
        <div class="columns">
            <TextField id=format!("vip-interface-{key}") label=t!("Interface") hint=t!("Empty: the one whose network holds the address") value=row.interface problem=problem("interface") code=true />
            <TextField id=format!("vip-prefix-{key}") label=t!("Prefix length") hint=t!("Empty: that of the interface") value=row.prefix problem=problem("prefix") />
        </div>
    }
}
