//! The chain: bitcoind's RPC, fee estimates, broadcasting, and keeping every listener in step.

mod broadcast;
mod client;
mod fees;
mod listener;
mod patient;

pub(crate) use broadcast::{Broadcaster, run_broadcaster};
pub(crate) use client::ChainClient;
#[cfg(any(test, feature = "fuzz"))]
pub(crate) use client::{chain_of, sat_per_kw};
pub(crate) use fees::{Fees, run_fee_refresh};
pub(crate) use listener::Listeners;
pub(crate) use patient::{Patience, PatientChain, safe_height};
