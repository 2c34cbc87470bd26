//! Tests of the front on real mounts (as root, with /dev/fuse).

mod data;
mod mirror;
mod mounting;
mod names;
mod programs;
mod random;
mod recording;
mod replication;
mod space;
mod support;
