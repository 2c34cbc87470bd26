//! The lab and the test rings.

pub mod bank;
pub mod bench;
pub mod demo;
pub mod lab;
pub mod machine;
