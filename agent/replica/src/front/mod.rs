//! The FUSE front: covers the replicated directories with mounts and turns what applications do into changes.
//!
//! ```text
//! /dev/fuse ─▶ session (2 readers, small pool) ─▶ wire ─▶ ops ─▶ [ inodes · tree · Replicate ] ─▶ reply ─▶ /dev/fuse
//! ```

pub mod inodes;
mod places;
pub mod touched;

use std::sync::{Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

pub use inodes::{Held, Inode, Inodes, OrderGuard, lock_orders};
pub use touched::Touched;

/// Locks, also after a panic of another holder: what we keep under locks is valid between any two statements.
pub(crate) fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) fn wait_read<T: ?Sized>(gate: &RwLock<T>) -> RwLockReadGuard<'_, T> {
    gate.read().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) fn wait_write<T: ?Sized>(gate: &RwLock<T>) -> RwLockWriteGuard<'_, T> {
    gate.write().unwrap_or_else(PoisonError::into_inner)
}
