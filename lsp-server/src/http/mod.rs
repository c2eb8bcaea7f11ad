//! The HTTP interfaces: [`public`] for phones and monitoring, [`admin`] for the operator on this machine.

pub mod admin;
mod listener;
#[cfg(test)]
mod openapi_tests;
pub mod problem;
pub mod public;
mod serve;
pub mod tls;

pub use listener::{BoundedListener, ConnectionLimits};
pub use serve::HttpServers;
