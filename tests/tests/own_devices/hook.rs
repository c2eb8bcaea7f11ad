//! A wallet company's server that takes LSPS5 notifications for phones: HTTPS, and as strict as bLIP-55 has it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bitcoin::secp256k1::PublicKey;
use lightning_liquidity::lsps5::msgs::WebhookNotification;
use lightning_liquidity::lsps5::validator::LSPS5Validator;
use node::{HookNotifications, HookReason};
use tests::failure::Failure;
use tests::fakes::authority::Authority;
use tests::fakes::server::{Answer, Request, Server};
use tests::fakes::system_clock;
use tests::stage::PAYMENT_TIMEOUT;
use tests::wait::{Seen, wait_until};

/// As the phone got it from its server: who has it may wake the phone.
const PATH: &str = "/hook/8c1f0e2d3b4a";

/// The server.
pub(super) struct Hook {
    server: Server,
    authority: Authority,
    desk: Arc<Desk>,
}

/// What it goes by, and what came.
struct Desk {
    lsp: PublicKey,
    ours: HookNotifications,
    stock: LSPS5Validator,
    /// It takes no other form of the timestamp than bLIP-55's.
    to_the_letter: AtomicBool,
    closed: AtomicBool,
    taken: Mutex<Vec<Notification>>,
    refused: Mutex<Vec<String>>,
}

/// A notification that was taken.
#[derive(Clone, Debug)]
pub(super) struct Notification {
    /// What it said.
    pub(super) reason: HookReason,
    /// As it came.
    pub(super) timestamp: String,
    /// As it came.
    pub(super) signature: String,
    /// As it came.
    pub(super) body: String,
}

impl Hook {
    /// Starts one for phones of this LSP.
    pub(super) async fn start(lsp: &str) -> Result<Self, Failure> {
        let lsp: PublicKey = lsp.parse().map_err(|_| Failure::wrong("the LSP has no node id"))?;
        let authority = Authority::new()?;
        let desk = Arc::new(Desk {
            lsp,
            ours: HookNotifications::new(lsp),
            stock: LSPS5Validator::new(),
            to_the_letter: AtomicBool::new(false),
            closed: AtomicBool::new(false),
            taken: Mutex::default(),
            refused: Mutex::default(),
        });
        let at_desk = Arc::clone(&desk);
        let server = Server::start(&authority, move |request| at_desk.receive(&request)).await?;
        Ok(Self { server, authority, desk })
    }

    /// Where the phone has its notifications sent.
    pub(super) fn url(&self) -> String {
        format!("{}{PATH}", self.server.url())
    }

    /// Whose certificate it has.
    pub(super) fn authority(&self) -> &Authority {
        &self.authority
    }

    /// From now on it takes bLIP-55's form of the timestamp only.
    pub(super) fn go_by_the_letter(&self) {
        self.desk.to_the_letter.store(true, Ordering::Relaxed);
    }

    /// From now on it takes nothing, and says that it could later.
    pub(super) fn close(&self) {
        self.desk.closed.store(true, Ordering::Relaxed);
    }

    /// It takes notifications again.
    pub(super) fn open(&self) {
        self.desk.closed.store(false, Ordering::Relaxed);
    }

    /// Everything that it took.
    pub(super) fn taken(&self) -> Vec<Notification> {
        lock(&self.desk.taken).clone()
    }

    /// Why it refused what it refused.
    pub(super) fn refused(&self) -> Vec<String> {
        lock(&self.desk.refused).clone()
    }

    /// Waits for the notification number `count` (the first is 1).
    pub(super) async fn wait_for(&self, count: usize) -> Result<Notification, Failure> {
        wait_until(&format!("notification {count}"), PAYMENT_TIMEOUT, async || {
            let taken = self.taken();
            Ok(match taken.get(count - 1) {
                Some(notification) => Seen::Done(notification.clone()),
                None => Seen::NotYet(format!("{taken:?}, refused: {:?}", self.refused())),
            })
        })
        .await
    }

    /// Waits until something was refused for this reason.
    pub(super) async fn wait_for_refusal(&self, why: &str) -> Result<(), Failure> {
        wait_until(&format!("a refusal: {why}"), PAYMENT_TIMEOUT, async || {
            let refused = self.refused();
            Ok(if refused.iter().any(|found| found == why) {
                Seen::Done(())
            } else {
                Seen::NotYet(format!("{refused:?}"))
            })
        })
        .await
    }

    /// Somebody else sends a notification: the answer's status.
    pub(super) async fn post(&self, notification: &Notification) -> Result<u16, Failure> {
        let failure =
            |source| Failure::RpcTransport { method: "a notification by a stranger".to_owned(), source };
        let root = reqwest::Certificate::from_pem(self.authority.pem().as_bytes()).map_err(failure)?;
        let client =
            reqwest::Client::builder().no_proxy().tls_certs_merge([root]).build().map_err(failure)?;
        let request = client
            .post(self.url())
            .header("content-type", "application/json")
            .header("x-lsps5-timestamp", &notification.timestamp)
            .header("x-lsps5-signature", &notification.signature)
            .body(notification.body.clone());
        Ok(request.send().await.map_err(failure)?.status().as_u16())
    }
}

impl Desk {
    fn receive(&self, request: &Request) -> Answer {
        match self.check(request) {
            Ok(notification) => {
                lock(&self.taken).push(notification);
                Answer::new(200, "")
            }
            Err((status, why)) => {
                lock(&self.refused).push(why.clone());
                Answer::new(status, why)
            }
        }
    }

    fn check(&self, request: &Request) -> Result<Notification, (u16, String)> {
        if request.method != "POST" || request.path != PATH {
            return Err((404, format!("{} {}", request.method, request.path)));
        }
        if self.closed.load(Ordering::Relaxed) {
            return Err((503, "closed".to_owned()));
        }
        let timestamp = request.header("x-lsps5-timestamp").to_owned();
        let signature = request.header("x-lsps5-signature").to_owned();
        if self.to_the_letter.load(Ordering::Relaxed) && !is_to_the_letter(&timestamp) {
            return Err((400, format!("timestamp {timestamp}")));
        }
        let body = String::from_utf8(request.body.to_vec()).map_err(|_| (400, "not UTF-8".to_owned()))?;
        let reason = self
            .ours
            .check(&timestamp, &signature, &body, system_clock()())
            .map_err(|error| (403, error.to_string()))?;
        if !is_to_the_letter(&timestamp) {
            self.stock_check(&timestamp, &signature, &body).map_err(|why| (500, why))?;
        }
        Ok(Notification { reason, timestamp, signature, body })
    }

    /// What a company does that uses `lightning-liquidity` as it is.
    fn stock_check(&self, timestamp: &str, signature: &str, body: &str) -> Result<(), String> {
        let time = timestamp.parse().map_err(|()| "stock LDK cannot read the timestamp".to_owned())?;
        let notification: WebhookNotification =
            serde_json::from_str(body).map_err(|error| error.to_string())?;
        let checked = self.stock.validate(self.lsp, &time, signature, &notification);
        checked.map(drop).map_err(|error| format!("stock LDK says {error:?}"))
    }
}

/// `YYYY-MM-DDThh:mm:ss.uuuZ`
pub(super) fn is_to_the_letter(timestamp: &str) -> bool {
    timestamp.len() == "2026-11-21T09:30:00.000Z".len() && timestamp.ends_with('Z')
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
