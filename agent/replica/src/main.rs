//! `holdfast-replica`: the data-plane process of one mirror module.
fn main() {}
