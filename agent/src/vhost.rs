//! The files of `<vhost>`: a script that sources one goes on, with all that it starts, under a host name of the module's.
//!
//! The name is that of a UTS namespace: the kernel tells it to every program, however it asks, and nobody outside sees
//! it. The script is started anew inside, in the same process, so whoever waits for it or ends it notices nothing.

use holdfast_api::checker::When;
use holdfast_api::userconfig::VirtualHost;

/// The file, for a POSIX shell. The names in it are letters, digits, dots, dashes and underscores.
pub fn env_file(host: &VirtualHost) -> String {
    let name = &host.name;
    let except = match host.when {
        When::Prim => "*_second",
        When::Second => "*_prim",
        _ => "",
    };
    let except = if except.is_empty() { String::new() } else { format!("{except}) ;;\n") };
    format!(
        r#"# Made when the module was configured: . "$SAFEUSERBIN/{file}" as the first command of a script lets it go on,
# with all that it starts, under the host name {name}.
case "${{0##*/}}" in
{except}*)
    if [ "$(uname -n)" != {name} ]; then
        exec unshare --uts sh -c 'echo {name} >/proc/sys/kernel/hostname && exec "$0" "$@"' "$0" "$@"
    fi
    ;;
esac
"#,
        file = host.envfile
    )
}

#[cfg(test)]
mod tests {
    use super::env_file;
    use holdfast_api::checker::When;
    use holdfast_api::userconfig::VirtualHost;
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;
    use std::process::Command;

    /// What a script of this name prints that sources the file of such a host.
    fn printed(when: When, script: &str) -> String {
        let dir = tempfile::tempdir().unwrap();
        let host = VirtualHost { name: "accounts-1".to_owned(), envfile: "vhostenv".to_owned(), when };
        fs::write(dir.path().join("vhostenv"), env_file(&host)).unwrap();
        let path = dir.path().join(script);
        let text = "#!/bin/sh\n. \"$SAFEUSERBIN/vhostenv\"\nsh -c 'uname -n'; echo $$ \"$@\"\nexit 7\n";
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o700)).unwrap();
        let mut command = Command::new(&path);
        let child = command.args(["WAIT", "ALONE", "two words"]).env("SAFEUSERBIN", dir.path());
        let child = child.stdout(std::process::Stdio::piped()).spawn().unwrap();
        let pid = child.id();
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(7));
        let text = String::from_utf8(output.stdout).unwrap();
        let (name, rest) = text.split_once('\n').unwrap();
        assert_eq!(rest, format!("{pid} WAIT ALONE two words\n"), "the same process with the same arguments");
        name.to_owned()
    }

    #[test]
    fn script_goes_on_under_the_virtual_host_name_where_it_is_to() {
        let own = fs::read_to_string("/proc/sys/kernel/hostname").unwrap().trim().to_owned();
        for (when, script, virtual_one) in [
            (When::Prim, "start_prim", true),
            (When::Prim, "checker.sh", true),
            (When::Prim, "start_second", false),
            (When::Second, "stop_second", true),
            (When::Second, "stop_prim", false),
            (When::Both, "start_both", true),
        ] {
            let expected = if virtual_one { "accounts-1" } else { own.as_str() };
            assert_eq!(printed(when, script), expected, "{when:?} {script}");
        }
        assert_eq!(fs::read_to_string("/proc/sys/kernel/hostname").unwrap().trim(), own, "nobody else sees it");
    }
}
