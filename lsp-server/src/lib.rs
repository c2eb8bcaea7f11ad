//! The LSP: holds, keeps, wakes, releases.

pub mod clock;
pub mod config;
pub mod error;
pub mod http;
pub mod mailbox;
pub mod payment;
pub mod server;
pub mod store;
pub mod wake;
