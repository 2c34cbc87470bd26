//! Module packages on disk: installed (editable) and active (in use), and the check of a configuration before it counts.

use crate::files;
use crate::options::Layout;
use crate::vhost;
use anyhow::{Context, Result, anyhow, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use holdfast_api::config::{ClusterConfig, ClusterNode, ModuleConfig};
use holdfast_api::ids::ModuleId;
use holdfast_api::package::{FILES_MAX, Package, PackageFile, UNPACKED_MAX};
use holdfast_api::userconfig::{DefaultPrim, UserConfig, Witness};
use holdfast_api::witness::{Endpoint, Machine, etcd_problem};
use std::fs;
use std::io::Read;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

const ID_FILE: &str = "module.id";

/// A configuration that was checked: its package and what its `userconfig.xml` says.
#[derive(Clone, Debug)]
pub struct Checked {
    /// As given.
    pub config: ModuleConfig,
    /// Its files.
    pub package: Package,
    /// Its `userconfig.xml`.
    pub user_config: UserConfig,
    /// Hash of name, number and files: equal for equal contents, whatever the version.
    pub signature: String,
}

/// Reads and checks a configuration by itself.
///
/// # Errors
/// What is wrong and the cure; nothing was changed.
pub fn check(config: &ModuleConfig) -> Result<Checked> {
    if let Some(problem) = config.validate().first() {
        return Err(anyhow!("module configuration, {}: {}", problem.field, problem.message));
    }
    let bytes = STANDARD.decode(&config.package).context("the package is not base64")?;
    let package = Package::read(&bytes)?;
    let user_config = UserConfig::parse(package.userconfig()?)?;
    UserConfig::expanded(package.userconfig()?)?;
    for proc in &user_config.errd.procs {
        crate::drivers::processes::Selection::of(proc)
            .with_context(|| format!("userconfig.xml: <proc name=\"{}\">", proc.name))?;
    }
    let signature = signature(config, &package);
    Ok(Checked { config: config.clone(), package, user_config, signature })
}

fn signature(config: &ModuleConfig, package: &Package) -> String {
    let mut hasher = blake3::Hasher::new();
    let mut part = |bytes: &[u8]| {
        hasher.update(&(bytes.len() as u64).to_le_bytes()).update(bytes);
    };
    part(config.name.as_bytes());
    part(&config.id.0.to_le_bytes());
    for (name, file) in &package.files {
        part(name.as_bytes());
        part(&[u8::from(file.executable)]);
        part(&file.bytes);
    }
    hasher.finalize().to_hex().to_string()
}

/// Checks a module against the cluster and the other modules held.
pub fn check_among(checked: &Checked, cluster: Option<&ClusterConfig>, others: &[&Checked]) -> Result<()> {
    let name = &checked.config.name;
    for other in others.iter().filter(|other| other.config.name != *name) {
        ensure!(
            other.config.id != checked.config.id,
            "{} is the number of module {}: choose another (-M)",
            checked.config.id,
            other.config.name
        );
        for mine in directories(checked) {
            for theirs in directories(other) {
                let inside = |a: &str, b: &str| a == b || a.strip_prefix(b).is_some_and(|rest| rest.starts_with('/'));
                ensure!(
                    !inside(mine, theirs) && !inside(theirs, mine),
                    "the replicated directory {mine} overlaps {theirs} of module {}: a directory belongs to one module",
                    other.config.name
                );
            }
        }
    }
    if let Some(cluster) = cluster {
        check_witness(&checked.user_config.witness, cluster)?;
        check_defaultprim(&checked.user_config.service.defaultprim, cluster)?;
        for link in &checked.user_config.heart.links {
            ensure!(
                cluster.lans.contains(&link.lan),
                "<heartbeat name=\"{}\"> names no network of the cluster; it has: {}",
                link.lan,
                cluster.lans.join(", ")
            );
        }
    }
    Ok(())
}

/// A register on a node of the module is refused. (Names are compared as written: only the server resolves them.)
fn check_witness(witness: &Witness, cluster: &ClusterConfig) -> Result<()> {
    let Witness::Etcd { endpoints, .. } = witness else {
        return Ok(());
    };
    let endpoints = Endpoint::parse_all(endpoints).map_err(|reason| anyhow!("userconfig.xml: {reason}"))?;
    let member = |endpoint: Endpoint| Machine::new(&endpoint.to_string(), [endpoint.host]);
    let members: Vec<Machine> = endpoints.into_iter().map(member).collect();
    let node = |node: &ClusterNode| Machine::new(&node.name, node.addresses.values().cloned());
    let nodes: Vec<Machine> = cluster.nodes.iter().map(node).collect();
    match etcd_problem(&members, &nodes) {
        None => Ok(()),
        Some(problem) => Err(anyhow!("userconfig.xml: {problem}")),
    }
}

/// A preferred node that nobody is would never be preferred, and nobody would be told.
fn check_defaultprim(defaultprim: &DefaultPrim, cluster: &ClusterConfig) -> Result<()> {
    let DefaultPrim::Node(name) = defaultprim else {
        return Ok(());
    };
    let nodes: Vec<&str> = cluster.nodes.iter().map(|node| node.name.as_str()).collect();
    ensure!(
        nodes.contains(&name.as_str()),
        "userconfig.xml: <service defaultprim=\"{name}\"> names no node of the cluster: write alone, lastprim or one of {}",
        nodes.join(", ")
    );
    Ok(())
}

fn directories(checked: &Checked) -> &[String] {
    checked.user_config.rfs.as_ref().map_or(&[], |rfs| &rfs.directories)
}

/// Puts the files of a package into `dir`, replacing what was there as a whole.
pub fn extract(package: &Package, dir: &Path) -> Result<()> {
    let parent = dir.parent().context("no folder")?;
    let name = dir.file_name().context("no name")?.to_string_lossy();
    files::make_dir(parent)?;
    let (new, old) = (parent.join(format!(".{name}.new")), parent.join(format!(".{name}.old")));
    remove_tree(&new)?;
    remove_tree(&old)?;
    for (name, file) in &package.files {
        let path = new.join(name);
        files::make_dir(path.parent().context("no folder")?)?;
        let mode = if file.executable { 0o700 } else { 0o600 };
        let mut open = fs::OpenOptions::new();
        let target = open.write(true).create_new(true).mode(mode).open(&path);
        let mut target = target.with_context(|| format!("cannot write {}", path.display()))?;
        std::io::Write::write_all(&mut target, &file.bytes)?;
        target.sync_all()?;
    }
    if dir.exists() {
        fs::rename(dir, &old)?;
    }
    fs::rename(&new, dir).with_context(|| format!("cannot put {} in place", dir.display()))?;
    files::sync_dir(parent)?;
    remove_tree(&old)
}

/// Puts the files that a checked module runs with where its scripts find them.
pub fn activate(layout: &Layout, checked: &Checked) -> Result<()> {
    unfold(checked, &layout.active(&checked.config.name))
}

/// Puts the files of a package into a folder, and those that are made of its configuration: what sets a host name, and the
/// configuration with its macros put in.
pub fn unfold(checked: &Checked, dir: &Path) -> Result<()> {
    let mut package = checked.package.clone();
    let expanded = UserConfig::expanded(checked.package.userconfig()?)?;
    let file = PackageFile { bytes: expanded.into_bytes(), executable: false };
    package.files.insert("conf/safeconf.xml".to_owned(), file);
    for host in &checked.user_config.vhosts {
        let file = PackageFile { bytes: vhost::env_file(host).into_bytes(), executable: false };
        package.files.insert(format!("bin/{}", host.envfile), file);
    }
    extract(&package, dir)
}

/// Removes a folder if it is there.
pub fn remove_tree(dir: &Path) -> Result<()> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", dir.display()))
        }
        _ => Ok(()),
    }
}

/// Puts a package into the editable folder of a module under its number.
pub fn install(layout: &Layout, name: &str, id: ModuleId, package: &Package) -> Result<()> {
    let dir = layout.installed(name);
    extract(package, &dir)?;
    files::write_atomically(&dir.join(ID_FILE), format!("{}\n", id.0).as_bytes(), 0o600)
}

/// Number of an installed module.
pub fn installed_id(layout: &Layout, name: &str) -> Option<ModuleId> {
    let text = fs::read_to_string(layout.installed(name).join(ID_FILE)).ok()?;
    text.trim().parse().ok().map(ModuleId)
}

/// The installed modules: name and number, by name.
pub fn installed(layout: &Layout) -> Vec<(String, ModuleId)> {
    let entries = fs::read_dir(layout.safe().join("modules")).into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    let mut found: Vec<_> = names.filter_map(|name| Some((name.clone(), installed_id(layout, &name)?))).collect();
    found.sort();
    found
}

/// When a file of a module's editable folder was last written; 0: there is none.
pub fn edited_unix_ms(layout: &Layout, name: &str) -> u64 {
    let dir = layout.installed(name);
    let files = pack(&dir).unwrap_or_default().files;
    files.keys().map(|file| crate::files::written_unix_ms(&dir.join(file))).max().unwrap_or(0)
}

/// Packs `conf/` and `bin/` of an editable folder.
pub fn pack(dir: &Path) -> Result<Package> {
    let mut package = Package::default();
    let mut left = UNPACKED_MAX;
    for part in ["conf", "bin"] {
        pack_below(dir, part, &mut package, &mut left)?;
    }
    package.check()?;
    Ok(package)
}

fn pack_below(root: &Path, below: &str, package: &mut Package, left: &mut u64) -> Result<()> {
    let dir = root.join(below);
    let entries = match fs::read_dir(&dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error).with_context(|| format!("cannot list {}", dir.display())),
    };
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name().into_string().map_err(|name| anyhow!("the name {name:?} is not UTF-8"))?;
        let path = format!("{below}/{name}");
        let kind = entry.file_type()?;
        if kind.is_dir() {
            ensure!(path.split('/').count() < 16, "{path} lies too deep");
            pack_below(root, &path, package, left)?;
            continue;
        }
        ensure!(kind.is_file(), "{path} is neither file nor folder: modules hold plain files only");
        ensure!(package.files.len() < FILES_MAX, "the module has more than {FILES_MAX} files");
        let mut bytes = Vec::new();
        fs::File::open(entry.path())?.take(*left + 1).read_to_end(&mut bytes)?;
        ensure!(bytes.len() as u64 <= *left, "the module is larger than {UNPACKED_MAX} bytes");
        *left -= bytes.len() as u64;
        let executable = entry.metadata()?.permissions().mode() & 0o111 != 0 || below.starts_with("bin");
        package.files.insert(path, PackageFile { bytes, executable });
    }
    Ok(())
}

/// The configuration of an installed module as edited, with this version.
pub fn configured(layout: &Layout, name: &str, version: u64) -> Result<ModuleConfig> {
    let missing = || format!("module {name} is not installed: `holdfast module install -m {name} FILE.safe`");
    let id = installed_id(layout, name).with_context(missing)?;
    let package = STANDARD.encode(pack(&layout.installed(name))?.write()?);
    Ok(ModuleConfig { id, name: name.to_owned(), version, package })
}

#[cfg(test)]
mod tests {
    use super::{check, check_among, check_witness, configured, extract, install, installed, pack};
    use crate::options::Layout;
    use holdfast_api::config::{ClusterConfig, ClusterNode};
    use holdfast_api::ids::{ModuleId, NodeId};
    use holdfast_api::package::{Package, PackageFile};
    use holdfast_api::userconfig::Witness;

    fn package(dir: &str) -> Package {
        let xml = format!(
            "<safe><service mode=\"mirror\"><heart><heartbeat name=\"default\"/></heart>\
             <rfs><replicated dir=\"{dir}\"/></rfs></service></safe>"
        );
        package_of(&xml)
    }

    fn package_of(xml: &str) -> Package {
        let file = |bytes: &[u8], executable| PackageFile { bytes: bytes.to_vec(), executable };
        let mut package = Package::default();
        package.files.insert("conf/userconfig.xml".to_owned(), file(xml.as_bytes(), false));
        package.files.insert("bin/start_prim".to_owned(), file(b"#!/bin/sh\n", true));
        package
    }

    fn layout() -> (tempfile::TempDir, Layout) {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout { data: dir.path().to_owned(), run: dir.path().to_owned() };
        (dir, layout)
    }

    #[test]
    fn installed_package_is_packed_as_it_was() {
        let (_dir, layout) = layout();
        install(&layout, "a", ModuleId(3), &package("/a")).unwrap();
        install(&layout, "a", ModuleId(4), &package("/a")).unwrap();
        assert_eq!(installed(&layout), [("a".to_owned(), ModuleId(4))]);
        assert_eq!(pack(&layout.installed("a")).unwrap(), package("/a"));
        let checked = check(&configured(&layout, "a", 1).unwrap()).unwrap();
        assert_eq!(checked.package, package("/a"));
        extract(&checked.package, &layout.active("a")).unwrap();
        assert!(layout.active("a").join("bin/start_prim").exists());
    }

    #[test]
    fn links_are_not_packed() {
        let (_dir, layout) = layout();
        install(&layout, "a", ModuleId(1), &package("/a")).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", layout.installed("a").join("bin/x")).unwrap();
        assert!(configured(&layout, "a", 1).unwrap_err().to_string().contains("bin/x"));
        assert!(configured(&layout, "b", 1).unwrap_err().to_string().contains("not installed"));
    }

    fn cluster() -> ClusterConfig {
        let node = |id: u16| ClusterNode {
            id: NodeId(id),
            name: format!("node{id}"),
            addresses: [("default".to_owned(), format!("10.0.0.{id}"))].into(),
            fingerprint: String::new(),
        };
        ClusterConfig {
            version: 1,
            name: "demo".into(),
            secret: String::new(),
            lans: vec!["default".into()],
            nodes: vec![node(1), node(2)],
        }
    }

    #[test]
    fn a_preferred_node_that_is_none_of_the_cluster_is_refused_by_name() {
        let (_dir, layout) = layout();
        let refused = |preferred: &str| {
            let xml = format!(
                "<safe><service mode=\"mirror\" defaultprim=\"{preferred}\"><heart><heartbeat name=\"default\"/></heart>\
                 <rfs><replicated dir=\"/a\"/></rfs></service></safe>"
            );
            install(&layout, "a", ModuleId(1), &package_of(&xml)).unwrap();
            let checked = check(&configured(&layout, "a", 1).unwrap()).unwrap();
            check_among(&checked, Some(&cluster()), &[]).map_err(|error| error.to_string())
        };
        for good in ["alone", "lastprim", "node1", "node2"] {
            assert_eq!(refused(good), Ok(()));
        }
        let said = refused("node3").unwrap_err();
        assert!(said.contains("defaultprim=\"node3\"") && said.contains("node1, node2"), "{said}");
    }

    #[test]
    fn an_expression_of_a_process_check_that_is_none_is_refused_by_place() {
        let (_dir, layout) = layout();
        for attribute in ["nameregex", "argregex"] {
            let xml = format!(
                "<safe><service mode=\"mirror\"><heart><heartbeat name=\"default\"/></heart>\
                 <rfs><replicated dir=\"/a\"/></rfs>\
                 <errd><proc name=\"post\" {attribute}=\"post(\" atleast=\"1\"/></errd></service></safe>"
            );
            install(&layout, "a", ModuleId(1), &package_of(&xml)).unwrap();
            let said = format!("{:#}", check(&configured(&layout, "a", 1).unwrap()).unwrap_err());
            assert!(said.contains("post") && said.contains(attribute), "{said}");
        }
    }

    #[test]
    fn a_register_on_a_node_of_the_module_is_refused_on_the_node_too() {
        let cluster = cluster();
        let etcd = |endpoints: &[&str]| {
            let endpoints = endpoints.iter().map(|text| (*text).to_owned()).collect();
            let witness = Witness::Etcd { ident: "witness".into(), endpoints };
            check_witness(&witness, &cluster).map_err(|error| error.to_string())
        };
        assert_eq!(etcd(&["http://10.0.0.9:2379"]), Ok(()));
        assert!(etcd(&["http://10.0.0.2:2379"]).unwrap_err().contains("is on node2"));
        assert_eq!(etcd(&["http://10.0.0.2:2379", "http://10.0.0.8", "http://10.0.0.9"]), Ok(()));
        assert!(etcd(&["https://10.0.0.9:2379"]).unwrap_err().contains("TLS"));
    }

    #[test]
    fn two_modules_share_neither_number_nor_directory() {
        let (_dir, layout) = layout();
        let make = |name, id, dir| {
            install(&layout, name, ModuleId(id), &package(dir)).unwrap();
            check(&configured(&layout, name, 1).unwrap()).unwrap()
        };
        let (a, same_id, inside, good) =
            (make("a", 1, "/x"), make("b", 1, "/y"), make("c", 2, "/x/y"), make("d", 3, "/xy"));
        assert!(check_among(&same_id, None, &[&a]).unwrap_err().to_string().contains("number"));
        assert!(check_among(&inside, None, &[&a]).unwrap_err().to_string().contains("overlaps"));
        check_among(&good, None, &[&a, &good]).unwrap();
    }
}
