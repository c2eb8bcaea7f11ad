//! Gossip of an LSP's own channels, where LDK's order of events loses some of it.

mod outputs;
mod updates;

pub(crate) use outputs::AnnouncedOutputs;
pub(crate) use updates::KeptUpdates;
