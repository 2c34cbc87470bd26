//! Words of the product whose scripts we run that mean nothing here: each is answered with the reason and what to do.

use super::Cli;
use clap::CommandFactory;
use std::ffi::OsString;

/// Words in the order written (options left out), and the answer.
const ABSENT: &[(&[&str], &str)] = &[
    (
        &["webserver"],
        "there is no web service to restart on a node: the agent itself serves port 9010; `systemctl restart holdfast-agent`",
    ),
    (&["webservercfg"], "users and passwords belong to the management server: change them in its console"),
    (
        &["notification"],
        "a node sends no mail itself: hand `journalctl -t holdfast -p warning` to what sends mail on your machines",
    ),
    (&["safeagent"], "there is no SNMP agent; ask `holdfast state --json`, or the health URL on port 9010"),
    (
        &["boot", "webon"],
        "the node's page on port 9010 comes and goes with the agent: `systemctl enable holdfast-agent`",
    ),
    (
        &["boot", "weboff"],
        "the node's page on port 9010 comes and goes with the agent; close it with `holdfast-agent --health-listen 127.0.0.1:9010`",
    ),
    (
        &["boot", "webstatus"],
        "the node's page on port 9010 comes and goes with the agent: `systemctl is-enabled holdfast-agent`",
    ),
    (&["boot", "snmpon"], "there is no SNMP agent; ask `holdfast state --json`, or the health URL on port 9010"),
    (&["boot", "snmpoff"], "there is no SNMP agent, so none starts at boot"),
    (&["boot", "snmpstatus"], "there is no SNMP agent, so none starts at boot"),
    (
        &["module", "genkey"],
        "modules need no keys of their own: nodes speak with the keys made when they were installed, pinned in the cluster configuration",
    ),
    (
        &["module", "delkey"],
        "modules have no keys of their own; for a trusted link, <rfs encryption=\"off\"> ends the encryption of the replication",
    ),
    (&["cluster", "genkey"], "each node makes its own key when it is installed; `holdfast key` shows its fingerprint"),
    (
        &["cluster", "delkey"],
        "a node's key goes with its data folder; `holdfast cluster deconfig` takes the node out of its cluster",
    ),
    (&["genkey"], "each node makes its own key when it is installed; `holdfast key` shows its fingerprint"),
    (
        &["delkey"],
        "a node's key goes with its data folder; `holdfast cluster deconfig` takes the node out of its cluster",
    ),
    (
        &["rfssync"],
        "whatever may differ is compared by itself, and only what differs travels; after a copy made by other means (a restored backup, a disk carried over) order `holdfast second fullsync`: everything is compared, and again only what differs travels",
    ),
    (&["swap", "nosync"], "a swap between nodes in sync copies nothing anyway: `holdfast swap`"),
    (&["lock"], "cluster configurations have versions and an older one is refused: there is nothing to lock"),
    (&["unlock"], "cluster configurations have versions and an older one is refused: there is nothing to unlock"),
    (
        &["cluster", "lock"],
        "cluster configurations have versions and an older one is refused: there is nothing to lock",
    ),
    (
        &["cluster", "unlock"],
        "cluster configurations have versions and an older one is refused: there is nothing to unlock",
    ),
    (
        &["uninstall"],
        "the product is removed as it was installed, by the package manager; a module by `holdfast module uninstall -m NAME`",
    ),
    (
        &["anontool"],
        "`holdfast snapshot` masks what looks like a secret; the console replaces names and addresses too (Support)",
    ),
    (&["safeenc"], "there is no encryption of single values; keep secrets in files that only root reads"),
    (&["gencron"], "switch lines of a crontab in the module's scripts: `crontab -l | sed … | crontab -`"),
    (&["errdpoll_running"], "`holdfast processtree list all` shows the processes"),
    (&["vip_if_ctrl"], "there are no farm modules in this version; `ip address` shows a mirror's virtual addresses"),
    (&["saferpc_send"], "there are no farm modules in this version; a mirror's virtual addresses follow its state"),
    (&["curl"], "use the curl of the system"),
];

/// Options of the command line that are followed by a value of their own.
const WITH_VALUE: [&str; 9] = ["-m", "--module", "-H", "--hosts", "-i", "-s", "-M", "--socket", "-l"];

/// The words that are no options, nor values of options.
fn plain(words: &[OsString]) -> Vec<&str> {
    let mut found = Vec::new();
    let mut rest = words.iter().skip(1);
    while let Some(word) = rest.next() {
        match word.to_str() {
            Some(word) if WITH_VALUE.contains(&word) => drop(rest.next()),
            Some(word) if word.starts_with('-') => {}
            Some(word) => found.push(word),
            None => {}
        }
    }
    found
}

/// Whether these words have become a command.
fn exists(words: &[&str]) -> bool {
    let mut command = Cli::command();
    words.iter().all(|word| command.find_subcommand(word).cloned().map(|below| command = below).is_some())
}

/// Why a command line means nothing here, and what to do instead; `None`: it is not one of these.
pub(super) fn answer(words: &[OsString]) -> Option<String> {
    let plain = plain(words);
    if let [command, subcommand, rest @ ..] = plain.as_slice()
        && *command == "cluster"
        && *subcommand == "config"
        && rest.iter().any(|word| ["lock", "unlock"].contains(word))
    {
        return answer(&["".into(), "cluster".into(), "lock".into()]);
    }
    let (wanted, answer) = ABSENT.iter().find(|(wanted, _)| plain.starts_with(wanted) && !exists(wanted))?;
    Some(format!("{}: {answer}", wanted.join(" ")))
}

/// The list, for the manual.
pub(super) fn list() -> String {
    let line = |(words, answer): &(&[&str], &str)| format!("  {}: {answer}\n", words.join(" "));
    ABSENT.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::answer;
    use std::ffi::OsString;

    #[test]
    fn options_do_not_hide_a_word_and_values_are_not_taken_for_one() {
        let said = |line: &str| answer(&line.split(' ').map(OsString::from).collect::<Vec<_>>());
        assert!(said("safekit -H * module genkey -m a").unwrap().starts_with("module genkey: "));
        assert!(said("safekit boot -m a webon").is_some());
        assert!(said("safekit swap -m a nosync").is_some());
        assert_eq!(said("safekit start -m webserver"), None);
        assert_eq!(said("safekit swap -m a"), None);
        assert_eq!(said("safekit printe -m a curl failed"), None);
        assert!(said("safekit cluster config f.json lock").unwrap().contains("versions"));
    }
}
