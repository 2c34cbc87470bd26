//! The lab, the simulator and the test rings.
