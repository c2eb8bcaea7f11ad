//! Push notifications that wake phones.
//!
//! One trait, [`PushGateway`], stands before every provider and turns whatever the provider answers into one
//! [`Verdict`]; what each answer means is said in one place, `classify`. A gateway sends exactly one push for each call and
//! keeps no record of it: the outbox, its retries and its schedule belong to the caller, and so do logs and metrics. A push
//! says why the phone is woken and until when; it carries no amount, no payment hash and no peer.

mod ambient;
pub mod apns;
mod body;
mod classify;
mod client;
pub mod fcm;
#[cfg(any(test, feature = "fuzz"))]
pub mod fuzz;
mod gateway;
mod jwt;
pub mod lsps5;
mod notification;
mod push;
pub mod ssrf;
pub mod unifiedpush;
mod verdict;
pub mod webhook;

pub use ambient::Ambient;
pub use apns::ApnsGateway;
pub use client::{CertificateError, ProviderClient, ProviderClientConfig, RootCertificates};
pub use fcm::FcmGateway;
pub use gateway::{
    ApnsEnvironment, GatewayKind, PushGateway, PushTarget, TargetError, UnknownEnvironment, UnknownGateway,
};
pub use jwt::SigningKeyError;
pub use lsps5::{Lsps5Gateway, NotifyingNode};
pub use notification::{Notification, NotificationTooLong};
pub use push::{Push, ReasonError, WakeId};
pub use reqwest::Url;
pub use ssrf::{ClientError, UrlClient, UrlClientConfig};
pub use unifiedpush::UnifiedPushGateway;
pub use verdict::{Verdict, Why};
pub use webhook::WebhookGateway;
