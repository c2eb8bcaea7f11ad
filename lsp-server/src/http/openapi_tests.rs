//! The documents say what the code does: each endpoint is in one, each document is OpenAPI 3.1, and the copies in `docs/` are
//! these.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, Mutex};

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::Request;
use axum::http::{Method, Response, header};
use axum::middleware::{Next, from_fn};
use serde_json::{Value, json};

use super::{admin, public};

const METHODS: [&str; 5] = ["get", "post", "put", "delete", "patch"];

fn parse(document: &str) -> Value {
    serde_json::from_str(document).unwrap()
}

fn documents() -> [(&'static str, &'static str); 2] {
    [("public", public::document()), ("admin", admin::document())]
}

/// Every operation of a document: `GET /path`.
fn operations(document: &Value) -> BTreeSet<String> {
    let paths = document["paths"].as_object().unwrap();
    let operations = paths.iter().flat_map(|(path, item)| {
        let methods = METHODS.into_iter().filter(|method| item.get(method).is_some());
        methods.map(move |method| format!("{} {path}", method.to_uppercase()))
    });
    operations.collect()
}

/// What each endpoint's file says in its first line.
fn endpoints_in(folder: &Path) -> BTreeSet<String> {
    let mut endpoints = BTreeSet::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            endpoints.extend(endpoints_in(&path));
        } else {
            let text = fs::read_to_string(path).unwrap();
            let named = text.strip_prefix("//! `").and_then(|rest| rest.split_once('`'));
            endpoints.extend(named.map(|(endpoint, _)| endpoint.to_owned()));
        }
    }
    endpoints
}

#[test]
fn every_endpoint_is_in_its_document_and_nothing_else_is() {
    for (side, document) in documents() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/http").join(side);
        let endpoints = endpoints_in(&folder);
        assert!(endpoints.len() > 9, "{endpoints:?}");
        assert_eq!(operations(&parse(document)), endpoints, "{side}");
    }
}

#[test]
fn no_route_is_served_beside_the_documented_ones() {
    for side in ["public", "admin"] {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/http").join(side);
        let router = fs::read_to_string(folder.join("mod.rs")).unwrap();
        for unseen in [".route(", ".nest(", ".merge(", ".route_service(", ".nest_service("] {
            assert!(!router.contains(unseen), "{side}: {unseen}..) leaves no trace in the document");
        }
    }
}

#[test]
fn the_documents_are_openapi_3_1() {
    let schema = parse(include_str!("openapi_tests/openapi-3.1.schema.json"));
    let validator = jsonschema::validator_for(&schema).unwrap();
    for (side, document) in documents() {
        let document = parse(document);
        let mistakes: Vec<_> = validator
            .iter_errors(&document)
            .map(|error| format!("{}: {error}", error.instance_path()))
            .collect();
        assert!(mistakes.is_empty(), "{side}: {mistakes:#?}");
        assert!(document["openapi"].as_str().unwrap().starts_with("3.1"), "{}", document["openapi"]);
        let mut ids = BTreeSet::new();
        for operation in operations(&document) {
            let (method, path) = operation.split_once(' ').unwrap();
            let operation = &document["paths"][path][method.to_lowercase()];
            assert!(ids.insert(operation["operationId"].as_str().unwrap()), "{operation}");
            assert!(!operation["summary"].as_str().unwrap_or_default().is_empty(), "{operation}");
        }
        // Every reference leads somewhere, which the schema of OpenAPI does not ask.
        references(&document, &mut |reference| {
            let pointer = reference.strip_prefix('#').unwrap();
            assert!(document.pointer(pointer).is_some(), "{side}: {reference}");
        });
    }
    assert!(!validator.is_valid(&json!({ "openapi": "3.1.0", "paths": {} })), "the schema refuses something");
}

fn references(value: &Value, see: &mut impl FnMut(&str)) {
    match value {
        Value::Object(map) => {
            if let Some(reference) = map.get("$ref").and_then(Value::as_str) {
                see(reference);
            }
            map.values().for_each(|value| references(value, see));
        }
        Value::Array(values) => values.iter().for_each(|value| references(value, see)),
        _ => {}
    }
}

/// `UPDATE_OPENAPI=1` writes the copies anew.
#[test]
fn the_copies_in_the_documentation_are_these() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/openapi");
    for (side, document) in documents() {
        let path: PathBuf = folder.join(format!("{side}.json"));
        let document = format!("{}\n", document.trim_end());
        if std::env::var_os("UPDATE_OPENAPI").is_some() {
            fs::create_dir_all(&folder).unwrap();
            fs::write(&path, &document).unwrap();
        }
        let copy = fs::read_to_string(&path).unwrap_or_default();
        assert!(
            copy == document,
            "{} is not what the code serves: UPDATE_OPENAPI=1 cargo test -p lsp-server openapi writes it anew, if \
             the change is meant",
            path.display()
        );
    }
}

/// What did not match the document, of all that was asked of one router.
#[derive(Clone, Default)]
pub(super) struct Conformity(Arc<Mutex<Vec<String>>>);

static PUBLIC: LazyLock<Value> = LazyLock::new(|| parse(public::document()));

impl Conformity {
    /// The router, each of whose answers is compared with the public document; and each request that it takes.
    pub(super) fn watch(&self, router: Router) -> Router {
        let mistakes = self.0.clone();
        router.layer(from_fn(move |request: Request, next: Next| {
            let mistakes = mistakes.clone();
            async move {
                let (parts, body) = request.into_parts();
                let (method, path) = (parts.method.clone(), parts.uri.path().to_owned());
                // One that is too long is refused behind this.
                let asked = to_bytes(body, usize::MAX).await.unwrap_or_default();
                let response = next.run(Request::from_parts(parts, Body::from(asked.clone()))).await;
                let (parts, body) = response.into_parts();
                let answered = to_bytes(body, usize::MAX).await.unwrap();
                let found = compare(&PUBLIC, (&method, &path), &asked, &parts, &answered);
                mistakes.lock().unwrap().extend(found);
                Response::from_parts(parts, Body::from(answered))
            }
        }))
    }

    /// Panics if anything did not match.
    pub(super) fn assert(&self) {
        let mistakes = self.0.lock().unwrap();
        assert!(mistakes.is_empty(), "{mistakes:#?}");
    }
}

fn compare(
    document: &Value,
    (method, path): (&Method, &str),
    asked: &Bytes,
    parts: &axum::http::response::Parts,
    answered: &Bytes,
) -> Vec<String> {
    let Some(template) = template_of(document, path) else { return Vec::new() };
    let operation = &document["paths"][template][method.as_str().to_lowercase()];
    if operation.is_null() {
        return Vec::new();
    }
    let name = format!("{method} {template} {}", parts.status);
    let responses = &operation["responses"];
    let response = match responses.get(parts.status.as_str()) {
        Some(response) => response,
        None if parts.status.is_success() => return vec![format!("{name}: the document has no such answer")],
        None => &responses["default"],
    };
    let mut mistakes = Vec::new();
    let content_type = parts.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    match (response["content"].as_object(), content_type) {
        (None, None) => {}
        (Some(content), Some(content_type)) => match content.get(content_type) {
            Some(content) => mistakes.extend(validate(document, &content["schema"], answered)),
            None => mistakes.push(format!("the document does not have {content_type}")),
        },
        (content, content_type) => mistakes.push(format!("{content:?} and {content_type:?}")),
    }
    if parts.status.is_success() && !operation["requestBody"].is_null() {
        let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
        mistakes.extend(validate(document, schema, asked));
    }
    mistakes.into_iter().map(|mistake| format!("{name}: {mistake}")).collect()
}

fn template_of<'a>(document: &'a Value, path: &str) -> Option<&'a str> {
    let paths = document["paths"].as_object().unwrap().keys();
    let matches = |template: &&String| {
        let (wanted, given): (Vec<_>, Vec<_>) = (template.split('/').collect(), path.split('/').collect());
        wanted.len() == given.len()
            && wanted.iter().zip(given).all(|(wanted, given)| *wanted == given || wanted.starts_with('{'))
    };
    paths.into_iter().find(matches).map(String::as_str)
}

fn validate(document: &Value, schema: &Value, body: &[u8]) -> Vec<String> {
    let Ok(body) = serde_json::from_slice(body) else { return vec!["the body is no JSON".to_owned()] };
    let schema = json!({ "allOf": [schema], "components": document["components"] });
    let validator = jsonschema::validator_for(&schema).unwrap();
    validator.iter_errors(&body).map(|error| format!("{}: {error}", error.instance_path())).collect()
}

mod examples {
    use bitcoin::Network;
    use lightning::ln::types::ChannelId;
    use protocol::api::Problem;
    use protocol::api::admin::*;
    use protocol::api::ledger::{PushRecord, PutOff, WakeRecord, WakeState};
    use protocol::ids::Pid;
    use protocol::units::{BlockHeight, Msat};
    use protocol::wake::WakeReason;
    use serde::Serialize;

    use super::*;
    use crate::testing::public;

    /// A body of each kind that the admin API takes or gives is what its document says. Others are not.
    #[test]
    fn bodies_of_the_admin_api_are_as_its_document_says() {
        let document = parse(admin::document());
        let fits = |name: &str, body: &Value| {
            let schema = json!({ "$ref": format!("#/components/schemas/{name}") });
            validate(&document, &schema, &serde_json::to_vec(body).unwrap())
        };
        let mut seen = BTreeSet::new();
        let mut check = |name: &str, body: Value| {
            assert_eq!(fits(name, &body), Vec::<String>::new(), "{name}: {body}");
            assert!(!fits(name, &json!("something else")).is_empty(), "{name} takes anything");
            seen.insert(name.to_owned());
        };
        check("NodeInfo", value(&node_info()));
        check("DatabaseWork", value(&node_info().database));
        check("NewAddress", value(&NewAddress { address: "bcrt1q".into() }));
        check("ConnectRequest", value(&ConnectRequest { peer: public(1), address: "localhost:9735".into() }));
        check("ChannelView", value(&channel(None)));
        let funding = "11".repeat(32) + ":1";
        check("ChannelView", value(&channel(Some(funding.parse().unwrap()))));
        let open =
            OpenChannelRequest { peer: public(1), capacity_sat: 1, push_msat: Msat(2), announce: true };
        check("OpenChannelRequest", value(&open));
        check("OpenChannelRequest", json!({ "peer": public(1).to_string(), "capacity_sat": 5 }));
        check("OpenChannelResponse", value(&OpenChannelResponse { channel_id: ChannelId([1; 32]) }));
        check("CloseChannelRequest", json!({}));
        check("ReleaseHoldRequest", value(&ReleaseHoldRequest { pid: Pid([7; 32]) }));
        check("DeviceView", value(&device()));
        let notification = NotificationView {
            notification_id: "0a".into(),
            template: "tx_confirmed".into(),
            platform: "fcm".into(),
            state: "open".into(),
            opened_at: 1,
            expires_at: 2,
            due_at: Some(3),
            attempts: 1,
            verdict: None,
            why: None,
            answered_ms: None,
        };
        check("NotificationView", value(&notification));
        let mailbox = MailboxView {
            message_id: 1,
            recipient: public(1),
            previous_hop: Some(public(2)),
            bytes: 3,
            received_at: 4,
        };
        check("MailboxView", value(&mailbox));
        check("WakeView", value(&wake()));
        check("WakeRecord", value(&record()));
        check("PushRecord", value(&record().pushes[0]));
        let hold = crate::testing::hold_detail();
        check("HoldSummary", value(&hold.summary));
        check("PartView", value(&hold.parts[0]));
        check("HoldDetail", value(&hold));
        let difference = DifferenceView { kind: "k".into(), id: "i".into(), detail: "d".into(), seen_at: 1 };
        let count = DifferenceCount { kind: "k".into(), since_start: 1 };
        check("DifferenceView", value(&difference));
        check("DifferenceCount", value(&count));
        let holds = HoldsCheck {
            checked_at: 1,
            live_holds: 2,
            pending_htlcs: 3,
            counts: vec![count],
            newest: vec![difference],
        };
        check("HoldsCheck", value(&holds));
        let problem = Problem { kind: "k".into(), title: "t".into(), status: 404, detail: "d".into() };
        check("Problem", value(&problem));

        for (name, schema) in document["components"]["schemas"].as_object().unwrap() {
            let is_text = schema["type"] == "string" || schema["type"] == "integer";
            assert!(is_text || seen.contains(name), "there is no example of {name}");
        }
    }

    fn value(body: &impl Serialize) -> Value {
        serde_json::to_value(body).unwrap()
    }

    fn node_info() -> NodeInfo {
        NodeInfo {
            node_id: public(1),
            alias: "lsp".into(),
            network: Network::Regtest,
            height: BlockHeight(1),
            chain_height: None,
            listen: vec!["127.0.0.1:9735".parse().unwrap()],
            announced_addresses: Vec::new(),
            peers: 1,
            channels: 2,
            channels_usable: 1,
            lightning_balance_msat: Msat(1),
            on_chain_spendable_sat: 1,
            on_chain_total_sat: 1,
            alarms: vec!["look".into()],
            database: DatabaseWork { commits: 1, transactions: 1, kv_writes: 1, kv_bytes: 1 },
            version: "0.1.0".into(),
        }
    }

    fn channel(funding: Option<bitcoin::OutPoint>) -> ChannelView {
        ChannelView {
            channel_id: ChannelId([1; 32]),
            peer: public(2),
            funding,
            short_channel_id: funding.map(|_| 7),
            capacity_sat: 1,
            balance_msat: Msat(1),
            outbound_capacity_msat: Msat(1),
            inbound_capacity_msat: Msat(1),
            is_usable: true,
            is_ready: true,
            is_announced: false,
            is_shutting_down: false,
            pending_inbound_htlcs: 0,
            pending_outbound_htlcs: 0,
        }
    }

    fn device() -> DeviceView {
        DeviceView { device_id: "0a".into(), node_id: public(1), platform: "apns".into(), registered_at: 1 }
    }

    fn wake() -> WakeView {
        WakeView {
            wake_id: None,
            node_id: public(1),
            reason: WakeReason::ExpirySoon,
            opened_at: 1,
            expires_at: 2,
            attempts: 3,
            due_at: 4,
        }
    }

    fn record() -> WakeRecord {
        WakeRecord {
            wake_id: Some("0a".into()),
            node_id: public(1),
            reason: WakeReason::PaymentIncoming,
            state: WakeState::Open,
            opened_at: 1,
            expires_at: 2,
            due_at: Some(3),
            attempts: 1,
            put_off: Some(PutOff::Cooldown),
            explanation: "why".into(),
            pushes: vec![PushRecord {
                device_id: "0a".into(),
                platform: Some("fcm".into()),
                sent_at: 1,
                verdict: Some("accepted".into()),
                why: None,
                answered_ms: Some(5),
                connected_after_seconds: None,
            }],
        }
    }
}
