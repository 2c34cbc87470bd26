//! The browser ring.
