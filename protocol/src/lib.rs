//! The LightningRod protocol core: deterministic, without IO, clock or entropy of its own.

pub mod ids;
pub mod units;
pub mod wire;
