//! The harness for tests on real nodes, and for the demo: a regtest bitcoind, `lsp-server` and `wallet` processes, and
//! phones that start a wallet when a push comes.
//!
//! Nothing here names the time it takes for something to happen: [`wait::wait_until`] looks until it has. Whatever is started
//! ends with its owner, and when the whole program is killed, a guardian process ends the rest.

pub mod attempt;
pub mod bitcoind;
#[cfg(feature = "puppet")]
pub mod books;
#[cfg(feature = "puppet")]
pub mod crash;
pub mod doom;
pub mod failure;
pub mod fakes;
pub mod folder;
pub mod http;
pub mod logs;
pub mod lsp;
pub mod metrics;
pub mod phone;
pub mod ports;
pub mod process;
#[cfg(feature = "puppet")]
pub mod puppet;
#[cfg(feature = "simulator")]
pub mod simulate;
pub mod stage;
mod text;
pub mod wait;
pub mod wallet;
