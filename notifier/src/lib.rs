//! Push notifications that wake phones.
//!
//! One trait, [`PushGateway`], stands before every provider and turns whatever the provider answers into one
//! [`Verdict`]. A gateway sends exactly one request for each call and keeps no record of it: the outbox, its retries and
//! its schedule belong to the caller, and so do logs and metrics. A push says why the phone is woken and until when;
//! it carries no amount, no payment hash and no peer.

mod gateway;
mod push;
mod verdict;
pub mod webhook;

pub use gateway::{GatewayKind, PushGateway, PushTarget, TargetError, UnknownGateway};
pub use push::{Push, ReasonError, WakeId};
pub use verdict::{Verdict, Why};
pub use webhook::{WebhookConfig, WebhookGateway};
