//! Reads `userconfig.xml`: every element and attribute is known, or an error with its place and cure.

use super::value::{Value, directory, proc_action, shorten};
use super::{
    Acknowledge, Boot, Check, DefaultPrim, Errd, Failover, Heart, HeartbeatLink, Mode, Note, Proc, ProcAction, Rfs,
    Service, TEXT_MAX, User, UserConfig, UserConfigError, Var, Witness,
};
use roxmltree::{Document, Node, ParsingOptions, TextPos};

type Parsed<T> = Result<T, UserConfigError>;

const QUOTES: &[char] = &['\u{201c}', '\u{201d}', '\u{201e}', '\u{2018}', '\u{2019}', '\u{00ab}', '\u{00bb}'];
const NODES_MAX: u32 = 4096;
const NAMES_MAX: usize = 64;

pub(super) const SECOND: u64 = 1000;
pub(super) const HOUR: u64 = 3600 * SECOND;

/// See [`UserConfig::parse`].
pub(super) fn parse(text: &str) -> Parsed<UserConfig> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if text.len() > TEXT_MAX {
        return Err(error_at(1, 1, format!("the file is larger than {TEXT_MAX} bytes"), "shorten it"));
    }
    let text = blank_doctype(text)?;
    let options = ParsingOptions { allow_dtd: false, nodes_limit: NODES_MAX, ..ParsingOptions::default() };
    let document = Document::parse_with_options(&text, options).map_err(|error| syntax_error(&text, &error))?;
    Reader { document: &document, notes: Vec::new() }.safe()
}

pub(super) fn error_at(line: u32, column: u32, problem: impl Into<String>, cure: impl Into<String>) -> UserConfigError {
    UserConfigError { line, column, problem: problem.into(), cure: cure.into() }
}

fn position(text: &str, offset: usize) -> (u32, u32) {
    let before = &text[..offset];
    let line = before.matches('\n').count() as u32 + 1;
    let column = before.rsplit('\n').next().map_or(0, |last| last.chars().count()) as u32 + 1;
    (line, column)
}

/// Replaces `<!DOCTYPE safe>` by blanks, so that the parser may refuse every other declaration.
fn blank_doctype(text: &str) -> Parsed<String> {
    let mut at = 0;
    loop {
        let rest = &text[at..];
        let skipped = rest.len() - rest.trim_start().len();
        if skipped > 0 {
            at += skipped;
        } else if rest.starts_with("<?") {
            at += rest.find("?>").map_or(rest.len(), |end| end + 2);
        } else if rest.starts_with("<!--") {
            at += rest.find("-->").map_or(rest.len(), |end| end + 3);
        } else {
            break;
        }
    }
    let Some(rest) = text[at..].strip_prefix("<!DOCTYPE") else {
        return Ok(text.to_owned());
    };
    let (line, column) = position(text, at);
    let cure = "write exactly <!DOCTYPE safe>, or leave it out";
    let end = rest.find('>').ok_or_else(|| error_at(line, column, "the document type has no end", cure))?;
    if rest[..end].contains('[') || text.contains("<!ENTITY") {
        return Err(error_at(line, column, "entity and other declarations are not accepted", cure));
    }
    if rest[..end].trim() != "safe" {
        return Err(error_at(line, column, "the document type is not \"safe\"", cure));
    }
    let end = at + "<!DOCTYPE".len() + end + 1;
    let blank: String = text[at..end].chars().map(|c| if c == '\n' { '\n' } else { ' ' }).collect();
    Ok(format!("{}{blank}{}", &text[..at], &text[end..]))
}

fn syntax_error(text: &str, error: &roxmltree::Error) -> UserConfigError {
    let pos = error.pos();
    let line = text.lines().nth(pos.row.saturating_sub(1) as usize).unwrap_or("");
    // Word processors and web pages turn straight quotes into typographic ones; the first on the line is the culprit.
    let curly = line.chars().position(|c| QUOTES.contains(&c));
    if let (Some(column), true) = (curly, !error_is_structural(error)) {
        let quote = line.chars().nth(column).unwrap_or('”');
        return error_at(
            pos.row,
            column as u32 + 1,
            format!("a typographic quote ({quote}) stands where a straight one belongs"),
            "write straight double quotes (\") around every value",
        );
    }
    let cure = match error {
        roxmltree::Error::DtdDetected => "remove the declaration; only <!DOCTYPE safe> at the top is accepted",
        roxmltree::Error::UnknownEntityReference(..) | roxmltree::Error::MalformedEntityReference(_) => {
            "entities are not accepted: write the character itself, or &amp; for &"
        }
        roxmltree::Error::NodesLimitReached => "shorten the file",
        _ => "correct the XML there",
    };
    error_at(pos.row.max(1), pos.col.max(1), format!("not well-formed XML ({error})"), cure)
}

fn error_is_structural(error: &roxmltree::Error) -> bool {
    use roxmltree::Error as E;
    matches!(error, E::UnexpectedCloseTag(..) | E::NodesLimitReached | E::DtdDetected | E::DuplicatedAttribute(..))
}

struct Reader<'d> {
    document: &'d Document<'d>,
    notes: Vec<Note>,
}

impl<'d> Reader<'d> {
    fn pos(&self, node: Node<'d, 'd>) -> TextPos {
        self.document.text_pos_at(node.range().start)
    }

    fn error(&self, node: Node<'d, 'd>, problem: impl Into<String>, cure: impl Into<String>) -> UserConfigError {
        let pos = self.pos(node);
        error_at(pos.row, pos.col, problem, cure)
    }

    fn note(&mut self, value: &Value<'_>, why: &str) {
        let text = format!("{}=\"{}\" is accepted and not used: {why}", value.name, shorten(value.text));
        self.notes.push(Note { line: value.pos.row, column: value.pos.col, text });
    }

    fn values(&self, node: Node<'d, 'd>) -> Vec<Value<'d>> {
        let value = |attribute: roxmltree::Attribute<'d, 'd>| Value {
            name: attribute.name(),
            text: attribute.value(),
            pos: self.document.text_pos_at(attribute.range().start),
        };
        node.attributes().map(value).collect()
    }

    /// The child elements; text between them is an error.
    fn elements(&self, node: Node<'d, 'd>) -> Parsed<Vec<Node<'d, 'd>>> {
        for child in node.children().filter(Node::is_text) {
            if child.text().is_some_and(|text| !text.trim().is_empty()) {
                return Err(self.error(
                    child,
                    "text stands where only elements may",
                    "remove it, or put it into <!-- -->",
                ));
            }
        }
        Ok(node.children().filter(Node::is_element).collect())
    }

    fn unknown_element(&self, node: Node<'d, 'd>, parent: &str, known: &str) -> UserConfigError {
        let name = node.tag_name().name();
        let later =
            ["vip", "vhost", "check", "failover", "farm", "macro", "notreplicated", "tocheck", "flow", "server"];
        if later.contains(&name) {
            let problem = format!("<{name}> is not available in this version");
            return self.error(node, problem, format!("remove it; <{parent}> takes {known}"));
        }
        let problem = format!("<{}> is unknown inside <{parent}>", shorten(name));
        self.error(node, problem, format!("<{parent}> takes {known}"))
    }

    fn unknown_attribute(element: &str, value: &Value<'_>, known: &str) -> UserConfigError {
        let problem = format!("attribute \"{}\" is unknown in <{element}>", shorten(value.name));
        value.error(problem, format!("<{element}> takes {known}"))
    }

    fn no_children(&self, node: Node<'d, 'd>) -> Parsed<()> {
        match self.elements(node)?.first() {
            None => Ok(()),
            Some(child) => Err(self.unknown_element(*child, node.tag_name().name(), "no elements")),
        }
    }

    fn missing(&self, node: Node<'d, 'd>, attribute: &str) -> UserConfigError {
        let name = node.tag_name().name();
        self.error(node, format!("<{name}> has no attribute \"{attribute}\""), format!("add {attribute}=\"...\""))
    }

    fn safe(mut self) -> Parsed<UserConfig> {
        let root = self.document.root_element();
        if root.tag_name().name() != "safe" {
            return Err(self.error(
                root,
                format!("the outermost element is <{}>", shorten(root.tag_name().name())),
                "make it <safe>",
            ));
        }
        if let Some(value) = self.values(root).first() {
            return Err(Self::unknown_attribute("safe", value, "no attributes"));
        }
        let children = self.elements(root)?;
        if let Some(other) = children.iter().find(|child| child.tag_name().name() != "service") {
            return Err(self.unknown_element(*other, "safe", "exactly one <service>"));
        }
        match children.as_slice() {
            [service] => self.service(*service),
            [] => Err(self.error(root, "<safe> is empty", "put one <service> into it")),
            [_, second, ..] => Err(self.error(*second, "a second <service>", "keep one <service>")),
        }
    }

    fn service(&mut self, node: Node<'d, 'd>) -> Parsed<UserConfig> {
        let known = "mode, defaultprim, maxloop, loop_interval, failover, boot, boot_delay";
        let mut service = Service {
            mode: Mode::Mirror,
            boot: Boot::Ignore,
            boot_delay_ms: 0,
            failover: true,
            defaultprim: DefaultPrim::Alone,
            automatic_reboot: false,
            maxloop: 3,
            loop_interval_ms: 24 * HOUR,
        };
        let mut mode = false;
        for value in self.values(node) {
            match value.name {
                "mode" => (mode, ()) = (true, value.only("mirror")?),
                "defaultprim" => value.only("alone")?,
                "failover" => value.only("on")?,
                "automatic_reboot" => value.only("off")?,
                "maxloop" => service.maxloop = value.number(0, 1000)? as u32,
                "loop_interval" => service.loop_interval_ms = value.time_ms(HOUR, 0, 366 * 24 * HOUR)?,
                "boot" | "boot_delay" => {
                    self.note(&value, "boot start is set on each node (console, or `holdfast boot`)")
                }
                _ => return Err(Self::unknown_attribute("service", &value, known)),
            }
        }
        if !mode {
            return Err(self.missing(node, "mode"));
        }
        let (mut heart, mut errd, mut rfs, mut user) = (None, None, None, None);
        for child in self.elements(node)? {
            let twice = match child.tag_name().name() {
                "heart" => heart.replace(self.heart(child)?).is_some(),
                "errd" => errd.replace(self.errd(child)?).is_some(),
                "rfs" => rfs.replace(self.rfs(child)?).is_some(),
                "user" => user.replace(self.user(child)?).is_some(),
                _ => {
                    return Err(self.unknown_element(child, "service", "<heart>, <errd>, <rfs> and <user>"));
                }
            };
            if twice {
                let name = child.tag_name().name();
                return Err(self.error(child, format!("a second <{name}>"), format!("keep one <{name}>")));
            }
        }
        let heart = heart.ok_or_else(|| {
            self.error(
                node,
                "<service> has no <heart>",
                "add <heart><heartbeat name=\"default\" ident=\"flow\"/></heart>",
            )
        })?;
        let notes = std::mem::take(&mut self.notes);
        Ok(UserConfig {
            service,
            heart,
            vip: None,
            errd: errd.unwrap_or_default(),
            rfs,
            user,
            check: Check::default(),
            witness: Witness::None,
            failover: Failover::default(),
            notes,
        })
    }

    fn heart(&mut self, node: Node<'d, 'd>) -> Parsed<Heart> {
        let mut heart = Heart { port: None, pulse_ms: 700, timeout_ms: 30_000, links: Vec::new() };
        for value in self.values(node) {
            match value.name {
                "pulse" => heart.pulse_ms = value.time_ms(1, 20, 60_000)?,
                "timeout" => heart.timeout_ms = value.time_ms(1, 100, 600_000)?,
                "port" => heart.port = Some(value.number(1, 65_535)? as u16),
                "permanent_arp" => self.note(&value, "static ARP entries are not set"),
                _ => {
                    return Err(Self::unknown_attribute("heart", &value, "pulse, timeout, port"));
                }
            }
        }
        if heart.timeout_ms < heart.pulse_ms.saturating_mul(3) {
            let problem =
                format!("timeout ({} ms) is shorter than three pulses ({} ms each)", heart.timeout_ms, heart.pulse_ms);
            return Err(self.error(node, problem, "raise timeout or lower pulse"));
        }
        for child in self.elements(node)? {
            if child.tag_name().name() != "heartbeat" {
                return Err(self.unknown_element(child, "heart", "<heartbeat>"));
            }
            let link = self.heartbeat(child)?;
            if heart.links.iter().any(|other| other.lan == link.lan || other.ident == link.ident) {
                return Err(self.error(child, "two heartbeats have the same name or ident", "give each its own"));
            }
            heart.links.push(link);
        }
        if heart.links.is_empty() || heart.links.len() > 8 {
            return Err(self.error(
                node,
                "<heart> needs one to eight <heartbeat>",
                "add <heartbeat name=\"default\" ident=\"flow\"/>",
            ));
        }
        Ok(heart)
    }

    fn heartbeat(&mut self, node: Node<'d, 'd>) -> Parsed<HeartbeatLink> {
        self.no_children(node)?;
        let (mut lan, mut ident) = (None, None);
        for value in self.values(node) {
            match value.name {
                "name" => lan = Some(value.plain()?),
                "ident" => ident = Some(value.plain()?),
                _ => return Err(Self::unknown_attribute("heartbeat", &value, "name, ident")),
            }
        }
        let lan = lan.ok_or_else(|| self.missing(node, "name"))?;
        Ok(HeartbeatLink { ident: ident.unwrap_or_else(|| lan.clone()), lan, pulse_ms: None, timeout_ms: None })
    }

    fn errd(&mut self, node: Node<'d, 'd>) -> Parsed<Errd> {
        let mut errd = Errd { polltimer_ms: 30 * SECOND, procs: Vec::new() };
        for value in self.values(node) {
            match value.name {
                "polltimer" => errd.polltimer_ms = value.time_ms(SECOND, 100, HOUR)?,
                _ => return Err(Self::unknown_attribute("errd", &value, "polltimer")),
            }
        }
        for child in self.elements(node)? {
            if child.tag_name().name() != "proc" {
                return Err(self.unknown_element(child, "errd", "<proc>"));
            }
            if errd.procs.len() == NAMES_MAX {
                return Err(self.error(child, "too many <proc>", format!("keep at most {NAMES_MAX}")));
            }
            errd.procs.push(self.proc(child)?);
        }
        Ok(errd)
    }

    fn proc(&mut self, node: Node<'d, 'd>) -> Parsed<Proc> {
        self.no_children(node)?;
        let known = "name, argregex, atleast, action, class, start_after";
        let mut proc = Proc {
            name: String::new(),
            service: false,
            nameregex: None,
            argregex: None,
            atleast: Some(1),
            atmax: None,
            action: ProcAction::StopStart,
            class: "prim".to_owned(),
            start_after: 0,
            restart_services: Vec::new(),
        };
        for value in self.values(node) {
            match value.name {
                "name" => {
                    if value.text.is_empty() || value.text.len() > 15 || value.text.chars().any(char::is_control) {
                        return Err(value.wrong("write the command name as the kernel keeps it: 1 to 15 bytes"));
                    }
                    value.text.clone_into(&mut proc.name);
                }
                "argregex" if value.text.len() > 1024 => {
                    return Err(value.wrong("write at most 1024 bytes"));
                }
                "argregex" => proc.argregex = Some(value.text.to_owned()),
                "atleast" => proc.atleast = Some(value.number(1, 100_000)? as u32),
                "action" => proc.action = proc_action(&value)?,
                "class" => value.only("prim")?,
                "service" => value.only("no")?,
                "start_after" => proc.start_after = value.number(0, 10_000)? as u32,
                _ => return Err(Self::unknown_attribute("proc", &value, known)),
            }
        }
        if proc.name.is_empty() {
            return Err(self.missing(node, "name"));
        }
        Ok(proc)
    }

    fn rfs(&mut self, node: Node<'d, 'd>) -> Parsed<Rfs> {
        let mut rfs = Rfs {
            acknowledge: Acknowledge::Second,
            encryption: true,
            send_timeout_ms: 30 * SECOND,
            directories: Vec::new(),
        };
        let ignored = [
            "nbrei",
            "mountover",
            "mountoversuffix",
            "reipacketsize",
            "ruzone_blocksize",
            "packetsize",
            "locktimeout",
            "reitimeout",
            "reicommit",
            "reidetail",
            "nbremconn",
            "namespacepolicy",
            "iotimeout",
            "checktime",
            "checkintv",
            "roflags",
            "nfsbox_options",
            "allocthreshold",
            "acl",
        ];
        for value in self.values(node) {
            match value.name {
                "async" if value.text == "second" => rfs.acknowledge = Acknowledge::Second,
                "async" if value.text == "none" => rfs.acknowledge = Acknowledge::None,
                "async" => return Err(value.wrong("write \"second\" or \"none\"")),
                "encryption" => rfs.encryption = value.on_off()?,
                "sendtimeout" => rfs.send_timeout_ms = value.time_ms(SECOND, 100, HOUR)?,
                "acl" if value.on_off()? => self.note(&value, "ACLs are replicated as extended attributes always"),
                name if ignored.contains(&name) => self.note(&value, "this replication needs no such setting"),
                _ => {
                    return Err(Self::unknown_attribute("rfs", &value, "async, encryption, sendtimeout"));
                }
            }
        }
        for child in self.elements(node)? {
            if child.tag_name().name() != "replicated" {
                return Err(self.unknown_element(child, "rfs", "<replicated>"));
            }
            self.replicated(child, &mut rfs.directories)?;
        }
        if rfs.directories.is_empty() {
            return Err(self.error(
                node,
                "<rfs> replicates nothing",
                "add <replicated dir=\"/path\"/>, or remove <rfs>",
            ));
        }
        Ok(rfs)
    }

    fn replicated(&mut self, node: Node<'d, 'd>, directories: &mut Vec<String>) -> Parsed<()> {
        self.no_children(node)?;
        let mut dir = None;
        for value in self.values(node) {
            match value.name {
                "dir" => dir = Some(directory(&value)?),
                "mode" => value.only("read_only")?,
                _ => return Err(Self::unknown_attribute("replicated", &value, "dir, mode")),
            }
        }
        let dir = dir.ok_or_else(|| self.missing(node, "dir"))?;
        let inside = |a: &str, b: &str| a == b || a.strip_prefix(b).is_some_and(|rest| rest.starts_with('/'));
        if let Some(other) = directories.iter().find(|other| inside(&dir, other) || inside(other, &dir)) {
            return Err(self.error(node, format!("{dir} and {other} overlap"), "keep the outer one only"));
        }
        if directories.len() == NAMES_MAX {
            return Err(self.error(node, "too many <replicated>", format!("keep at most {NAMES_MAX}")));
        }
        directories.push(dir);
        Ok(())
    }

    fn user(&mut self, node: Node<'d, 'd>) -> Parsed<User> {
        let mut user = User {
            nicestop_timeout_ms: 300 * SECOND,
            forcestop_timeout_ms: 300 * SECOND,
            logging: true,
            log_size_bytes: 2048 * 1024,
            vars: Vec::new(),
        };
        for value in self.values(node) {
            match value.name {
                "nicestoptimeout" => user.nicestop_timeout_ms = value.time_ms(SECOND, 100, 24 * HOUR)?,
                "forcestoptimeout" => user.forcestop_timeout_ms = value.time_ms(SECOND, 100, 24 * HOUR)?,
                "logging" if value.text == "userlog" => user.logging = true,
                "logging" if value.text == "none" => user.logging = false,
                "logging" => return Err(value.wrong("write \"userlog\" or \"none\"")),
                "userlogsize" => user.log_size_bytes = value.number(16, 1024 * 1024)? * 1024,
                _ => {
                    let known = "nicestoptimeout, forcestoptimeout, logging, userlogsize";
                    return Err(Self::unknown_attribute("user", &value, known));
                }
            }
        }
        for child in self.elements(node)? {
            if child.tag_name().name() != "var" {
                return Err(self.unknown_element(child, "user", "<var>"));
            }
            let var = self.var(child)?;
            if user.vars.len() == NAMES_MAX || user.vars.iter().any(|other| other.name == var.name) {
                return Err(self.error(child, "a second <var> of this name, or too many", "remove it"));
            }
            user.vars.push(var);
        }
        Ok(user)
    }

    fn var(&mut self, node: Node<'d, 'd>) -> Parsed<Var> {
        self.no_children(node)?;
        let (mut name, mut text) = (None, None);
        for value in self.values(node) {
            match value.name {
                "name" => {
                    let good = |c: char| c.is_ascii_alphanumeric() || c == '_';
                    let first = value.text.starts_with(|c: char| c.is_ascii_digit());
                    if value.text.is_empty() || value.text.len() > 64 || first || !value.text.chars().all(good) {
                        return Err(value.wrong("use letters, digits and underscores, not beginning with a digit"));
                    }
                    if value.text.starts_with("SAFE") {
                        return Err(value.wrong("names beginning with SAFE are set by the product: choose another"));
                    }
                    name = Some(value.text.to_owned());
                }
                "value" if value.text.len() > 4096 => {
                    return Err(value.wrong("write at most 4096 bytes"));
                }
                "value" => text = Some(value.text.to_owned()),
                _ => return Err(Self::unknown_attribute("var", &value, "name, value")),
            }
        }
        let name = name.ok_or_else(|| self.missing(node, "name"))?;
        Ok(Var { name, value: text.ok_or_else(|| self.missing(node, "value"))? })
    }
}
