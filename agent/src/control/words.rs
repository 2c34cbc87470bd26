//! Requests in words, for the command log, and which of them another node may make.

use super::{Cleaned, Request};
use holdfast_core::input::{LoopOrder, ModuleCommand};

/// The command's word, as messages have it.
pub fn command(kind: ModuleCommand) -> String {
    serde_json::to_value(kind).ok().and_then(|word| word.as_str().map(str::to_owned)).unwrap_or_default()
}

fn cleaned(what: Cleaned) -> &'static str {
    match what {
        Cleaned::Log => "log",
        Cleaned::Process => "process",
        Cleaned::Resource => "resource",
    }
}

impl Request {
    /// The request as a command line would say it; `None` for questions, which change nothing.
    pub fn words(&self) -> Option<String> {
        Some(match self {
            Self::Command { module, kind, counted } => {
                let counted = if *counted { " -i" } else { "" };
                format!("{} -m {module}{counted}", command(*kind))
            }
            Self::Checks { module, order } => format!("{} -m {module}", order.words()?),
            Self::Loop { module, order: LoopOrder::Reset } => format!("resetloop -m {module}"),
            Self::Verify { module, start: true } => format!("rfsverify -m {module}"),
            Self::Diff { module, start: true } => format!("rfsdiff -m {module}"),
            Self::DivergedExport { module, id, to } => format!("diverged -m {module} export {id} {to}"),
            Self::DivergedDelete { module, id } => format!("diverged -m {module} delete {id}"),
            Self::Pairing { reopen: true } => "pairing --reopen".to_owned(),
            Self::Snapshot { module: Some(module) } => format!("snapshot -m {module}"),
            Self::Snapshot { module: None } => "snapshot".to_owned(),
            Self::ClusterConfigure { config } => format!("cluster config (version {})", config.version),
            Self::ClusterLeave => "cluster deconfig".to_owned(),
            Self::ModuleInstall { module, id: Some(id), .. } => format!("module install -m {module} -M {}", id.0),
            Self::ModuleInstall { module, id: None, .. } => format!("module install -m {module}"),
            Self::ModuleConfigure { module } => format!("config -m {module}"),
            Self::ModuleRemove { module } => format!("deconfig -m {module}"),
            Self::ModuleUninstall { module } => format!("module uninstall -m {module}"),
            Self::ModuleUpdate { module } => format!("update -m {module}"),
            Self::Clean { module, part } => format!("clean {} -m {module}", cleaned(*part)),
            Self::Dump { module } => format!("dump -m {module}"),
            Self::ModuleTake { config } => {
                format!("config -m {} (version {} of another node)", config.name, config.version)
            }
            Self::Export { module: Some(module), to } => format!("-H {to} -E {module}"),
            Self::Export { module: None, to } => format!("-H {to} -G"),
            Self::State { .. }
            | Self::Log { .. }
            // In the module log anyway, and scripts print much.
            | Self::Print { .. }
            // In the resource's history anyway; checkers say so at every look.
            | Self::SetResource { .. }
            | Self::Loop { .. }
            | Self::Verify { start: false, .. }
            | Self::Diff { start: false, .. }
            | Self::Diverged { .. }
            | Self::Pairing { reopen: false }
            | Self::Key
            | Self::Cluster
            | Self::ModuleCheck { .. }
            | Self::ModulePackage { .. }
            | Self::Level { .. }
            | Self::ToldState { .. }
            | Self::Places { .. }
            | Self::ModuleList
            | Self::VerifyPaths { .. }
            | Self::ClusterState
            | Self::ClusterCheck { .. }
            | Self::ModuleInfo { .. }
            | Self::ClusterGive
            | Self::ModuleGive { .. }
            | Self::CommandLog { .. } => return None,
        })
    }

    /// Why another node may not make this request; `None`: it may.
    pub fn only_here(&self) -> Option<&'static str> {
        match self {
            Self::Pairing { .. } => Some("the pairing code is shown and reopened on the node itself only"),
            Self::Print { .. } => Some("printi and printe are for the scripts of the node itself"),
            Self::ClusterLeave => Some("a node leaves its cluster by a command on itself only"),
            Self::Export { .. } => Some("a node exports what it holds itself: run the export there"),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Request;
    use holdfast_core::input::ModuleCommand;

    #[test]
    fn commands_have_words_and_questions_have_none() {
        let stop = Request::Command { module: "m".into(), kind: ModuleCommand::Stop, counted: true };
        assert_eq!(stop.words().as_deref(), Some("stop -m m -i"));
        assert_eq!(Request::Pairing { reopen: true }.words().as_deref(), Some("pairing --reopen"));
        assert_eq!(Request::State { module: None }.words(), None);
        assert!(stop.only_here().is_none() && Request::Pairing { reopen: false }.only_here().is_some());
    }
}
