//! What clients ask of an LSP, and what it answers.

use lightning_liquidity::lsps0::ser::{LSPSMessage, LSPSRequestId, LSPSResponseError};
use lightning_liquidity::lsps5::msgs::{
    LSPS5AppName, LSPS5Error, LSPS5Message, LSPS5ProtocolError, LSPS5Response, LSPS5WebhookUrl,
    ListWebhooksResponse, RemoveWebhookResponse, SetWebhookResponse,
};
use serde::Deserialize;
use serde_json::{Value, json};

/// The longest message that is read, in bytes: a URL of 1,024 characters, all of them escaped, and the rest.
pub const LSPS_MESSAGE_BYTES_MAX: usize = 16 * 1024;
/// The longest request id, in bytes. It is sent back.
const REQUEST_ID_BYTES_MAX: usize = 256;

/// JSON-RPC 2.0, "Error object".
const PARSE_ERROR: i32 = -32700;
const INVALID_REQUEST: i32 = -32600;
const METHOD_NOT_FOUND: i32 = -32601;
const INVALID_PARAMS: i32 = -32602;

/// A request, with the name under which it is answered.
#[derive(Debug, PartialEq, Eq)]
pub struct LspsRequest {
    /// The client's name for it.
    pub id: LspsRequestId,
    /// What is asked.
    pub call: LspsCall,
}

/// A client's name for a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LspsRequestId(String);

/// What a client can ask of an LSP: LSPS0 (bLIP-50) and LSPS5 (bLIP-55).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LspsCall {
    /// `lsps0.list_protocols`
    ListProtocols,
    /// `lsps5.set_webhook`
    SetWebhook {
        /// The client's name for the hook, at most 64 bytes.
        app_name: String,
        /// Where it is notified: https, at most 1,024 bytes.
        url: String,
    },
    /// `lsps5.list_webhooks`
    ListWebhooks,
    /// `lsps5.remove_webhook`
    RemoveWebhook {
        /// The client's name for the hook.
        app_name: String,
    },
}

/// Why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LspsRefusal {
    /// LSPS5 501: the URL cannot be used.
    UnusableUrl,
    /// LSPS5 503: the client has all the hooks it may have.
    TooManyWebhooks,
    /// LSPS5 1002: the client sets hooks too often.
    TooOften,
    /// LSPS5 1003: only clients with a channel have hooks.
    NoChannel,
    /// LSPS5 1010: there is no such hook.
    NoSuchWebhook,
    /// LSPS5 1000: it cannot be stored now.
    Unavailable,
}

/// What an LSP answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LspsAnswer {
    /// To [`LspsCall::ListProtocols`]: LSPS5.
    Protocols,
    /// To [`LspsCall::SetWebhook`].
    Set {
        /// Hooks that the client has now.
        webhooks: u32,
        /// Hooks that it may have.
        webhooks_max: u32,
        /// The same hook was there before.
        unchanged: bool,
    },
    /// To [`LspsCall::ListWebhooks`].
    List {
        /// The names.
        app_names: Vec<String>,
        /// Hooks that the client may have.
        webhooks_max: u32,
    },
    /// To [`LspsCall::RemoveWebhook`].
    Removed,
    /// To a [`LspsCall::SetWebhook`] that is refused.
    NotSet(LspsRefusal),
    /// To a [`LspsCall::RemoveWebhook`] that is refused.
    NotRemoved(LspsRefusal),
    /// To a [`LspsCall::ListWebhooks`] that fails.
    NotListed,
}

#[derive(Deserialize)]
struct Envelope {
    id: Option<String>,
    method: Option<String>,
    #[serde(default)]
    params: Value,
}

#[derive(Deserialize)]
struct SetWebhook {
    app_name: String,
    webhook: String,
}

#[derive(Deserialize)]
struct RemoveWebhook {
    app_name: String,
}

impl LspsRequest {
    /// Reads a client's message. The error is the answer to send instead; `None` if there is nothing to answer to.
    ///
    /// # Errors
    /// For what is no request that this LSP knows, or has a name or URL that LSPS5 refuses.
    pub fn read(payload: &str) -> Result<Self, Option<String>> {
        if payload.len() > LSPS_MESSAGE_BYTES_MAX {
            return Err(None);
        }
        let Ok(envelope) = serde_json::from_str::<Envelope>(payload) else {
            return Err(Some(failure(&Value::Null, PARSE_ERROR, "parse error")));
        };
        // A notification, or an answer to something that was never asked.
        let (Some(id), Some(method)) = (envelope.id, envelope.method) else { return Err(None) };
        if id.len() > REQUEST_ID_BYTES_MAX {
            return Err(Some(failure(&Value::Null, INVALID_REQUEST, "the id is too long")));
        }
        let refused = |code, message| Err(Some(failure(&json!(id), code, message)));
        let call = match method.as_str() {
            "lsps0.list_protocols" => LspsCall::ListProtocols,
            "lsps5.list_webhooks" => LspsCall::ListWebhooks,
            "lsps5.set_webhook" => match serde_json::from_value::<SetWebhook>(envelope.params) {
                Ok(SetWebhook { app_name, webhook }) => {
                    let checked = LSPS5AppName::new(app_name.clone())
                        .and_then(|_| LSPS5WebhookUrl::new(webhook.clone()))
                        .and_then(|_| has_no_space(&webhook));
                    if let Err(error) = checked {
                        let error = LSPSResponseError::from(error);
                        return refused(error.code, &error.message);
                    }
                    LspsCall::SetWebhook { app_name, url: webhook }
                }
                Err(_) => return refused(INVALID_PARAMS, "expected app_name and webhook"),
            },
            "lsps5.remove_webhook" => match serde_json::from_value::<RemoveWebhook>(envelope.params) {
                Ok(RemoveWebhook { app_name }) => LspsCall::RemoveWebhook { app_name },
                Err(_) => return refused(INVALID_PARAMS, "expected app_name"),
            },
            _ => return refused(METHOD_NOT_FOUND, "this LSP speaks lsps0 and lsps5"),
        };
        Ok(Self { id: LspsRequestId(id), call })
    }
}

impl LspsAnswer {
    /// The message that answers the request `id`.
    pub fn message(self, id: &LspsRequestId) -> String {
        let response = match self {
            Self::Protocols => {
                return json!({ "jsonrpc": "2.0", "id": id.0, "result": { "protocols": [5] } }).to_string();
            }
            Self::NotListed => {
                let error = LSPS5ProtocolError::UnknownError;
                return failure(&json!(id.0), error.code(), error.message());
            }
            Self::Set { webhooks, webhooks_max, unchanged } => {
                LSPS5Response::SetWebhook(SetWebhookResponse {
                    num_webhooks: webhooks,
                    max_webhooks: webhooks_max,
                    no_change: unchanged,
                })
            }
            Self::List { app_names, webhooks_max } => LSPS5Response::ListWebhooks(ListWebhooksResponse {
                // What is stored was read as a name.
                app_names: app_names.into_iter().filter_map(|name| LSPS5AppName::new(name).ok()).collect(),
                max_webhooks: webhooks_max,
            }),
            Self::Removed => LSPS5Response::RemoveWebhook(RemoveWebhookResponse {}),
            Self::NotSet(refusal) => LSPS5Response::SetWebhookError(refusal.error()),
            Self::NotRemoved(refusal) => LSPS5Response::RemoveWebhookError(refusal.error()),
        };
        let message = LSPSMessage::LSPS5(LSPS5Message::Response(LSPSRequestId(id.0.clone()), response));
        serde_json::to_string(&message).unwrap_or_default()
    }
}

impl LspsRefusal {
    fn error(self) -> LSPSResponseError {
        match self {
            Self::UnusableUrl => LSPS5ProtocolError::UrlParse,
            Self::TooManyWebhooks => LSPS5ProtocolError::TooManyWebhooks,
            Self::TooOften => LSPS5ProtocolError::SlowDownError,
            Self::NoChannel => LSPS5ProtocolError::NoPriorActivityError,
            Self::NoSuchWebhook => LSPS5ProtocolError::AppNameNotFound,
            Self::Unavailable => LSPS5ProtocolError::UnknownError,
        }
        .into()
    }
}

/// `lightning-liquidity` lets spaces pass. A hook is stored as its name and its URL with one between them.
fn has_no_space(url: &str) -> Result<(), LSPS5Error> {
    match url.contains(char::is_whitespace) {
        true => Err(LSPS5ProtocolError::UrlParse.into()),
        false => Ok(()),
    }
}

fn failure(id: &Value, code: i32, message: &str) -> String {
    json!({ "jsonrpc": "2.0", "id": id, "error": { "code": code, "message": message } }).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(app_name: &str, url: &str) -> String {
        let params = json!({ "app_name": app_name, "webhook": url });
        json!({ "jsonrpc": "2.0", "id": "7", "method": "lsps5.set_webhook", "params": params }).to_string()
    }

    fn code(payload: &str) -> Option<i64> {
        let answer = LspsRequest::read(payload).unwrap_err()?;
        serde_json::from_str::<Value>(&answer).unwrap()["error"]["code"].as_i64()
    }

    #[test]
    fn requests_are_read() {
        let request = LspsRequest::read(&set("app", "https://push.wallet.com/1")).unwrap();
        let call = LspsCall::SetWebhook { app_name: "app".into(), url: "https://push.wallet.com/1".into() };
        assert_eq!(request, LspsRequest { id: LspsRequestId("7".into()), call });
        let list = r#"{"jsonrpc":"2.0","id":"8","method":"lsps5.list_webhooks","params":{}}"#;
        assert_eq!(LspsRequest::read(list).unwrap().call, LspsCall::ListWebhooks);
        let protocols = r#"{"jsonrpc":"2.0","id":"9","method":"lsps0.list_protocols"}"#;
        assert_eq!(LspsRequest::read(protocols).unwrap().call, LspsCall::ListProtocols);
    }

    #[test]
    fn what_lsps5_refuses_has_its_codes() {
        let url = "https://push.wallet.com/";
        assert_eq!(code(&set(&"a".repeat(65), url)), Some(500));
        assert!(LspsRequest::read(&set(&"a".repeat(64), url)).is_ok());
        let of_length = |bytes: usize| format!("{url}{}", "a".repeat(bytes - url.len()));
        assert_eq!(code(&set("app", &of_length(1_025))), Some(500));
        assert!(LspsRequest::read(&set("app", &of_length(1_024))).is_ok());
        assert_eq!(code(&set("app", "http://push.wallet.com/")), Some(502));
        assert_eq!(code(&set("app", "nothing")), Some(501));
        for url in ["https://a.com/ https://b.com/", " https://a.com/", "https://a.com/\n"] {
            assert_eq!(code(&set("app", url)), Some(501), "{url}");
        }
    }

    #[test]
    fn what_is_no_request_is_refused_or_left_alone() {
        assert_eq!(code("{"), Some(-32700));
        assert_eq!(code(r#"{"id":"1","method":"lsps2.buy"}"#), Some(-32601));
        assert_eq!(code(r#"{"id":"1","method":"lsps5.set_webhook","params":{}}"#), Some(-32602));
        assert_eq!(code(&format!(r#"{{"id":"{}","method":"a"}}"#, "1".repeat(257))), Some(-32600));
        assert_eq!(code(r#"{"method":"lsps5.list_webhooks"}"#), None);
        assert_eq!(code(r#"{"id":"1","result":{}}"#), None);
        assert_eq!(code(&" ".repeat(LSPS_MESSAGE_BYTES_MAX + 1)), None);
    }

    #[test]
    fn answers_are_what_lsps5_says() {
        let id = LspsRequestId("7".into());
        let json = |answer: LspsAnswer| serde_json::from_str::<Value>(&answer.message(&id)).unwrap();
        let set = json(LspsAnswer::Set { webhooks: 1, webhooks_max: 10, unchanged: false });
        assert_eq!(set["result"], json!({ "num_webhooks": 1, "max_webhooks": 10, "no_change": false }));
        let list = json(LspsAnswer::List { app_names: vec!["a".into()], webhooks_max: 10 });
        assert_eq!(list["result"], json!({ "app_names": ["a"], "max_webhooks": 10 }));
        assert_eq!(json(LspsAnswer::Removed)["result"], json!({}));
        assert_eq!(json(LspsAnswer::NotRemoved(LspsRefusal::NoSuchWebhook))["error"]["code"], 1010);
        assert_eq!(json(LspsAnswer::NotSet(LspsRefusal::TooManyWebhooks))["error"]["code"], 503);
        assert_eq!(json(LspsAnswer::Protocols)["result"]["protocols"], json!([5]));
        assert_eq!(json(LspsAnswer::Removed)["id"], "7");
    }
}
