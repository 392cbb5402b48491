//! wazzup-sync.
pub mod employee;
