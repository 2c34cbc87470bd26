//! The user's guide to `userconfig.xml`, written from the definitions that the parser reads by.

use super::define::{Attribute, Effect, Element, Kind, Preset};
use super::read::SAFE;
use std::fmt::Write;

const HEAD: &str = "# userconfig.xml

`conf/userconfig.xml` of a module says what the module protects and how. It begins with `<!DOCTYPE safe>` (which may be
left out). What is unknown or wrong is refused with its line, its column and what to do; what is accepted and does
nothing here is noted. Nothing is ignored silently.

A time is a number with `d`, `h`, `m`, `s`, `ms` or `us`. A plain number counts in the unit its attribute has; a time
that is rounded to 0 in that unit is refused. Times are kept to the millisecond.

In the tables, *live* says that a change is taken while the module runs; any other change is made while it is stopped.
";

const RULES: &str = "
## Rules

A rule acts when its condition has held for the handle time:

```
label: if (condition) then action();   /* comment */
```

- An action is `stop()`, `stopstart()`, `restart()`, `wait()` or `swap()`.
- A condition compares resources with values by `==` and `!=`, and joins comparisons by `&&` (binds tighter), `||`, `!`
  and parentheses.
- A resource is `class.id`, of this node (also `local.class.id`) or of the peer (`remote.class.id`). As id, `?` means at
  least one of the class and `*` all of it; both are false if there is none.
- A value is `init` (not looked yet), `up`, `down`, `unknown` (the node that knows is away), a number, `on`, `off`,
  `true`, `false`, or any other text in double quotes, such as `\"PRIM Ready\"`.

| default rule | condition | action |
|---|---|---|
| `interface_failure` | `intf.? == down` | `wait()` |
| `ip_failure` | `ip.? == down` | `stopstart()` |
| `module_failure` | `module.? == down` | `wait()` |
| `t_<ident>`, `p_<ident>`, `c_<ident>` | the checker's resource `== down` | that of the checker, unless it is `noaction` |

A rule of the module's own with the label of a default rule takes its place.
";

const SCRIPTS: &str = "
## Scripts

With `<user>`, these programs of the module's `bin` folder are run; each may be missing.

| script | when it is run |
|---|---|
| `prestart` | at a start, before anything of the module is set up: it ends what may be left of the application |
| `start_both`, `stop_both` | on the way into and out of PRIM, ALONE, SECOND and UP |
| `start_prim`, `stop_prim` | on the way into and out of PRIM and ALONE |
| `start_second`, `stop_second` | on the way into and out of SECOND |
| `start_sec`, `stop_sec` | on the way into and out of SECOND and ALONE |
| `transition` | at each change of state |
| `poststop` | at the end of a stop |

Their arguments are the state before, the state after, and `start`, `stop`, `stopstart` or `stopwait`. A stop script is run
twice: once as it is, then with `force` before its arguments; it has the time limits of `<user>`. An exit code other than 0
is told in the module log and changes nothing: a start script that has failed says so with `safekit stop -i start_prim`.
Going from ALONE to PRIM and back leaves the application alone.

The environment has `SAFE`, `SAFEBIN`, `SAFEVAR`, `SAFEMODULE` (so that `-m` may be left out), `SAFEUSERBIN`, `SAFEUSERCONF`,
`SAFEUSERVAR` and the variables of `<user>`. What they print goes to the application log.

| hook | when it is run, for half a minute at most |
|---|---|
| `config` | before a configuration counts, with `SAFEUSERBIN` and `SAFEUSERCONF` naming its files; an exit code other than 0 refuses it |
| `postconfig` | once it counts; `$SAFEUSERCONF/safeconf.xml` is this file with its macros put in |
| `deconfig` | before it is forgotten |
| `update` | after a change of a running module's configuration, and by `holdfast update` |
| `confcheck`, `state`, `level` | by the command of that name (`state` with `-v`): what they print is shown |
";

/// The guide, in Markdown.
pub(super) fn markdown() -> String {
    let mut out = HEAD.to_owned();
    section(&mut out, &SAFE, "");
    out.push_str(SCRIPTS);
    out.push_str(RULES);
    out
}

/// See [`super::meaning`].
pub(super) fn meaning(elements: &str, attribute: &str) -> Option<&'static str> {
    let mut names = elements.split('/');
    let mut element: &'static Element = Some(&SAFE).filter(|safe| names.next() == Some(safe.name))?;
    for name in names {
        element = element.children.iter().map(|child| child.element).find(|child| child.name == name)?;
    }
    element.attribute(attribute).map(|attribute| attribute.meaning).filter(|meaning| !meaning.is_empty())
}

fn section(out: &mut String, element: &Element, path: &str) {
    let path = format!("{path}<{}>", element.name);
    let _ = writeln!(out, "\n## `{path}`\n\n{}", prose(element.meaning));
    if !element.attributes.is_empty() {
        out.push_str("\n| attribute | value | without it | live | meaning |\n|---|---|---|---|---|\n");
    }
    for attribute in element.attributes {
        row(out, attribute);
    }
    if element.children.is_empty() {
        return;
    }
    out.push_str("\n| inside | how many | |\n|---|---|---|\n");
    for child in element.children {
        let many = match (child.least, child.most) {
            (0, 1) => "at most one".to_owned(),
            (1, 1) => "one".to_owned(),
            (least, most) => format!("{least} to {most}"),
        };
        let remark = match child.element.effect {
            Effect::Used => "",
            Effect::None(why) => &format!("does nothing here: {why}"),
            Effect::Refused(cure) => &format!("not available in this version; {cure}"),
        };
        let _ = writeln!(out, "| `<{}>` | {many} | {} |", child.element.name, prose(remark));
    }
    for child in element.children.iter().filter(|child| child.element.effect == Effect::Used) {
        section(out, child.element, &path);
    }
}

fn row(out: &mut String, attribute: &Attribute) {
    let without = match attribute.preset {
        Preset::Value("") => "nothing".to_owned(),
        Preset::Value(value) => format!("`{value}`"),
        Preset::Required(_) => "must be written".to_owned(),
        Preset::Absent { means, .. } => means.to_owned(),
    };
    let meaning = match attribute.effect {
        Effect::Used => attribute.meaning.to_owned(),
        Effect::None(why) => format!("Does nothing here: {why}."),
        Effect::Refused(cure) => format!("Not available in this version; {cure}."),
    };
    let value = match attribute.effect {
        Effect::Refused(_) => String::new(),
        _ => attribute.kind.describe(),
    };
    let more = if matches!(attribute.kind, Kind::Only(_)) { " (no other in this version)" } else { "" };
    let live = if attribute.dynamic && attribute.effect == Effect::Used { "yes" } else { "" };
    let cell = |text: &str| prose(text).replace('|', "\\|");
    let _ = writeln!(
        out,
        "| `{}` | {}{more} | {} | {live} | {} |",
        attribute.name,
        cell(&value),
        cell(&without),
        cell(&meaning)
    );
}

/// Text in which a name such as `<heart>` is no tag.
fn prose(text: &str) -> String {
    text.replace('<', "\\<")
}
