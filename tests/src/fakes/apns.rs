//! Apple's push service.

use std::sync::{Arc, Mutex};
use std::time::Instant;

use rcgen::{KeyPair, PublicKeyData};
use serde::Deserialize;
use serde_json::{Value, json};

use super::authority::Authority;
use super::jwt::Signer;
use super::server::{Answer, Request, Server};
use super::{Clock, Devices, Taken, lock};
use crate::failure::Failure;

/// Of the first developer.
pub const TEAM_ID: &str = "DEF123GHIJ";
/// Of the first developer's one key.
pub const KEY_ID: &str = "ABC123DEFG";

/// Bytes of a payload.
const PAYLOAD_BYTES_MAX: usize = 4_096;
/// Bytes of a collapse id.
const COLLAPSE_ID_BYTES_MAX: usize = 64;
/// How old a provider token may be, in seconds.
const TOKEN_AGE_SECONDS_MAX: u64 = 3_600;
/// How long a provider token must be used before the next one, in seconds.
const TOKEN_AGE_SECONDS_MIN: u64 = 1_200;
/// How far ahead a provider's clock may be, in seconds.
const SKEW_SECONDS_MAX: u64 = 300;

/// One environment of the service.
pub struct Apns {
    server: Server,
    inner: Arc<Inner>,
}

struct Inner {
    teams: Vec<KnownTeam>,
    p8: String,
    devices: Devices,
    clock: Clock,
}

/// What Apple keeps of a developer.
struct KnownTeam {
    signer: Signer,
    team_id: String,
    topics: Vec<String>,
    /// When the latest provider token was made.
    token_issued_at: Mutex<Option<u64>>,
}

/// A developer with one key, and the apps that it may push to.
pub struct Team<'a> {
    /// `iss` of its provider tokens.
    pub team_id: &'a str,
    /// `kid` of its provider tokens.
    pub key_id: &'a str,
    /// Its key.
    pub key: &'a DeveloperKey,
    /// The bundle ids of its apps, and of no other's.
    pub topics: &'a [&'a str],
}

/// What a push carries, as far as it is looked at.
#[derive(Deserialize)]
struct Payload {
    aps: Aps,
    push: Option<String>,
    notification_payload: Option<String>,
}

#[derive(Deserialize)]
struct Aps {
    alert: Option<serde_json::Map<String, Value>>,
    #[serde(rename = "mutable-content")]
    mutable_content: Option<u64>,
}

/// A developer's key: what Apple keeps of it, and the file that it gives out.
pub struct DeveloperKey(KeyPair);

impl DeveloperKey {
    /// A new one.
    ///
    /// # Errors
    ///
    /// When there is no entropy.
    pub fn new() -> Result<Self, Failure> {
        KeyPair::generate().map(Self).map_err(|error| Failure::wrong(format!("no key: {error}")))
    }

    /// The `.p8`.
    pub fn p8(&self) -> String {
        self.0.serialize_pem()
    }
}

impl Apns {
    /// Starts one that knows this key, and these apps of its team.
    ///
    /// # Errors
    ///
    /// When it cannot listen.
    pub async fn start(
        authority: &Authority,
        key: &DeveloperKey,
        topics: &[&str],
        clock: Clock,
    ) -> Result<Self, Failure> {
        let team = Team { team_id: TEAM_ID, key_id: KEY_ID, key, topics };
        Self::start_with(authority, &[team], clock).await
    }

    /// Starts one that knows these developers.
    ///
    /// # Errors
    ///
    /// When it cannot listen.
    pub async fn start_with(
        authority: &Authority,
        teams: &[Team<'_>],
        clock: Clock,
    ) -> Result<Self, Failure> {
        let known = |team: &Team<'_>| KnownTeam {
            signer: Signer::es256(team.key_id, team.key.0.der_bytes()),
            team_id: team.team_id.to_owned(),
            topics: team.topics.iter().map(|topic| (*topic).to_owned()).collect(),
            token_issued_at: Mutex::new(None),
        };
        let inner = Arc::new(Inner {
            teams: teams.iter().map(known).collect(),
            p8: teams.first().map(|team| team.key.p8()).unwrap_or_default(),
            devices: Devices::default(),
            clock,
        });
        let service = inner.clone();
        let server = Server::start(authority, move |request| service.answer(request)).await?;
        Ok(Self { server, inner })
    }

    /// How it behaves, and where it is.
    pub fn server(&self) -> &Server {
        &self.server
    }

    /// The `.p8` of the first key that it knows.
    pub fn p8(&self) -> &str {
        &self.inner.p8
    }

    /// From now on there is a device with this token.
    pub fn add_device(&self, token: &str) {
        self.inner.devices.add(token, None);
    }

    /// As [`Self::add_device`]; `phone` is told of its pushes.
    pub fn add_phone(&self, token: &str, phone: impl Fn(&Taken) + Send + Sync + 'static) {
        self.inner.devices.add(token, Some(Box::new(phone)));
    }

    /// All that it took.
    pub fn taken(&self) -> Vec<Taken> {
        self.inner.devices.taken()
    }

    /// The pushes that came when their time was over. None of them is taken.
    pub fn late(&self) -> Vec<String> {
        self.inner.devices.late()
    }

    /// How many pushes it took.
    pub fn taken_count(&self) -> usize {
        self.inner.devices.taken_count()
    }
}

impl Inner {
    fn answer(&self, request: Request) -> Answer {
        match self.look_at(&request) {
            Ok((token, push)) => {
                self.devices.take(Taken { at: Instant::now(), token, push, request });
                Answer::new(200, "")
            }
            Err((status, reason)) => Answer::new(status, json!({ "reason": reason }).to_string()),
        }
    }

    /// For which device, and what its app finds under `push`.
    fn look_at(&self, request: &Request) -> Result<(String, String), (u16, &'static str)> {
        if request.method != "POST" {
            return Err((405, "MethodNotAllowed"));
        }
        let token = request.path.strip_prefix("/3/device/").ok_or((404, "BadPath"))?;
        let team = self.look_at_provider_token(request)?;

        let topic = request.header("apns-topic");
        if topic.is_empty() {
            return Err((400, "MissingTopic"));
        }
        if !team.topics.iter().any(|known| known == topic) {
            return Err((400, "TopicDisallowed"));
        }
        if request.header("apns-push-type") != "alert" {
            return Err((400, "InvalidPushType"));
        }
        if request.header("apns-priority") != "10" {
            return Err((400, "BadPriority"));
        }
        let expiration: u64 =
            request.header("apns-expiration").parse().map_err(|_| (400, "BadExpirationDate"))?;
        let now = (self.clock)();
        if expiration <= now {
            self.devices.note_late(format!("a push to an iPhone, good until {expiration}, came at {now}"));
            return Err((400, "BadExpirationDate"));
        }
        if !(1..=COLLAPSE_ID_BYTES_MAX).contains(&request.header("apns-collapse-id").len()) {
            return Err((400, "BadCollapseId"));
        }
        if request.body.len() > PAYLOAD_BYTES_MAX {
            return Err((413, "PayloadTooLarge"));
        }
        let Payload { aps, push, notification_payload } =
            serde_json::from_slice(&request.body).map_err(|_| (400, "PayloadEmpty"))?;
        if aps.alert.is_none() || aps.mutable_content != Some(1) {
            return Err((400, "PayloadEmpty"));
        }
        if !self.devices.knows(token) {
            return Err((400, "BadDeviceToken"));
        }
        let push = push.or(notification_payload).ok_or((400, "PayloadEmpty"))?;
        Ok((token.to_owned(), push))
    }

    /// Whose key signed it.
    fn look_at_provider_token<'a>(&'a self, request: &Request) -> Result<&'a KnownTeam, (u16, &'static str)> {
        const INVALID: (u16, &str) = (403, "InvalidProviderToken");
        let token =
            request.header("authorization").strip_prefix("bearer ").ok_or((403, "MissingProviderToken"))?;
        let signed_by = |team: &'a KnownTeam| Some((team, team.signer.verify(token).ok()?));
        let (team, claims) = self.teams.iter().find_map(signed_by).ok_or(INVALID)?;
        let issued_at = claims["iat"].as_u64().ok_or(INVALID)?;
        if claims["iss"] != team.team_id.as_str() {
            return Err(INVALID);
        }
        let now = (self.clock)();
        if issued_at > now + SKEW_SECONDS_MAX {
            return Err(INVALID);
        }
        if issued_at + TOKEN_AGE_SECONDS_MAX < now {
            return Err((403, "ExpiredProviderToken"));
        }
        let mut latest = lock(&team.token_issued_at);
        match *latest {
            Some(before) if issued_at > before && issued_at < before + TOKEN_AGE_SECONDS_MIN => {
                return Err((429, "TooManyProviderTokenUpdates"));
            }
            Some(before) if issued_at <= before => {}
            _ => *latest = Some(issued_at),
        }
        Ok(team)
    }
}
