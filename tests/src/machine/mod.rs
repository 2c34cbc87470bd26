//! Machines emulated in software, with Debian's stock kernel: what hosts made of namespaces cannot show. Another kernel,
//! and a power cut that takes everything that was not flushed.
//!
//! `image` makes what a machine boots from, `emulator` powers one on and off and runs commands on it, `pair` makes two of
//! them a cluster, `power` cuts their power at random under load, `kernel` runs the data plane's own tests there.

pub mod emulator;
pub mod image;
pub mod kernel;
pub mod pair;
pub mod power;
