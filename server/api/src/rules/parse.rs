//! Reads rules: `label: if (condition) then action();`, with comments. Depth and size are bounded.

use super::{Condition, Id, Rule, RuleError, Selector};
use crate::checker::CheckAction;
use crate::place::position;
use crate::resource::ResourceValue;

/// Longest text of rules, in bytes.
const TEXT_MAX: usize = 128 * 1024;
/// Deepest nesting of parentheses and negations.
const DEPTH_MAX: usize = 32;
/// Most comparisons in one rule.
const TERMS_MAX: usize = 128;
/// Most rules in one text, and of one module.
pub(crate) const RULES_MAX: usize = 256;
/// Longest word or quoted value, in bytes.
const WORD_MAX: usize = 256;

/// What is wrong, by byte.
#[derive(Debug)]
pub(crate) struct Fault {
    pub(crate) at: usize,
    pub(crate) problem: String,
    pub(crate) cure: String,
}

type Parsed<T> = Result<T, Fault>;

/// Reads a text of rules.
///
/// # Errors
/// What is wrong, with its place and cure.
pub fn parse(text: &str) -> Result<Vec<Rule>, RuleError> {
    let place = |fault: Fault| {
        let (line, column) = position(text, fault.at);
        RuleError { line, column, problem: fault.problem, cure: fault.cure }
    };
    Ok(parse_block(text).map_err(place)?.into_iter().map(|(_, rule)| rule).collect())
}

/// Reads a text of rules, each with the byte it begins at.
pub(crate) fn parse_block(text: &str) -> Parsed<Vec<(usize, Rule)>> {
    let mut parser = Parser { text, at: 0, terms: 0 };
    if text.len() > TEXT_MAX {
        return Err(parser.fault(format!("more than {TEXT_MAX} bytes of rules"), "write fewer"));
    }
    let first = text.trim_start();
    if first.starts_with("--") {
        parser.at = text.len() - first.len();
        return Err(
            parser.fault("rules in Lua are not available", "write them as: label: if (condition) then action();")
        );
    }
    let mut rules: Vec<(usize, Rule)> = Vec::new();
    loop {
        parser.skip()?;
        if parser.rest().is_empty() {
            return Ok(rules);
        }
        let start = parser.at;
        if rules.len() == RULES_MAX {
            return Err(parser.fault("too many rules", format!("keep at most {RULES_MAX}")));
        }
        let rule = parser.rule()?;
        if rules.iter().any(|(_, other)| other.label == rule.label) {
            let problem = format!("a second rule with the label {}", rule.label);
            return Err(Fault { at: start, problem, cure: "give each rule its own label".to_owned() });
        }
        rules.push((start, rule));
    }
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
    terms: usize,
}

impl<'a> Parser<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn fault(&self, problem: impl Into<String>, cure: impl Into<String>) -> Fault {
        Fault { at: self.at, problem: problem.into(), cure: cure.into() }
    }

    /// What stands here, for an error text.
    fn found(&self) -> String {
        let rest = self.rest();
        let word: String = rest.chars().take_while(|c| c.is_alphanumeric() || "_.".contains(*c)).take(30).collect();
        match (rest.chars().next(), word.is_empty()) {
            (None, _) => "the rules end".to_owned(),
            (Some(sign), true) => format!("\"{}\" stands", sign.escape_debug()),
            _ => format!("\"{word}\" stands"),
        }
    }

    fn wanted(&self, what: &str, cure: &str) -> Fault {
        self.fault(format!("{} where {what} is wanted", self.found()), cure)
    }

    /// Goes past blanks and comments.
    fn skip(&mut self) -> Parsed<()> {
        loop {
            self.at = self.text.len() - self.rest().trim_start().len();
            let Some(comment) = self.rest().strip_prefix("/*") else { return Ok(()) };
            let Some(end) = comment.find("*/") else {
                return Err(self.fault("a comment has no end", "write */ where it ends"));
            };
            self.at += end + 4;
        }
    }

    fn takes(&mut self, sign: &str) -> Parsed<bool> {
        self.skip()?;
        let found = self.rest().starts_with(sign);
        if found {
            self.at += sign.len();
        }
        Ok(found)
    }

    fn sign(&mut self, sign: &str, cure: &str) -> Parsed<()> {
        if self.takes(sign)? { Ok(()) } else { Err(self.wanted(&format!("\"{sign}\""), cure)) }
    }

    /// A word of letters, digits and `more`; empty if there is none.
    fn word(&mut self, more: &str) -> Parsed<&'a str> {
        self.skip()?;
        let rest = self.rest();
        let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || more.contains(c))).unwrap_or(rest.len());
        if end > WORD_MAX {
            return Err(self.fault(format!("a word of more than {WORD_MAX} bytes"), "write a shorter one"));
        }
        self.at += end;
        Ok(&rest[..end])
    }

    fn keyword(&mut self, wanted: &str) -> Parsed<()> {
        self.skip()?;
        let start = self.at;
        if self.word("_")? == wanted {
            return Ok(());
        }
        self.at = start;
        Err(self.wanted(&format!("\"{wanted}\""), "write label: if (condition) then action();"))
    }

    fn rule(&mut self) -> Parsed<Rule> {
        let label = self.word("_.-")?;
        if label.is_empty() {
            return Err(self.wanted("a label", "write label: if (condition) then action();"));
        }
        let label = label.to_owned();
        self.sign(":", "write a colon after the label")?;
        self.keyword("if")?;
        self.sign("(", "put the condition into parentheses")?;
        self.terms = 0;
        let condition = self.any(0)?;
        self.sign(")", "close the condition with ), or join comparisons by && or ||")?;
        self.keyword("then")?;
        let action = self.action()?;
        self.sign("(", "write the action with (), such as stop()")?;
        self.sign(")", "an action takes nothing between its parentheses")?;
        self.sign(";", "end the rule with a semicolon")?;
        Ok(Rule { label, condition, action })
    }

    fn action(&mut self) -> Parsed<CheckAction> {
        self.skip()?;
        let start = self.at;
        let word = self.word("_.")?;
        let action = match word {
            "wait" => CheckAction::Wait,
            "restart" => CheckAction::Restart,
            "stopstart" => CheckAction::StopStart,
            "stop" => CheckAction::Stop,
            "swap" => CheckAction::Swap,
            _ => {
                let cure = "write stop(), stopstart(), wait(), restart() or swap()";
                let assigns = word.contains('.') && self.takes("=")?;
                self.at = start;
                return Err(match assigns {
                    true => self.fault("a rule cannot set a resource", cure),
                    false => self.wanted("an action", cure),
                });
            }
        };
        Ok(action)
    }

    fn any(&mut self, depth: usize) -> Parsed<Condition> {
        self.joined(depth, "||", Condition::Any, Self::all)
    }

    fn all(&mut self, depth: usize) -> Parsed<Condition> {
        self.joined(depth, "&&", Condition::All, Self::not)
    }

    fn joined(
        &mut self,
        depth: usize,
        sign: &str,
        join: fn(Vec<Condition>) -> Condition,
        part: fn(&mut Self, usize) -> Parsed<Condition>,
    ) -> Parsed<Condition> {
        let first = part(self, depth)?;
        if !self.takes(sign)? {
            return Ok(first);
        }
        let mut parts = vec![first, part(self, depth)?];
        while self.takes(sign)? {
            parts.push(part(self, depth)?);
        }
        Ok(join(parts))
    }

    fn not(&mut self, depth: usize) -> Parsed<Condition> {
        if depth == DEPTH_MAX {
            return Err(self.fault("nested too deep", format!("nest at most {DEPTH_MAX} levels")));
        }
        if self.takes("!")? {
            return Ok(Condition::Not(Box::new(self.not(depth + 1)?)));
        }
        if self.takes("(")? {
            let inner = self.any(depth + 1)?;
            self.sign(")", "close the parenthesis")?;
            return Ok(inner);
        }
        self.comparison()
    }

    fn comparison(&mut self) -> Parsed<Condition> {
        self.terms += 1;
        if self.terms > TERMS_MAX {
            return Err(self.fault("too many comparisons in one rule", format!("write at most {TERMS_MAX}")));
        }
        let selector = self.selector()?;
        if self.takes("==")? {
            return Ok(Condition::Is(selector, self.value()?));
        }
        if self.takes("!=")? {
            return Ok(Condition::IsNot(selector, self.value()?));
        }
        Err(self.wanted("\"==\" or \"!=\"", "compare the resource, such as tcp.web == down"))
    }

    fn selector(&mut self) -> Parsed<Selector> {
        self.skip()?;
        let start = self.at;
        let cure = "write class.id, such as tcp.web, remote.ip.* or ping.?";
        let word = self.word("_.:-?*")?;
        let (remote, name) = match (word.strip_prefix("remote."), word.strip_prefix("local.")) {
            (Some(name), _) => (true, name),
            (None, Some(name)) => (false, name),
            (None, None) => (false, word),
        };
        let function = self.rest().starts_with('(');
        self.at = start;
        if function && !word.is_empty() {
            return Err(self.fault(format!("the function {word}() is not available"), "compare resources only"));
        }
        let Some((class, id)) = name.split_once('.') else { return Err(self.wanted("a resource", cure)) };
        let plain = |text: &str, more: &str| {
            !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || more.contains(c))
        };
        if !plain(class, "_-") {
            return Err(self.wanted("a resource", cure));
        }
        let id = match id {
            "?" => Id::Any,
            "*" => Id::Every,
            id if plain(id, "_.:-") => Id::Named(id.to_owned()),
            _ => {
                let cure = "write the whole id, or ? for any or * for all of the class";
                return Err(self.fault(format!("\"{word}\" is no resource"), cure));
            }
        };
        self.at = start + word.len();
        Ok(Selector { remote, class: class.to_owned(), id })
    }

    /// A state, a number, `on`, `off`, `true`, `false`, or anything in quotes: a misspelt state is never a value.
    fn value(&mut self) -> Parsed<ResourceValue> {
        if self.takes("\"")? {
            let rest = self.rest();
            let end = rest.find('"').filter(|end| *end <= WORD_MAX && !rest[..*end].contains('\n'));
            let end = end.ok_or_else(|| self.fault("a quoted value has no end", "write \" where it ends"))?;
            self.at += end + 1;
            return Ok(ResourceValue::from(rest[..end].to_owned()));
        }
        let start = self.at;
        let word = self.word("_.-")?;
        let number = !word.is_empty() && word.chars().all(|c| c.is_ascii_digit() || ".-".contains(c));
        if number || ["init", "up", "down", "unknown", "on", "off", "true", "false"].contains(&word) {
            return Ok(ResourceValue::from(word.to_owned()));
        }
        self.at = start;
        Err(self.wanted("a value", "write init, up, down or unknown, a number, or another value in double quotes"))
    }
}
