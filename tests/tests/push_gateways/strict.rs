//! The fakes are as strict as Apple and Google: requests with one thing wrong each. Who passes them passes the real ones.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm,
    RSA_PKCS1_SHA256, RsaKeyPair,
};
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::pem::PemObject;
use serde_json::{Value, json};
use tests::fakes::apns::{Apns, DeveloperKey, KEY_ID, TEAM_ID};
use tests::fakes::fcm::{Fcm, PROJECT};

use super::*;

const TOPIC: &str = "com.wallet.one";
const GRANT: &str = "urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer";
const FORM: &str = "application/x-www-form-urlencoded";

/// A request; a test spoils one thing of it.
#[derive(Clone)]
struct Raw {
    method: &'static str,
    path: String,
    headers: Vec<(&'static str, String)>,
    body: String,
}

impl Raw {
    fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self = self.without(name);
        self.headers.push((name, value.into()));
        self
    }

    fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(known, _)| *known != name);
        self
    }

    fn with_body(self, body: impl Into<String>) -> Self {
        Self { body: body.into(), ..self }
    }

    /// The answer's status and body.
    async fn send(&self, client: &reqwest::Client, base: &str) -> (u16, Value) {
        let url = format!("{base}{}", self.path);
        let mut request = client.request(self.method.parse().unwrap(), url).body(self.body.clone());
        for (name, value) in &self.headers {
            request = request.header(*name, value);
        }
        let answer = request.send().await.unwrap();
        assert_eq!(answer.version(), reqwest::Version::HTTP_2);
        let status = answer.status().as_u16();
        (status, serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap_or_default())
    }
}

fn raw_client(authority: &Authority) -> reqwest::Client {
    // An error means that another test was first.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let root = reqwest::Certificate::from_pem(authority.pem().as_bytes()).unwrap();
    reqwest::Client::builder().no_proxy().tls_certs_only([root]).build().unwrap()
}

/// What is signed.
fn signed_part(header: &Value, claims: &Value) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}", part(header), part(claims))
}

fn es256(key: &DeveloperKey, algorithm: &'static EcdsaSigningAlgorithm, signed: &str) -> Vec<u8> {
    let der = PrivatePkcs8KeyDer::from_pem_slice(key.p8().as_bytes()).unwrap();
    let random = SystemRandom::new();
    let pair = EcdsaKeyPair::from_pkcs8(algorithm, der.secret_pkcs8_der(), &random).unwrap();
    pair.sign(&random, signed.as_bytes()).unwrap().as_ref().to_vec()
}

fn apns_token(key: &DeveloperKey, header: &Value, claims: &Value) -> String {
    let signed = signed_part(header, claims);
    let signature = es256(key, &ECDSA_P256_SHA256_FIXED_SIGNING, &signed);
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
}

/// An APNs payload of this many bytes.
fn payload(bytes: usize) -> String {
    let around = r#"{"aps":{"alert":{"title":"t"},"mutable-content":1},"push":""}"#;
    around.replace(r#""push":"""#, &format!(r#""push":"{}""#, "x".repeat(bytes - around.len())))
}

#[tokio::test]
async fn apple_refuses_what_apple_refuses() {
    let (clock, authority, key) = (TestClock::new(), Authority::new().unwrap(), DeveloperKey::new().unwrap());
    let apns = Apns::start(&authority, &key, &[TOPIC], clock.fake()).await.unwrap();
    let client = raw_client(&authority);
    let device = "0d".repeat(32);
    apns.add_device(&device);
    let header = json!({ "alg": "ES256", "kid": KEY_ID });
    let claims = |issued_at: u64| json!({ "iss": TEAM_ID, "iat": issued_at });
    let token = apns_token(&key, &header, &claims(START));
    let good = Raw {
        method: "POST",
        path: format!("/3/device/{device}"),
        headers: vec![
            ("authorization", format!("bearer {token}")),
            ("apns-topic", TOPIC.to_owned()),
            ("apns-push-type", "alert".to_owned()),
            ("apns-priority", "10".to_owned()),
            ("apns-expiration", (START + 600).to_string()),
            ("apns-collapse-id", "c".repeat(64)),
        ],
        body: payload(4_096),
    };
    let base = apns.server().url();
    assert_eq!(good.send(&client, base).await, (200, Value::Null), "and it takes what is right");

    let bearing = |token: &str| good.clone().with("authorization", format!("bearer {token}"));
    let signed = |header: Value, claims: Value| bearing(&apns_token(&key, &header, &claims));
    let part = signed_part(&header, &claims(START));
    let fixed = |part: &str| es256(&key, &ECDSA_P256_SHA256_FIXED_SIGNING, part);
    let asn1 = es256(&key, &ECDSA_P256_SHA256_ASN1_SIGNING, &part);
    let other_alphabet = loop {
        let text = STANDARD.encode(fixed(&part));
        if text.contains(['+', '/']) {
            break text.trim_end_matches('=').to_owned();
        }
    };
    let encoded = |signature: &[u8]| format!("{part}.{}", URL_SAFE_NO_PAD.encode(signature));
    let stranger = DeveloperKey::new().unwrap();
    let wrong = [
        ("no token", good.clone().without("authorization"), 403, "MissingProviderToken"),
        ("another scheme", good.clone().with("authorization", token.as_str()), 403, "MissingProviderToken"),
        ("two parts", bearing(&part), 403, "InvalidProviderToken"),
        (
            "another algorithm",
            signed(json!({ "alg": "RS256", "kid": KEY_ID }), claims(START)),
            403,
            "InvalidProviderToken",
        ),
        (
            "no algorithm",
            signed(json!({ "alg": "none", "kid": KEY_ID }), claims(START)),
            403,
            "InvalidProviderToken",
        ),
        ("no key id", signed(json!({ "alg": "ES256" }), claims(START)), 403, "InvalidProviderToken"),
        (
            "another key id",
            signed(json!({ "alg": "ES256", "kid": "ZZZ123DEFG" }), claims(START)),
            403,
            "InvalidProviderToken",
        ),
        ("a signature in DER", bearing(&encoded(&asn1)), 403, "InvalidProviderToken"),
        ("63 bytes", bearing(&encoded(&fixed(&part)[..63])), 403, "InvalidProviderToken"),
        ("padding", bearing(&format!("{}==", encoded(&fixed(&part)))), 403, "InvalidProviderToken"),
        ("the other alphabet", bearing(&format!("{part}.{other_alphabet}")), 403, "InvalidProviderToken"),
        (
            "another's key",
            bearing(&apns_token(&stranger, &header, &claims(START))),
            403,
            "InvalidProviderToken",
        ),
        (
            "another team",
            signed(header.clone(), json!({ "iss": "ZZZ123GHIJ", "iat": START })),
            403,
            "InvalidProviderToken",
        ),
        ("no time", signed(header.clone(), json!({ "iss": TEAM_ID })), 403, "InvalidProviderToken"),
        ("of tomorrow", signed(header.clone(), claims(START + 301)), 403, "InvalidProviderToken"),
        ("an hour old", signed(header.clone(), claims(START - 3_601)), 403, "ExpiredProviderToken"),
        ("a second one", signed(header.clone(), claims(START + 200)), 429, "TooManyProviderTokenUpdates"),
        ("GET", Raw { method: "GET", ..good.clone() }, 405, "MethodNotAllowed"),
        ("another path", Raw { path: format!("/3/devices/{device}"), ..good.clone() }, 404, "BadPath"),
        ("no topic", good.clone().without("apns-topic"), 400, "MissingTopic"),
        ("another's topic", good.clone().with("apns-topic", "com.other"), 400, "TopicDisallowed"),
        ("no push type", good.clone().without("apns-push-type"), 400, "InvalidPushType"),
        (
            "a push that shows nothing",
            good.clone().with("apns-push-type", "background"),
            400,
            "InvalidPushType",
        ),
        ("no priority", good.clone().without("apns-priority"), 400, "BadPriority"),
        ("a priority that spares the battery", good.clone().with("apns-priority", "5"), 400, "BadPriority"),
        ("no expiry", good.clone().with("apns-expiration", "soon"), 400, "BadExpirationDate"),
        (
            "an expiry that is over",
            good.clone().with("apns-expiration", START.to_string()),
            400,
            "BadExpirationDate",
        ),
        ("a long collapse id", good.clone().with("apns-collapse-id", "c".repeat(65)), 400, "BadCollapseId"),
        ("a byte too many", good.clone().with_body(payload(4_097)), 413, "PayloadTooLarge"),
        ("no payload", good.clone().with_body(""), 400, "PayloadEmpty"),
        (
            "nothing to show",
            good.clone().with_body(r#"{"aps":{"mutable-content":1},"push":""}"#),
            400,
            "PayloadEmpty",
        ),
        (
            "no such device",
            Raw { path: format!("/3/device/{}", "0e".repeat(32)), ..good.clone() },
            400,
            "BadDeviceToken",
        ),
    ];
    for (what, request, status, reason) in wrong {
        let answer = request.send(&client, base).await;
        assert_eq!(answer, (status, json!({ "reason": reason })), "{what}");
    }
    assert_eq!(apns.taken_count(), 1, "nothing of it was taken");
    assert_eq!(apns.late().len(), 1, "the expiry that was over: {:?}", apns.late());
    assert_eq!(good.send(&client, base).await.0, 200, "nothing of it lasts");
}

struct Google {
    fcm: Fcm,
    client: reqwest::Client,
    account: Value,
}

impl Google {
    async fn start() -> Self {
        let authority = Authority::new().unwrap();
        let fcm = Fcm::start(&authority, TestClock::new().fake()).await.unwrap();
        let account = serde_json::from_str(&fcm.service_account()).unwrap();
        Self { fcm, client: raw_client(&authority), account }
    }

    fn header(&self) -> Value {
        json!({ "alg": "RS256", "typ": "JWT", "kid": self.account["private_key_id"] })
    }

    fn claims(&self) -> Value {
        json!({
            "iss": self.account["client_email"],
            "scope": "https://www.googleapis.com/auth/firebase.messaging",
            "aud": self.account["token_uri"],
            "iat": START,
            "exp": START + 3_600,
        })
    }

    fn assertion(&self, header: &Value, claims: &Value) -> String {
        let pem = self.account["private_key"].as_str().unwrap();
        let der = PrivatePkcs8KeyDer::from_pem_slice(pem.as_bytes()).unwrap();
        let key = RsaKeyPair::from_pkcs8(der.secret_pkcs8_der()).unwrap();
        let signed = signed_part(header, claims);
        let mut signature = vec![0; key.public().modulus_len()];
        key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), signed.as_bytes(), &mut signature).unwrap();
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    async fn exchange(&self, grant: &str, assertion: &str, content_type: &str) -> (u16, Value) {
        let request = Raw {
            method: "POST",
            path: "/token".to_owned(),
            headers: vec![("content-type", content_type.to_owned())],
            body: format!("grant_type={grant}&assertion={assertion}"),
        };
        request.send(&self.client, self.fcm.oauth().url()).await
    }
}

#[tokio::test]
async fn google_gives_no_access_token_to_an_assertion_that_is_wrong() {
    let google = Google::start().await;
    let (header, claims) = (google.header(), google.claims());
    let good = google.assertion(&header, &claims);
    let (status, answer) = google.exchange(GRANT, &good, FORM).await;
    assert_eq!((status, &answer["token_type"]), (200, &json!("Bearer")), "{answer}");

    let but = |key: &str, value: Value| {
        let mut claims = claims.clone();
        claims[key] = value;
        google.assertion(&header, &claims)
    };
    let headed = |key: &str, value: &str| {
        let mut header = header.clone();
        header[key] = value.into();
        google.assertion(&header, &claims)
    };
    let (signature, audience, time) = ("Invalid JWT Signature", "Failed audience check", "short-lived token");
    for (what, assertion, error, description) in [
        ("another algorithm", headed("alg", "ES256"), "invalid_grant", signature),
        ("another key id", headed("kid", "0"), "invalid_grant", signature),
        ("padding", format!("{good}=="), "invalid_grant", signature),
        ("a cut signature", good[..good.len() - 4].to_owned(), "invalid_grant", signature),
        ("another account", but("iss", json!("x@y.z")), "invalid_grant", "account not found"),
        (
            "another scope",
            but("scope", json!("https://www.googleapis.com/auth/cloud-platform.read-only")),
            "invalid_scope",
            "Invalid OAuth scope",
        ),
        ("no scope", but("scope", Value::Null), "invalid_scope", "Invalid OAuth scope"),
        ("another audience", but("aud", json!("https://localhost/token")), "invalid_grant", audience),
        ("too long a life", but("exp", json!(START + 3_601)), "invalid_grant", time),
        ("a life that is over", but("exp", json!(START)), "invalid_grant", time),
        ("of tomorrow", but("iat", json!(START + 301)), "invalid_grant", time),
    ] {
        let (status, answer) = google.exchange(GRANT, &assertion, FORM).await;
        assert_eq!((status, answer["error"].as_str()), (400, Some(error)), "{what}: {answer}");
        assert!(answer["error_description"].as_str().unwrap().contains(description), "{what}: {answer}");
    }
    for (grant, content_type, error) in [
        ("authorization_code", FORM, "unsupported_grant_type"),
        (GRANT, "application/json", "invalid_request"),
    ] {
        let (status, answer) = google.exchange(grant, &good, content_type).await;
        assert_eq!((status, answer["error"].as_str()), (400, Some(error)), "{answer}");
    }
    assert_eq!(google.fcm.access_tokens(), 1, "one was given out in all");
}

#[tokio::test]
async fn google_refuses_a_message_that_is_wrong() {
    let google = Google::start().await;
    let assertion = google.assertion(&google.header(), &google.claims());
    let (_, answer) = google.exchange(GRANT, &assertion, FORM).await;
    let access = format!("Bearer {}", answer["access_token"].as_str().unwrap());
    let device = "h".repeat(140);
    google.fcm.add_device(&device);
    let message = json!({ "message": {
        "token": device,
        // As many bytes as there may be, the key's among them.
        "data": { "push": "x".repeat(4_092) },
        "android": { "priority": "HIGH", "ttl": "600s", "collapse_key": "c" },
    }});
    let good = Raw {
        method: "POST",
        path: format!("/v1/projects/{PROJECT}/messages:send"),
        headers: vec![("authorization", access), ("content-type", "application/json".to_owned())],
        body: message.to_string(),
    };
    let base = google.fcm.server().url();
    assert_eq!(good.send(&google.client, base).await.0, 200, "and it takes what is right");

    let but = |pointer: &str, key: &str, value: Value| {
        let mut message = message.clone();
        message.pointer_mut(pointer).unwrap()[key] = value;
        good.clone().with_body(message.to_string())
    };
    let android = |key: &str, value: &str| but("/message/android", key, json!(value));
    let (invalid, unauthenticated) = ((400, "INVALID_ARGUMENT"), (401, "UNAUTHENTICATED"));
    for (what, request, (status, name)) in [
        ("no access token", good.clone().without("authorization"), unauthenticated),
        ("a made-up access token", good.clone().with("authorization", "Bearer ya29.9"), unauthenticated),
        ("no JSON", good.clone().with("content-type", "text/plain"), invalid),
        ("half of it", good.clone().with_body("{\"message\":"), invalid),
        ("a field that is none", but("/message", "prio", json!("HIGH")), invalid),
        ("a number in the data", but("/message/data", "n", json!(1)), invalid),
        ("a byte too many", but("/message/data", "push", json!("x".repeat(4_093))), invalid),
        ("no priority", android("priority", "NORMAL"), invalid),
        ("a time without its unit", android("ttl", "600"), invalid),
        ("a time below zero", android("ttl", "-1s"), invalid),
        ("more than four weeks", android("ttl", "2419201s"), invalid),
        ("now or never", android("ttl", "0s"), invalid),
        ("no such device", but("/message", "token", json!("i".repeat(140))), (404, "NOT_FOUND")),
    ] {
        let (code, answer) = request.send(&google.client, base).await;
        assert_eq!((code, answer["error"]["status"].as_str()), (status, Some(name)), "{what}: {answer}");
        assert_eq!(answer["error"]["code"], status, "{what}: {answer}");
    }
    let gone = but("/message", "token", json!("i".repeat(140))).send(&google.client, base).await.1;
    assert_eq!(gone["error"]["details"][0]["errorCode"], "UNREGISTERED");
    assert_eq!(google.fcm.taken_count(), 1, "nothing of it was taken");
    assert_eq!(good.send(&google.client, base).await.0, 200, "nothing of it lasts");
}
