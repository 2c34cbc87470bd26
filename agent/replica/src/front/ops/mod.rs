//! The handlers of the kernel's requests, by kind of operation.

pub(super) mod attr;
pub(super) mod data;
pub(super) mod dir;
pub(super) mod exchange;
pub(super) mod namespace;
pub(super) mod space;
pub(super) mod unnamed;
pub(super) mod xattr;
