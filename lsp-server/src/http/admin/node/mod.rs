//! The node itself.

pub(super) mod address;
pub(super) mod connect;
pub(super) mod info;
