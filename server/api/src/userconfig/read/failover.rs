//! `<failover>`: the module's own rules, in CDATA blocks.

use super::super::define::{Attribute, Element, Kind, MINUTE};
use super::super::value::{Parsed, error_at};
use super::super::{Failover, Mode};
use super::reader::Reader;
use crate::place::position;
use crate::rules::{Fault, RULES_MAX, Rule, parse_block};
use roxmltree::Node;

/// `<failover>`.
pub(in super::super) static FAILOVER: Element = Element::new(
    "failover",
    "Rules of the module's own, on the values of resources, in one or more <![CDATA[ ]]> blocks. See \"Rules\" below.",
    &[
        Attribute::preset(
            "extends",
            Kind::OneOf(&["yes", "no"]),
            "yes",
            "The rules are added to the default rules (a rule with the label of a default rule takes its place); no: \
             they are the only ones.",
        )
        .fixed(),
        Attribute::preset(
            "period",
            Kind::Time { unit_ms: 1, min_ms: 100, max_ms: 10 * MINUTE },
            "5000ms",
            "Time between two evaluations of the rules.",
        )
        .fixed(),
        Attribute::preset(
            "handle_time",
            Kind::Time { unit_ms: 1, min_ms: 0, max_ms: 60 * MINUTE },
            "15000ms",
            "The same action must be asked for so long before it is taken; a multiple of the period.",
        )
        .fixed(),
    ],
    &[],
);

impl<'d> Reader<'d> {
    pub(super) fn failover(&mut self, node: Node<'d, 'd>, mode: Mode) -> Parsed<Failover> {
        let fields = self.fields(node, &FAILOVER)?;
        if let Some(element) = node.children().find(Node::is_element) {
            return Err(self.error(element, "an element inside <failover>", "put rules into <![CDATA[ ]]>"));
        }
        let mut failover = Failover {
            extends: fields.switch("extends")?,
            period_ms: fields.time("period")?,
            handle_time_ms: fields.time("handle_time")?,
            rules: Vec::new(),
        };
        if !failover.handle_time_ms.is_multiple_of(failover.period_ms) {
            let value = fields.value("handle_time")?;
            let rounded = failover.handle_time_ms.div_ceil(failover.period_ms) * failover.period_ms;
            let text = format!("handle_time is no multiple of the period: it works as {rounded}ms");
            self.note(value.pos, text);
        }
        for (offset, text) in blocks(self.document.input_text(), node)? {
            self.block(offset, text, mode, &mut failover.rules)?;
        }
        Ok(failover)
    }

    /// Reads the rules of one block, which begins at byte `offset` of the file.
    fn block(&mut self, offset: usize, text: &str, mode: Mode, rules: &mut Vec<Rule>) -> Parsed<()> {
        let source = self.document.input_text();
        let expanded = self.expand(text, self.document.text_pos_at(offset))?;
        let place = |at: usize| position(source, offset + expanded.original(at));
        let fail = |fault: Fault| {
            let (line, column) = place(fault.at);
            error_at(line, column, fault.problem, fault.cure)
        };
        for (at, rule) in parse_block(&expanded.text).map_err(fail)? {
            let (line, column) = place(at);
            if rules.iter().any(|other| other.label == rule.label) {
                let problem = format!("a second rule with the label {}", rule.label);
                return Err(error_at(line, column, problem, "give each rule its own label"));
            }
            if mode == Mode::Light && rule.condition.reads_peer() {
                let problem = format!("rule {} reads a resource of the peer, and a light module has none", rule.label);
                return Err(error_at(line, column, problem, "take remote. away"));
            }
            if rules.len() == RULES_MAX {
                return Err(error_at(line, column, "too many rules", format!("keep at most {RULES_MAX}")));
            }
            rules.push(rule);
        }
        Ok(())
    }
}

/// The CDATA blocks in an element, with their places; other text is an error. The tree joins blocks and forgets
/// their places, so they are found in the source, which is known to be well-formed.
pub(in super::super) fn blocks<'s>(source: &'s str, node: Node<'_, '_>) -> Parsed<Vec<(usize, &'s str)>> {
    let range = node.range();
    let attributes = node.attributes().map(|attribute| attribute.range().end).max();
    let start = attributes.unwrap_or(range.start);
    let Some(open) = source[start..range.end].find('>') else { return Ok(Vec::new()) };
    let (mut at, mut blocks) = (start + open + 1, Vec::new());
    while at < range.end {
        let rest = &source[at..range.end];
        let skip = |end: &str| rest.find(end).map_or(rest.len(), |found| found + end.len());
        if let Some(inner) = rest.strip_prefix("<![CDATA[") {
            let length = inner.find("]]>").unwrap_or(inner.len());
            blocks.push((at + "<![CDATA[".len(), &inner[..length]));
            at += skip("]]>");
        } else if rest.starts_with("<!--") {
            at += skip("-->");
        } else if rest.starts_with("<?") {
            at += skip("?>");
        } else if rest.starts_with("</") {
            break;
        } else {
            let next = rest.find('<').unwrap_or(rest.len());
            if let Some(first) = rest[..next].find(|c: char| !c.is_whitespace()) {
                let (line, column) = position(source, at + first);
                let cure = "write <![CDATA[ before the rules and ]]> after them";
                return Err(error_at(line, column, "rules stand outside a CDATA block", cure));
            }
            at += next.max(1);
        }
    }
    Ok(blocks)
}
