//! Comparing two trees.
