//! Tests of the front on real mounts (as root, with /dev/fuse).

mod data;
mod excluded;
mod mirror;
mod mounting;
mod names;
mod pieces;
mod programs;
mod random;
mod recording;
mod replication;
mod space;
mod support;
