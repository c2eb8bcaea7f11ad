//! The chain: bitcoind's RPC, fee estimates, broadcasting, and keeping every listener in step.

mod broadcast;
mod client;
mod fees;
mod health;
mod listener;
mod patient;
mod watch;

pub(crate) use broadcast::{Broadcaster, run_broadcaster};
pub(crate) use client::ChainClient;
#[cfg(any(test, feature = "fuzz"))]
pub(crate) use client::{chain_of, sat_per_kw};
pub(crate) use fees::{Fees, run_fee_refresh};
pub use health::{ChainHealth, ChainLimits, ChainTrouble};
pub(crate) use health::{ChainReport, ChainWatch};
pub(crate) use listener::Listeners;
pub(crate) use patient::{Patience, PatientChain, safe_height};
