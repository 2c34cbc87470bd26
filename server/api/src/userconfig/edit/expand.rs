//! The text with its macros put in, for whoever reads the file without knowing them.

use super::splice::Splice;
use crate::userconfig::TEXT_MAX;
use crate::userconfig::read::{self, FAILOVER, MACRO, Macros};
use crate::userconfig::value::{Parsed, error_at};
use roxmltree::Node;

/// See [`super::super::UserConfig::expanded`].
pub(in super::super) fn expanded(text: &str) -> Parsed<String> {
    let mark = if text.starts_with('\u{feff}') { "\u{feff}" } else { "" };
    let bare = &text[mark.len()..];
    read::with_document(bare, |document| {
        let (mut macros, mut splice, mut length) = (Macros::default(), Splice::new(bare), bare.len());
        for node in document.root_element().descendants().filter(Node::is_element) {
            if node.has_tag_name(MACRO.name) {
                define(&mut macros, node);
                splice.remove(node);
                continue;
            }
            for attribute in node.attributes() {
                if let Some(text) = put_in(&macros, attribute.value()) {
                    length += text.len();
                    splice.set(node, attribute.name(), Some(&text));
                }
            }
            if node.has_tag_name(FAILOVER.name) {
                for (at, block) in read::blocks(bare, node)? {
                    if let Some(text) = put_in(&macros, block) {
                        length += text.len();
                        splice.put(at..at + block.len(), text.replace("]]>", "]]]]><![CDATA[>"));
                    }
                }
            }
            if length > TEXT_MAX {
                let (pos, problem) =
                    (document.text_pos_at(node.range().start), "with its macros put in, this is too long");
                return Err(error_at(pos.row, pos.col, problem, "shorten the macros"));
            }
        }
        Ok(format!("{mark}{}", splice.done()))
    })
}

fn define(macros: &mut Macros, node: Node<'_, '_>) {
    let text = |name| {
        let written = node.attribute(name)?;
        Some(put_in(macros, written).unwrap_or_else(|| written.to_owned()))
    };
    if let (Some(name), Some(value)) = (text("name"), text("value")) {
        macros.add(name, value);
    }
}

/// The text with the macros in it; `None` if that changes nothing.
fn put_in(macros: &Macros, text: &str) -> Option<String> {
    macros.expand(text).map(|expanded| expanded.text).filter(|expanded| expanded != text)
}
