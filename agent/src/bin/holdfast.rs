//! `holdfast`.
fn main() {}
