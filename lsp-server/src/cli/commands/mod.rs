//! The commands that ask the running server, and those that look at its files.

pub(super) mod database;
pub(super) mod devices;
pub(super) mod doctor;
pub(super) mod holds;
pub(super) mod mailbox;
pub(super) mod node;
pub(super) mod notifications;
pub(super) mod wakes;
