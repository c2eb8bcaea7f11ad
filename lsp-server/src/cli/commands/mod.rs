//! The commands that ask the running server, and `doctor`.

pub(super) mod devices;
pub(super) mod doctor;
pub(super) mod holds;
pub(super) mod mailbox;
pub(super) mod node;
pub(super) mod wakes;
