//! The failover brain as a value.
