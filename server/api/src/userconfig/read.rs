//! Reads `userconfig.xml`: every element and attribute is known, or an error with its place and cure.

mod check;
mod errd;
mod failover;
mod heart;
mod macros;
mod reader;
mod rfs;
mod service;
mod syntax;
mod user;
mod vhost;
mod vip;
mod witness;

use super::value::{Parsed, error_at};
use super::{TEXT_MAX, UserConfig};
pub(super) use failover::{FAILOVER, blocks};
pub(super) use macros::{MACRO, Macros};
pub(super) use service::SAFE;
pub(super) use vip::add_checkers;

use reader::Reader;
use roxmltree::{Document, ParsingOptions};

const NODES_MAX: u32 = 4096;

/// See [`UserConfig::parse`].
pub(super) fn parse(text: &str) -> Parsed<UserConfig> {
    with_document(text, |document| Reader { document, macros: Macros::default(), notes: Vec::new() }.safe())
}

/// Parses the XML of a text and hands the tree on; byte places in it are those of the text without a byte order mark.
pub(super) fn with_document<T>(text: &str, read: impl FnOnce(&Document<'_>) -> Parsed<T>) -> Parsed<T> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if text.len() > TEXT_MAX {
        return Err(error_at(1, 1, format!("the file is larger than {TEXT_MAX} bytes"), "shorten it"));
    }
    let text = syntax::blank_doctype(text)?;
    let options = ParsingOptions { allow_dtd: false, nodes_limit: NODES_MAX, ..ParsingOptions::default() };
    let document = Document::parse_with_options(&text, options).map_err(|error| syntax::syntax_error(&text, &error))?;
    read(&document)
}
