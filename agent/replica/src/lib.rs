//! The data plane of one mirror module: the mounted directories, the stream to the peer, resync.
//!
//! ```text
//! application ─▶ kernel ─▶ front (FUSE) ─▶ [ Replicate::submit ─▶ peer ‖ tree (backing directory) ] ─▶ reply
//! ```
//! `front` knows the kernel and the backing tree, `stream` knows the peer; they meet in [`op`] and [`replicate`] only.

pub mod control;
pub mod crash;
pub mod filter;
pub mod frame;
pub mod front;
pub mod inspect;
pub mod keep;
pub mod op;
pub mod process;
pub mod replicate;
pub mod resync;
pub mod setaside;
pub mod stream;
pub(crate) mod survey;
pub mod tls;
pub mod track;
pub mod tree;
pub mod verify;
