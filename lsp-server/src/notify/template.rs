//! The templates of breez/notify: what a caller may say, and what the phone gets of it.

use notifier::{Notification, NotificationTooLong};
use serde_json::{Map, Value};

/// A payment waits as long as a phone can be woken for it.
const PAYMENT_SECONDS: u64 = 3_600;

/// Somebody waits for the answer at the other end of an HTTP request.
const ANSWER_SECONDS: u64 = 60;

/// What is on chain stays there.
const CHAIN_SECONDS: u64 = 24 * 3_600;

/// The event whose callers want the phone's answer.
const ANSWERED_EVENT: &str = "invoice.request";

/// Where the phone sends its answer.
const REPLY_FIELD: &str = "reply_url";

/// Why a body is no notification.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// No `template` or `event` that there is.
    #[error(
        "unknown template or event; templates: {}; events: swap.update, invoice.request",
        TEMPLATES.map(|template| template.name).join(", ")
    )]
    Unknown,
    /// A field is missing, or of another type.
    #[error("data.{field} of {template}: expected {expected}")]
    Field {
        /// The template.
        template: &'static str,
        /// The field.
        field: &'static str,
        /// What stands there.
        expected: &'static str,
    },
    /// Longer than the push services take.
    #[error(transparent)]
    TooLong(#[from] NotificationTooLong),
}

/// What a field holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    /// Text that is not empty.
    Text,
    /// Text, or nothing.
    OptionalText,
    /// A number from 1 up.
    Amount,
}

/// One template.
struct Template {
    /// Its name, and the phone's `notification_type`.
    name: &'static str,
    /// The `event` that means it, of callers that send one instead of a template.
    event: Option<&'static str>,
    /// What the phone shows if its app does not come to write something better.
    title: &'static str,
    /// How long it is of use.
    seconds: u64,
    /// What a caller's field becomes on the phone.
    fields: &'static [(&'static str, &'static str, Field)],
}

const TEMPLATES: [Template; 8] = [
    Template {
        name: "payment_received",
        event: None,
        title: "Incoming payment",
        seconds: PAYMENT_SECONDS,
        fields: &[("payment_hash", "payment_hash", Field::Text)],
    },
    Template {
        name: "tx_confirmed",
        event: None,
        title: "Transaction confirmed",
        seconds: CHAIN_SECONDS,
        fields: &[("tx_id", "tx_id", Field::Text)],
    },
    Template {
        name: "address_txs_confirmed",
        event: None,
        title: "Address transactions confirmed",
        seconds: CHAIN_SECONDS,
        fields: &[("address", "address", Field::Text)],
    },
    Template {
        name: "lnurlpay_info",
        event: None,
        title: "Receiving payment",
        seconds: ANSWER_SECONDS,
        fields: &[("callback_url", "callback_url", Field::Text), ("reply_url", "reply_url", Field::Text)],
    },
    Template {
        name: "lnurlpay_invoice",
        event: None,
        title: "Invoice requested",
        seconds: ANSWER_SECONDS,
        fields: &[
            ("amount", "amount", Field::Amount),
            ("comment", "comment", Field::OptionalText),
            ("reply_url", "reply_url", Field::Text),
            ("verify_url", "verify_url", Field::OptionalText),
        ],
    },
    Template {
        name: "lnurlpay_verify",
        event: None,
        title: "Payment verification requested",
        seconds: ANSWER_SECONDS,
        fields: &[("payment_hash", "payment_hash", Field::Text), ("reply_url", "reply_url", Field::Text)],
    },
    Template {
        name: "swap_updated",
        event: Some("swap.update"),
        title: "Swap updated",
        seconds: CHAIN_SECONDS,
        fields: &[("id", "id", Field::Text), ("status", "status", Field::Text)],
    },
    Template {
        name: "invoice_request",
        event: Some(ANSWERED_EVENT),
        title: "Invoice request",
        seconds: ANSWER_SECONDS,
        fields: &[
            ("offer", "offer", Field::Text),
            ("invoice_request", "invoice_request", Field::Text),
            (REPLY_FIELD, REPLY_FIELD, Field::Text),
        ],
    },
];

/// What to tell the phone, and for how many seconds it is of use.
///
/// # Errors
/// See [`TemplateError`].
pub(crate) fn read(body: &Value, app_data: Option<String>) -> Result<(Notification, u64), TemplateError> {
    let template = template_of(body).ok_or(TemplateError::Unknown)?;
    let mut payload = Map::new();
    for (field, told, kind) in template.fields {
        let value = value_of(&body["data"], field);
        let expected = match (kind, value) {
            (Field::Text, Some(Value::String(text))) if !text.is_empty() => None,
            (Field::OptionalText, Some(Value::String(_)) | None) => None,
            (Field::Amount, Some(amount)) if amount.as_u64().is_some_and(|amount| amount > 0) => None,
            (Field::Text, _) => Some("text that is not empty"),
            (Field::OptionalText, _) => Some("text"),
            (Field::Amount, _) => Some("a number of millisatoshi from 1 up"),
        };
        if let Some(expected) = expected {
            return Err(TemplateError::Field { template: template.name, field, expected });
        }
        if let Some(value) = value {
            payload.insert((*told).to_owned(), value.clone());
        }
    }
    let notification = Notification::new(template.name, template.title, &Value::Object(payload), app_data)?;
    Ok((notification, template.seconds))
}

fn template_of(body: &Value) -> Option<&'static Template> {
    let text = |key: &str| body.get(key).and_then(Value::as_str);
    let (name, event) = (text("template"), text("event"));
    // An address has had "changed" in its template's name, in the service's first years.
    let name = if name == Some("address_txs_changed") { Some("address_txs_confirmed") } else { name };
    let is_meant = |template: &&Template| {
        name.map_or(event.is_some() && template.event == event, |name| template.name == name)
    };
    TEMPLATES.iter().find(is_meant)
}

/// Whether the caller asks for the phone's answer and names no other place for it: it waits for it here.
pub(crate) fn waits_for_reply(body: &Value) -> bool {
    let is_request = template_of(body).is_some_and(|template| template.event == Some(ANSWERED_EVENT));
    is_request && body["data"].is_object() && value_of(&body["data"], REPLY_FIELD).is_none()
}

/// As the caller said it, with the place where the phone's answer is waited for.
pub(crate) fn with_reply_url(body: &Value, reply_url: String) -> Value {
    let mut body = body.clone();
    if let Some(data) = body.get_mut("data").and_then(Value::as_object_mut) {
        data.insert(REPLY_FIELD.to_owned(), reply_url.into());
    }
    body
}

/// A field by its name, or as events write it: `invoiceRequest`. Null is nothing.
fn value_of<'a>(data: &'a Value, field: &str) -> Option<&'a Value> {
    let mut camel = String::new();
    let mut parts = field.split('_');
    camel.push_str(parts.next().unwrap_or_default());
    for part in parts {
        let (first, rest) = part.split_at(part.len().min(1));
        camel.push_str(&first.to_uppercase());
        camel.push_str(rest);
    }
    data.get(field).or_else(|| data.get(camel)).filter(|value| !value.is_null())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn told(body: &Value) -> Result<(String, Value), TemplateError> {
        let (notification, _) = read(body, None)?;
        let text: Vec<Value> = serde_json::from_str(&notification.to_text()).unwrap();
        let payload = serde_json::from_str(text[2].as_str().unwrap()).unwrap();
        Ok((notification.kind().to_owned(), payload))
    }

    #[test]
    fn every_template_becomes_its_notification() {
        for (body, kind, payload) in [
            (
                json!({ "template": "payment_received", "data": { "payment_hash": "aa", "more": 1 } }),
                "payment_received",
                json!({ "payment_hash": "aa" }),
            ),
            (
                json!({ "template": "tx_confirmed", "data": { "tx_id": "bb" } }),
                "tx_confirmed",
                json!({ "tx_id": "bb" }),
            ),
            (
                json!({ "template": "address_txs_confirmed", "data": { "address": "bc1" } }),
                "address_txs_confirmed",
                json!({ "address": "bc1" }),
            ),
            (
                json!({ "template": "address_txs_changed", "data": { "address": "bc1" } }),
                "address_txs_confirmed",
                json!({ "address": "bc1" }),
            ),
            (
                json!({ "template": "lnurlpay_info", "data": { "callback_url": "c", "reply_url": "r" } }),
                "lnurlpay_info",
                json!({ "callback_url": "c", "reply_url": "r" }),
            ),
            (
                json!({ "template": "lnurlpay_invoice", "data": { "amount": 5, "reply_url": "r", "comment": null } }),
                "lnurlpay_invoice",
                json!({ "amount": 5, "reply_url": "r" }),
            ),
            (
                json!({ "template": "lnurlpay_verify", "data": { "payment_hash": "aa", "reply_url": "r" } }),
                "lnurlpay_verify",
                json!({ "payment_hash": "aa", "reply_url": "r" }),
            ),
            (
                json!({ "event": "swap.update", "data": { "id": "s", "status": "ok" } }),
                "swap_updated",
                json!({ "id": "s", "status": "ok" }),
            ),
            (
                json!({
                    "event": "invoice.request",
                    "data": { "offer": "lno", "invoiceRequest": "lnr", "reply_url": "r" },
                }),
                "invoice_request",
                json!({ "offer": "lno", "invoice_request": "lnr", "reply_url": "r" }),
            ),
        ] {
            assert_eq!(told(&body), Ok((kind.to_owned(), payload)), "{body}");
        }
    }

    #[test]
    fn what_is_missing_is_named() {
        for body in [json!({}), json!([]), json!({ "template": "x" }), json!({ "event": "payment_received" })]
        {
            let error = told(&body).unwrap_err();
            assert_eq!(error, TemplateError::Unknown, "{body}");
            assert!(error.to_string().contains("payment_received"), "{error}");
        }
        for (body, field) in [
            (json!({ "template": "payment_received" }), "payment_hash"),
            (json!({ "template": "payment_received", "data": { "payment_hash": "" } }), "payment_hash"),
            (json!({ "template": "tx_confirmed", "data": { "tx_id": 5 } }), "tx_id"),
            (json!({ "template": "lnurlpay_invoice", "data": { "amount": 0, "reply_url": "r" } }), "amount"),
            (json!({ "template": "lnurlpay_info", "data": { "callback_url": "c" } }), "reply_url"),
        ] {
            let error = told(&body).unwrap_err();
            assert!(matches!(error, TemplateError::Field { field: named, .. } if named == field), "{error}");
        }
        let long = json!({ "template": "tx_confirmed", "data": { "tx_id": "x".repeat(5_000) } });
        assert!(matches!(told(&long), Err(TemplateError::TooLong(_))));
    }
}
