//! What the user's guide says of a field of the wizard: the same definitions, by the field's id.

use crate::language;
use holdfast_api::userconfig::meaning;

/// Field (its id without the row's number), the elements of `userconfig.xml` it stands for, and the attribute.
const FIELDS: [(&str, &str, &str); 17] = [
    ("directory", "safe/service/rfs/replicated", "dir"),
    ("pulse_ms", "safe/service/heart", "pulse"),
    ("timeout_ms", "safe/service/heart", "timeout"),
    ("maxloop", "safe/service", "maxloop"),
    ("loop_interval_h", "safe/service", "loop_interval"),
    ("vip", "safe/service/vip/interface_list/interface/real_interface/virtual_addr", "addr"),
    ("vip-interface", "safe/service/vip/interface_list/interface", "name"),
    ("process", "safe/service/errd/proc", "name"),
    ("argregex", "safe/service/errd/proc", "argregex"),
    ("atleast", "safe/service/errd/proc", "atleast"),
    ("action", "safe/service/errd/proc", "action"),
    ("polltimer_s", "safe/service/errd", "polltimer"),
    ("checker-ident", "safe/service/check/tcp", "ident"),
    ("checker-when", "safe/service/check/tcp", "when"),
    ("checker-action", "safe/service/check/tcp", "action"),
    ("checker-interval", "safe/service/check/tcp/to", "interval"),
    ("checker-timeout", "safe/service/check/tcp/to", "timeout"),
];

/// The guide's words about the field with this id, in the language in use; none for a field that is not in the guide.
pub fn help(id: &str) -> Option<&'static str> {
    let field = match id.rsplit_once('-') {
        Some((field, row)) if row.bytes().all(|byte| byte.is_ascii_digit()) => field,
        _ => id,
    };
    FIELDS
        .iter()
        .find(|(name, ..)| *name == field)
        .and_then(|(_, elements, attribute)| meaning(elements, attribute))
        .map(language::t)
}

/// The guide's words about all fields, in English: the catalogues hold them too.
#[cfg(test)]
pub fn all() -> Vec<&'static str> {
    FIELDS.iter().filter_map(|(_, elements, attribute)| meaning(elements, attribute)).collect()
}

#[cfg(test)]
mod tests {
    use super::{FIELDS, all, help};

    #[test]
    fn every_field_of_the_table_is_in_the_guide() {
        assert_eq!(all().len(), FIELDS.len());
        let timeout = help("timeout_ms").expect("help");
        assert_eq!(help("checker-timeout-3"), Some("Longest time for an answer."));
        assert_ne!(help("checker-timeout-3"), Some(timeout));
        assert_eq!(help("module-name"), None);
        assert_eq!(help(""), None);
    }
}
