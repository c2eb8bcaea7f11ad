//! The LightningRod protocol core: deterministic, without IO, clock or entropy of its own.

pub mod api;
pub mod codes;
pub mod deadline;
pub mod hold;
pub mod ids;
pub mod mailbox;
pub mod observe;
pub mod path;
pub mod push;
#[cfg(test)]
mod testing;
pub mod units;
pub mod wake;
pub mod wire;
