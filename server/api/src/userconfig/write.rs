//! Writes a `UserConfig` as XML.

use super::{Acknowledge, UserConfig};
use std::fmt::Write;

/// Text for an attribute value between double quotes.
fn escape(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    for c in value.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '"' => out.push_str("&quot;"),
            '\n' | '\t' | '\r' => {
                let _ = write!(out, "&#{};", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out
}

/// See [`UserConfig::to_xml`].
pub(super) fn to_xml(config: &UserConfig) -> String {
    let mut out = String::from("<!DOCTYPE safe>\n<safe>\n");
    let service = &config.service;
    let _ = writeln!(
        out,
        r#"<service mode="mirror" defaultprim="alone" maxloop="{}" loop_interval="{}ms" failover="on">"#,
        service.maxloop, service.loop_interval_ms
    );
    heart(&mut out, config);
    errd(&mut out, config);
    rfs(&mut out, config);
    user(&mut out, config);
    out.push_str("</service>\n</safe>\n");
    out
}

fn heart(out: &mut String, config: &UserConfig) {
    let heart = &config.heart;
    let port = heart.port.map(|port| format!(r#" port="{port}""#)).unwrap_or_default();
    let _ = writeln!(out, r#"  <heart pulse="{}" timeout="{}"{port}>"#, heart.pulse_ms, heart.timeout_ms);
    for link in &heart.links {
        let _ = writeln!(out, r#"    <heartbeat name="{}" ident="{}"/>"#, escape(&link.lan), escape(&link.ident));
    }
    out.push_str("  </heart>\n");
}

fn errd(out: &mut String, config: &UserConfig) {
    if config.errd.procs.is_empty() {
        return;
    }
    let _ = writeln!(out, r#"  <errd polltimer="{}ms">"#, config.errd.polltimer_ms);
    for proc in &config.errd.procs {
        let _ = write!(out, r#"    <proc name="{}""#, escape(&proc.name));
        if let Some(regex) = &proc.argregex {
            let _ = write!(out, r#" argregex="{}""#, escape(regex));
        }
        let atleast = proc.atleast.map_or(-1, i64::from);
        let _ = write!(out, r#" atleast="{atleast}" action="{}" class="prim""#, proc.action.as_str());
        if proc.start_after > 0 {
            let _ = write!(out, r#" start_after="{}""#, proc.start_after);
        }
        out.push_str("/>\n");
    }
    out.push_str("  </errd>\n");
}

fn rfs(out: &mut String, config: &UserConfig) {
    let Some(rfs) = &config.rfs else { return };
    let acknowledge = match rfs.acknowledge {
        Acknowledge::Second => "second",
        Acknowledge::None => "none",
    };
    let encryption = if rfs.encryption { "on" } else { "off" };
    let _ = writeln!(
        out,
        r#"  <rfs async="{acknowledge}" encryption="{encryption}" sendtimeout="{}ms">"#,
        rfs.send_timeout_ms
    );
    for dir in &rfs.directories {
        let _ = writeln!(out, r#"    <replicated dir="{}" mode="read_only"/>"#, escape(dir));
    }
    out.push_str("  </rfs>\n");
}

fn user(out: &mut String, config: &UserConfig) {
    let Some(user) = &config.user else { return };
    let logging = if user.logging { "userlog" } else { "none" };
    let _ = write!(
        out,
        r#"  <user nicestoptimeout="{}ms" forcestoptimeout="{}ms" logging="{logging}" userlogsize="{}""#,
        user.nicestop_timeout_ms,
        user.forcestop_timeout_ms,
        user.log_size_bytes / 1024
    );
    if user.vars.is_empty() {
        out.push_str("/>\n");
        return;
    }
    out.push_str(">\n");
    for var in &user.vars {
        let _ = writeln!(out, r#"    <var name="{}" value="{}"/>"#, escape(&var.name), escape(&var.value));
    }
    out.push_str("  </user>\n");
}
