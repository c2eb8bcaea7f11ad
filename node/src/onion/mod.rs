//! Onion messages: our contents, the fields for our hop, the ways in and out.

mod announcer;
mod contents;
mod observer;
mod router;

pub(crate) use announcer::{Announcer, ConnectedPeers, supports_lightning_rod};
pub(crate) use contents::OnionContents;
pub(crate) use observer::OnionObserver;
pub(crate) use router::MessageRouter;
