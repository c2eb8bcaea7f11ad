//! Wakes, and what became of them.

pub(super) mod list;
pub(super) mod show;
