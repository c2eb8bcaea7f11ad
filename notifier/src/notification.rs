//! A notification in the shape that wallets made for breez/notify expect.
//!
//! Unlike a [`Push`](crate::Push) of our own it says what it is about: `notification_type`, and `notification_payload`, a JSON
//! text. The phone's app or its Notification Service Extension reads both.

use std::fmt;

use serde_json::{Value, json};

use crate::WakeId;

/// What FCM and APNs take, less what stands around it.
const CONTENT_BYTES_MAX: usize = 3_500;

/// A notification for one phone. `Debug` hides what it is about.
#[derive(Clone, PartialEq, Eq)]
pub struct Notification {
    kind: String,
    title: String,
    payload: String,
    app_data: Option<String>,
}

/// A notification is longer than its providers take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the notification has {0} bytes of content; the push services take {CONTENT_BYTES_MAX}")]
pub struct NotificationTooLong(usize);

impl Notification {
    /// A notification of this type, with a title for a phone that shows it unread, and what it is about.
    ///
    /// # Errors
    /// When it is longer than the push services take.
    pub fn new(
        kind: impl Into<String>,
        title: impl Into<String>,
        payload: &Value,
        app_data: Option<String>,
    ) -> Result<Self, NotificationTooLong> {
        let notification =
            Self { kind: kind.into(), title: title.into(), payload: payload.to_string(), app_data };
        let bytes = Value::Object(notification.data()).to_string().len() + notification.title.len();
        if bytes > CONTENT_BYTES_MAX {
            return Err(NotificationTooLong(bytes));
        }
        Ok(notification)
    }

    /// The text that [`Self::from_text`] reads, for where it waits. It holds what the notification is about.
    pub fn to_text(&self) -> String {
        json!([self.kind, self.title, self.payload, self.app_data]).to_string()
    }

    /// The reverse of [`Self::to_text`]; `None` for another text.
    pub fn from_text(text: &str) -> Option<Self> {
        let (kind, title, payload, app_data) = serde_json::from_str(text).ok()?;
        Some(Self { kind, title, payload, app_data })
    }

    /// `notification_type`
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// What the app reads, all of it text.
    fn data(&self) -> serde_json::Map<String, Value> {
        let mut data = serde_json::Map::new();
        data.insert("notification_type".to_owned(), self.kind.clone().into());
        data.insert("notification_payload".to_owned(), self.payload.clone().into());
        if let Some(app_data) = &self.app_data {
            data.insert("app_data".to_owned(), app_data.clone().into());
        }
        data
    }

    /// The payload that APNs delivers.
    pub(crate) fn apns_payload(&self) -> Value {
        let mut payload = self.data();
        payload.insert("aps".to_owned(), self.aps());
        Value::Object(payload)
    }

    /// FCM's message for a phone of either system, without its token: `expires_at` is in seconds since 1970. An iPhone shows one
    /// notification for each collapse id: what is pushed again after a crash takes the place of the first.
    pub(crate) fn fcm_message(&self, ttl_seconds: u64, expires_at: u64, collapse_id: WakeId) -> Value {
        json!({
            "data": self.data(),
            "android": { "priority": "HIGH", "ttl": format!("{ttl_seconds}s") },
            "apns": {
                "headers": {
                    "apns-priority": "10",
                    "apns-expiration": expires_at.to_string(),
                    "apns-collapse-id": collapse_id.to_string(),
                },
                "payload": { "aps": self.aps() },
            },
        })
    }

    fn aps(&self) -> Value {
        json!({ "alert": { "title": self.title }, "mutable-content": 1 })
    }
}

impl fmt::Debug for Notification {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Notification").field("kind", &self.kind).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn notification() -> Notification {
        let payload = json!({ "payment_hash": "ab12" });
        Notification::new("payment_received", "Incoming payment", &payload, Some("mine".into())).unwrap()
    }

    #[test]
    fn both_systems_get_what_breez_notify_sends() {
        let data = json!({
            "notification_type": "payment_received",
            "notification_payload": "{\"payment_hash\":\"ab12\"}",
            "app_data": "mine",
        });
        let aps = json!({ "alert": { "title": "Incoming payment" }, "mutable-content": 1 });
        let message = notification().fcm_message(60, 1_060, WakeId([0xab; 16]));
        assert_eq!(message["data"], data);
        assert_eq!(message["android"], json!({ "priority": "HIGH", "ttl": "60s" }));
        assert_eq!(message["apns"]["payload"]["aps"], aps);
        let headers =
            json!({ "apns-priority": "10", "apns-expiration": "1060", "apns-collapse-id": "ab".repeat(16) });
        assert_eq!(message["apns"]["headers"], headers);
        let payload = notification().apns_payload();
        assert_eq!((&payload["aps"], &payload["notification_type"]), (&aps, &data["notification_type"]));
        assert_eq!(payload["notification_payload"], data["notification_payload"]);
    }

    #[test]
    fn it_waits_as_text_and_is_not_shown() {
        let notification = notification();
        assert_eq!(Notification::from_text(&notification.to_text()), Some(notification.clone()));
        assert_eq!(Notification::from_text("{}"), None);
        assert!(!format!("{notification:?}").contains("ab12"));
    }

    #[test]
    fn what_the_services_would_not_take_is_refused() {
        let of = |bytes| Notification::new("t", "t", &json!({ "offer": "x".repeat(bytes) }), None);
        assert!(of(3_000).is_ok());
        assert!(of(4_000).is_err());
        // Every quote of the payload is escaped once more.
        assert!(Notification::new("t", "t", &json!({ "a": "\"".repeat(1_200) }), None).is_err());
    }
}
