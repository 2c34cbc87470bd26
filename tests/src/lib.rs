//! The lab, the simulator and the test rings.

pub mod sim;
