//! What `fuzz/` runs: each target takes any bytes, and panics if something is wrong.
//!
//! The tests replay the committed corpus through the same functions.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a panic here is a finding")]
#![allow(missing_docs, reason = "named by what they read")]

mod authorizations;
mod bodies;
mod bytes;
mod holds;
mod messages;
mod onions;
mod paths;
mod pushes;

pub use authorizations::authorization;
pub use bodies::api_bodies;
pub use holds::{hold_strays, hold_world};
pub use messages::messages;
pub use onions::{onion_hop, onion_packet};
pub use paths::{hop_fields, paths};
pub use pushes::sealed_push;

#[cfg(test)]
#[path = "../../../fuzz/replay.rs"]
mod replay;

#[cfg(test)]
#[test]
fn the_corpus_finds_nothing() {
    replay::corpus("api_bodies", api_bodies);
    replay::corpus("authorization", authorization);
    replay::corpus("hold_strays", hold_strays);
    replay::corpus("hold_world", hold_world);
    replay::corpus("hop_fields", hop_fields);
    replay::corpus("messages", messages);
    replay::corpus("onion_hop", onion_hop);
    replay::corpus("onion_packet", onion_packet);
    replay::corpus("paths", paths);
    replay::corpus("sealed_push", sealed_push);
}
