//! Tests of support zips without names.

use super::{Names, zip};
use holdfast_api::console::{ClusterNodeForm, ClusterView, LiveSnapshot};
use holdfast_api::ids::NodeId;
use std::io::{Cursor, Read, Write};
use zip::write::SimpleFileOptions;
use zip::{ZipArchive, ZipWriter};

fn names(key: u8) -> Names {
    let node = |id: u16, name: &str, address: &str| ClusterNodeForm {
        id: NodeId(id),
        name: name.into(),
        addresses: [("default".to_owned(), address.to_owned())].into(),
    };
    let cluster = ClusterView {
        version: 1,
        name: "Acme".into(),
        lans: vec!["default".into(), "backbone".into()],
        nodes: vec![node(1, "web-1", "web-1.acme.example"), node(2, "web-2", "10.1.2.3")],
        author: String::new(),
        saved_unix_ms: 0,
    };
    let cluster = LiveSnapshot {
        sequence: 0,
        unix_ms: 0,
        server_version: String::new(),
        console_build: String::new(),
        cluster,
        nodes: Vec::new(),
        modules: Vec::new(),
        server_problems: Vec::new(),
        tasks: Vec::new(),
    };
    Names::with_key([key; 32], &cluster, &["berta".to_owned()])
}

#[test]
fn names_and_addresses_are_replaced_wherever_they_stand() {
    let names = names(1);
    let text = "web-1 (WEB-1.acme.example:4800) hears web-2 at 10.1.2.3:8888, berta@192.168.7.9 says so on backbone; \
                snapshot_web-2_x.zip, fe80::1/64, 02:42:ac:11:00:02 of acme";
    let said = names.replace(text);
    for name in ["web-1", "web-2", "10.1.2.3", "192.168", "berta", "backbone", "fe80", "02:42", "acme"] {
        assert!(!said.to_lowercase().contains(name), "{name} is in {said}");
    }
    assert!(said.contains(":4800") && said.contains(":8888") && said.contains("/64"), "{said}");
}

#[test]
fn what_is_no_name_stays_as_it_is() {
    let text = "2026-11-28 14:30:01 PRIM Ready | 127.0.0.1:9010 and ::1 answer; version 1.2.3 of webs-1, web-10, default, größer";
    assert_eq!(names(1).replace(text), text);
}

#[test]
fn a_name_has_one_stand_in_until_the_key_is_forgotten() {
    let (one, other) = (names(1), names(2));
    assert_eq!(one.replace("web-1 Web-1"), format!("{0} {0}", one.replace("web-1")));
    assert_ne!(one.replace("web-1"), one.replace("web-2"));
    assert_ne!(one.replace("web-1"), other.replace("web-1"));
}

#[test]
fn what_people_and_applications_wrote_is_left_out_and_named() {
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    let files: [(&str, &[u8]); 6] = [
        ("states.json", b"{\"node\": \"web-1\"}"),
        ("modules/bank/module.log", b"web-1 takes over"),
        ("modules/bank/application.log", b"order of Mr Smith"),
        ("modules/bank/bin/start_prim", b"#!/bin/sh"),
        ("modules/bank/state.ledger", &[0xff, 0xfe]),
        ("processes.txt", b"1 0 init --smith"),
    ];
    for (name, bytes) in files {
        writer.start_file(name, SimpleFileOptions::default()).unwrap();
        writer.write_all(bytes).unwrap();
    }
    let made = zip(&writer.finish().unwrap().into_inner(), &names(1)).unwrap();
    let mut archive = ZipArchive::new(Cursor::new(made)).unwrap();
    let held: Vec<String> = archive.file_names().map(|name| name.unwrap().into_owned()).collect();
    assert_eq!(held, ["states.json", "modules/bank/module.log", "ANONYMISED.txt"]);
    let mut all = String::new();
    for index in 0..archive.len() {
        archive.by_index(index).unwrap().read_to_string(&mut all).unwrap();
    }
    assert!(!all.contains("web-1") && !all.contains("Smith"), "{all}");
    assert!(all.contains("- modules/bank/application.log") && all.contains("- processes.txt"), "{all}");
    assert!(zip(b"no zip", &names(1)).is_err());
}
