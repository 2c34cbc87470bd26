//! Tests of the front on real mounts.
