//! The LightningRod protocol core: deterministic, without IO, clock or entropy of its own.

pub mod api;
pub mod codes;
pub mod deadline;
#[cfg(any(test, feature = "fuzz"))]
pub mod fuzz;
pub mod hold;
pub mod ids;
pub mod mailbox;
pub mod observe;
pub mod path;
pub mod push;
pub mod signature;
#[cfg(any(test, feature = "fuzz"))]
mod testing;
pub mod units;
pub mod wake;
pub mod wire;
