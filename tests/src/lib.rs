//! The lab, the simulator and the test rings.

pub mod bank;
pub mod demo;
pub mod lab;
pub mod sim;
