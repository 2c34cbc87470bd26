//! Every word of the product whose scripts we run: it is understood, or answered with a reason.

use super::{Cli, absent, words};
use clap::{CommandFactory, Parser};
use std::ffi::OsString;

fn words_of(line: &str) -> Vec<OsString> {
    words::rewritten(line.split(' ').map(OsString::from))
}

fn understood(line: &str) {
    let words = words_of(line);
    assert_eq!(absent::answer(&words), None, "{line}");
    Cli::try_parse_from(words).unwrap_or_else(|error| panic!("{line}: {error}"));
}

/// The command table of the replaced product, a line for each form of each word.
const UNDERSTOOD: &str = "\
safekit start -m a
safekit stop -m a
safekit stop -i start_prim -m a
safekit restart -m a -i x
safekit stopstart -m a -i x
safekit swap -m a -i x
safekit forcestop -m a
safekit prim -m a
safekit prim fullsync -m a
safekit primforce -m a
safekit second -m a
safekit second fullsync -m a
safekit secondforce -d 2026-01-01 -m a
safekit secondforce -d 2026-01-01T10:20:30Z -m a
safekit shutdown
safekit waitstart -m a
safekit waitstart -m a --timeout 30
safekit waitstop -m a
safekit waitstate -m a STOP
safekit waitstate -m a prim
safekit state
safekit state -m a
safekit state -m a -v
safekit state -m a -lq
safekit level
safekit level -m a
safekit log -m a
safekit log -m a -s 20 -A -l en
safekit logview -m a
safekit logview -m a -s 5 -A
safekit logsave -m a -A -l fr /tmp/f.txt
safekit printi -m a text with -dashes
safekit printe -m a text
safekit get -r tcp.web -m a
safekit set -r custom.web -v down -i custom1 -m a
safekit set -r custom.web -v 5 -n -l -m a
safekit config -m a
safekit deconfig -m a
safekit confcheck -m a
safekit confinfo -m a
safekit update -m a
safekit module install -m a -M 3 -r f.safe
safekit module install -m a
safekit module package -m a /tmp/a.safe
safekit module uninstall -m a
safekit module list
safekit module listid
safekit module getports -m a
safekit module getports -i 3
safekit -H * state
safekit -H n1,n2 start -m a
safekit -H [https:9453],n1 stop -m a
safekit -H n2 -E a
safekit -H * -G
safekit cluster config f.json
safekit cluster confcheck f.json
safekit cluster confinfo
safekit cluster deconfig
safekit cluster state
safekit boot -m a on
safekit boot -m a off
safekit boot status
safekit errd off -m a
safekit errd on -m a
safekit errd suspend -m a
safekit errd resume -m a
safekit errd enable mine -m a
safekit errd disable mine -m a
safekit errd list -m a
safekit checker off -m a
safekit checker on -m a
safekit failover off -m a
safekit failover on -m a
safekit kill -name=java -argregex=a.b -level=terminate
safekit kill -name=java -level=test
safekit incloop -m a -i handler
safekit resetloop -m a
safekit checkloop -m a
safekit dump -m a
safekit snapshot -m a /tmp/x.zip
safekit clean -m a
safekit clean all -m a
safekit clean log -m a
safekit clean process -m a
safekit clean resource -m a
safekit cmdlog
safekit rfsverify -m a
safekit rfsdiff -m a
safekit -p
safekit -r processtree list all
safekit -r boundcmd 5 ls -l
safekit -r healthcheck.sh";

/// Words that mean nothing here, as long as they are no command.
const ANSWERED: &str = "\
safekit swap nosync -m a
safekit module genkey -m a
safekit module delkey -m a
safekit cluster genkey
safekit cluster delkey
safekit cluster config f.json lock
safekit cluster config unlock
safekit boot webon
safekit boot weboff
safekit boot webstatus
safekit boot snmpon
safekit boot snmpoff
safekit boot snmpstatus
safekit rfssync external prim 77 -m a
safekit rfssync full -m a
safekit webserver restart
safekit webservercfg -passwd p
safekit notification status
safekit safeagent start
safekit uninstall -all
safekit -r anontool anonymize-snapshot
safekit -r safeenc
safekit -r vip_if_ctrl -l
safekit -r errdpoll_running
safekit -r curl http://x";

/// This product's own.
const OWN: &str = "\
holdfast rfsverify -m a --json
holdfast rfsdiff -m a --json
holdfast diverged -m a --json
holdfast diverged -m a delete 1-2
holdfast diverged -m a export 1-2 /tmp/x.zip
holdfast --socket /x key
holdfast state -m a --json
holdfast log -m a --app --json
holdfast boot status --json
holdfast boot -m a auto
holdfast pairing --reopen
holdfast verify-paths /a --json
holdfast release-addresses --run-dir /x
holdfast cluster show
holdfast module list --json
holdfast completions zsh
holdfast manual
holdfast manual /tmp/man";

#[test]
fn every_word_of_the_command_table_is_understood_or_answered_with_a_reason() {
    Cli::command().debug_assert();
    UNDERSTOOD.lines().chain(OWN.lines()).for_each(understood);
    for line in ANSWERED.lines() {
        match absent::answer(&words_of(line)) {
            Some(answer) => assert!(answer.len() > 30 && !answer.contains('\n'), "{answer}"),
            None => understood(line),
        }
    }
}

#[test]
fn what_is_wrong_is_refused() {
    for line in [
        "holdfast boot -m a maybe",
        "holdfast -E a",
        "holdfast waitstate -m a SIDEWAYS",
        "holdfast state -m a -l",
        "holdfast state -m a -q --json",
        "holdfast clean -m a everything",
        "holdfast module getports -i 0",
        "holdfast nonsense",
    ] {
        let words = words_of(line);
        assert!(absent::answer(&words).is_none() && Cli::try_parse_from(words).is_err(), "{line}");
    }
}
