//! `holdfast-server`.
fn main() {}
