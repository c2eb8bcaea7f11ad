//! Push to a webhook that a phone set over Lightning: LSPS5 (bLIP-55).
//!
//! The hook's URL is a stranger's like any webhook's, and goes through the same filter. A notification is JSON-RPC, signed
//! by the LSP's node key anew at each attempt; it names a method and nothing of the wake. Only 200 is success.
//!
//! | reason | method |
//! |---|---|
//! | `payment_incoming` | `lsps5.payment_incoming` |
//! | `onion_message` | `lsps5.onion_message_incoming` |
//! | `expiry_soon`, and `payment_settled` and `payment_failed`, which a phone must come for before an HTLC expires | `lsps5.expiry_soon` |
//! | `webhook_registered`, `test` | `lsps5.webhook_registered` |
//!
//! Stock clients refuse every method that they do not know. A hook whose URL has [`OWN_REASONS`] in its query has asked
//! for our own ones: `lightning_rod.payment_settled` and `lightning_rod.payment_failed`.

#[cfg(test)]
mod tests;
mod timestamp;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use futures::future::{BoxFuture, FutureExt};
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use serde_json::json;

use self::timestamp::Form;
use crate::ssrf::UrlError;
use crate::{Ambient, GatewayKind, Push, PushGateway, PushTarget, TargetError, UrlClient, Verdict, classify};

/// The reason of the notification that a new hook gets: that it is one.
pub const REGISTERED: &str = "webhook_registered";

/// In a hook's query: its owner knows our own methods.
pub const OWN_REASONS: &str = "lightning_rod_reasons";

/// Hooks of which it is remembered what form of a timestamp they take. One that is forgotten costs a refused attempt.
const HOOKS_REMEMBERED_MAX: usize = 10_000;

/// A block, on average.
const BLOCK_SECONDS: u64 = 600;

/// What the gateway asks of the Lightning node.
pub trait NotifyingNode: Send + Sync {
    /// Signs as LDK's `message_signing` does (zbase32), with the key that phones know the LSP by. `None` if it cannot.
    fn sign(&self, text: &str) -> Option<String>;

    /// The height of the best chain.
    fn height(&self) -> u32;
}

/// The LSPS5 gateway.
pub struct Lsps5Gateway {
    client: Arc<UrlClient>,
    ambient: Ambient,
    node: Arc<dyn NotifyingNode>,
    forms: Mutex<HashMap<String, Known>>,
}

/// What a hook's answers have taught.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Known {
    form: Form,
    /// It refused the other one too, since it last accepted anything.
    refused_other: bool,
}

/// The target of a hook: its name and its URL, which has no white space.
pub fn target(app_name: &str, url: &str) -> PushTarget {
    PushTarget::new(GatewayKind::Lsps5, format!("{app_name} {url}"))
}

/// The name and the URL of a hook's target.
pub fn name_and_url(target: &PushTarget) -> Option<(&str, &str)> {
    target.token.rsplit_once(' ').filter(|_| target.kind == GatewayKind::Lsps5)
}

impl Lsps5Gateway {
    /// A gateway that signs as `node`.
    pub fn new(client: Arc<UrlClient>, ambient: Ambient, node: Arc<dyn NotifyingNode>) -> Self {
        Self { client, ambient, node, forms: Mutex::default() }
    }

    async fn notify(&self, device: &PushTarget, push: &Push) -> Verdict {
        let Some((_, url)) = name_and_url(device) else {
            return Verdict::BadPayload("the hook has no name".into());
        };
        let known = self.known(url);
        let body = self.body(url, push);
        let timestamp = known.form.of(self.ambient.now_unix(), self.micros());
        let signed = format!("LSPS5: DO NOT SIGN THIS MESSAGE MANUALLY: LSP: At {timestamp} I notify {body}");
        let headers = self.node.sign(&signed).and_then(|signature| headers(&timestamp, &signature));
        let Some(headers) = headers else {
            return Verdict::RetryAfter(None, "the node gave no signature".into());
        };
        match self.client.post_to(url, headers, body.into_bytes()).await {
            Ok((status, retry_after)) => {
                let (verdict, other_form) = classify::lsps5(status, retry_after, known.refused_other);
                let learned = match other_form {
                    true => Known { form: known.form.other(), refused_other: true },
                    false => {
                        Known { refused_other: known.refused_other && verdict != Verdict::Accepted, ..known }
                    }
                };
                self.learn(url, learned);
                verdict
            }
            Err(verdict) => verdict,
        }
    }

    /// A fraction of a second, drawn: the clock has none, and two notifications of one second that say the same would have one
    /// signature. Whoever guards against replays would take the second, though it is for another phone, for a replay.
    fn micros(&self) -> u32 {
        let [a, b, c, d, ..] = self.ambient.fresh_bytes();
        let (milli, micro) = (u16::from_be_bytes([a, b]) % 1_000, u16::from_be_bytes([c, d]) % 999);
        // The last three digits are not all zero: chrono, which a stock client writes the time with, leaves such out.
        u32::from(milli) * 1_000 + u32::from(micro) + 1
    }

    fn known(&self, url: &str) -> Known {
        self.forms.lock().unwrap_or_else(PoisonError::into_inner).get(url).copied().unwrap_or_default()
    }

    fn learn(&self, url: &str, learned: Known) {
        let mut forms = self.forms.lock().unwrap_or_else(PoisonError::into_inner);
        if learned == Known::default() {
            forms.remove(url);
        } else {
            if forms.len() >= HOOKS_REMEMBERED_MAX && !forms.contains_key(url) {
                forms.clear();
            }
            forms.insert(url.to_owned(), learned);
        }
    }

    /// `WebhookNotification` as `lightning-liquidity` writes it, which its validator checks the signature against.
    fn body(&self, url: &str, push: &Push) -> String {
        let own =
            reqwest::Url::parse(url).is_ok_and(|url| url.query_pairs().any(|(name, _)| name == OWN_REASONS));
        let (method, params) = match push.reason() {
            "payment_incoming" => ("lsps5.payment_incoming".to_owned(), json!({})),
            "onion_message" => ("lsps5.onion_message_incoming".to_owned(), json!({})),
            REGISTERED | "test" => ("lsps5.webhook_registered".to_owned(), json!({})),
            reason if own && reason != "expiry_soon" => (format!("lightning_rod.{reason}"), json!({})),
            _ => ("lsps5.expiry_soon".to_owned(), json!({ "timeout": self.timeout(push) })),
        };
        json!({ "jsonrpc": "2.0", "method": method, "params": params }).to_string()
    }

    /// About the height at which the HTLC expires: wakes know it as a time.
    fn timeout(&self, push: &Push) -> u32 {
        let blocks = push.seconds_left(self.ambient.now_unix()) / BLOCK_SECONDS;
        self.node.height().saturating_add(u32::try_from(blocks).unwrap_or(u32::MAX))
    }
}

fn headers(timestamp: &str, signature: &str) -> Option<HeaderMap> {
    Some(HeaderMap::from_iter([
        (CONTENT_TYPE, HeaderValue::from_static("application/json")),
        (HeaderName::from_static("x-lsps5-timestamp"), HeaderValue::try_from(timestamp).ok()?),
        (HeaderName::from_static("x-lsps5-signature"), HeaderValue::try_from(signature).ok()?),
    ]))
}

impl PushGateway for Lsps5Gateway {
    fn kind(&self) -> GatewayKind {
        GatewayKind::Lsps5
    }

    fn check(&self, target: &PushTarget) -> Result<(), TargetError> {
        target.check_kind(GatewayKind::Lsps5)?;
        let (_, url) = name_and_url(target).ok_or(TargetError::Token {
            kind: GatewayKind::Lsps5,
            expected: "a name and an https URL, with a space between",
        })?;
        // Also where a webhook's may be http.
        match self.client.parse(url)?.scheme() {
            "https" => Ok(()),
            _ => Err(UrlError::Scheme.into()),
        }
    }

    fn push<'a>(&'a self, device: &'a PushTarget, push: &'a Push) -> BoxFuture<'a, Verdict> {
        self.notify(device, push).boxed()
    }
}
