//! `<vhost>`: the host name under which the application's scripts, and what they start, go on.

use super::super::define::{Attribute, Child, Element, Kind};
use super::super::value::Parsed;
use super::super::{VirtualHost, When};
use super::reader::Reader;
use roxmltree::Node;

/// `<vhost>`.
pub(in super::super) static VHOST: Element = Element::new(
    "vhost",
    "A host name of the module's own, the same on whichever node it runs, for an application that writes its machine's \
     name into its files. A script takes it by sourcing the file that is made for it, as its first command: \
     . \"$SAFEUSERBIN/vhostenv\". It and everything that it starts then see that name; what it has systemd start does \
     not.",
    &[],
    &[Child::some(&VIRTUALHOSTNAME, 8)],
);

static VIRTUALHOSTNAME: Element = Element::new(
    "virtualhostname",
    "One such name. It needs an address like any other name: an entry of /etc/hosts on both nodes, or the name of a \
     virtual address.",
    &[
        Attribute::required("name", Kind::Name, "virtualhost", "The name that the application sees.").fixed(),
        Attribute::required("envfile", Kind::Name, "vhostenv", "The file made for it in the module's bin folder.")
            .fixed(),
        Attribute::preset(
            "when",
            Kind::OneOf(&["prim", "second", "both"]),
            "prim",
            "prim: not in the scripts of the secondary; second: not in those of the primary.",
        )
        .fixed(),
    ],
    &[],
);

impl<'d> Reader<'d> {
    pub(super) fn vhost(&mut self, node: Node<'d, 'd>) -> Parsed<Vec<VirtualHost>> {
        self.fields(node, &VHOST)?;
        let mut hosts: Vec<VirtualHost> = Vec::new();
        for (child, _) in self.children(node, &VHOST)? {
            let fields = self.fields(child, &VIRTUALHOSTNAME)?;
            self.children(child, &VIRTUALHOSTNAME)?;
            let envfile = fields.value("envfile")?;
            let script = ["start_", "stop_"].iter().any(|begin| envfile.text.starts_with(begin));
            if script || envfile.text.starts_with('.') || hosts.iter().any(|other| other.envfile == envfile.text) {
                return Err(envfile.wrong("give each name a file of its own, such as \"vhostenv\", that is no script"));
            }
            let name = fields.value("name")?;
            if !name.text.starts_with(|c: char| c.is_ascii_alphanumeric()) {
                return Err(name.wrong("begin with a letter or a digit"));
            }
            hosts.push(VirtualHost {
                name: name.text,
                envfile: envfile.text,
                when: match fields.text("when")?.as_str() {
                    "second" => When::Second,
                    "both" => When::Both,
                    _ => When::Prim,
                },
            });
        }
        Ok(hosts)
    }
}
