//! The LSP: holds, keeps, wakes, releases.

pub mod cli;
pub mod config;
pub mod damage;
pub mod doctor;
pub mod error;
#[cfg(any(test, feature = "fuzz"))]
pub mod fuzz;
pub mod guard;
pub mod http;
pub mod limits;
pub mod logging;
pub mod lsps5;
pub mod mailbox;
pub mod metrics;
pub mod notify;
pub mod payment;
pub mod server;
pub mod store;
pub mod tasks;
#[cfg(test)]
mod testing;
pub mod tokens;
pub mod wake;

pub use node::clock;
