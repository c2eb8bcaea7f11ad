//! Phones that can be woken.

pub(super) mod list;
pub(super) mod remove;
