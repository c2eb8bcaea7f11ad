//! The node's channels.

pub(super) mod close;
pub(super) mod list;
pub(super) mod open;
