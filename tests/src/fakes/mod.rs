//! Apple's and Google's push services, as strict as the real ones: TLS with an authority of their own, HTTP/2, tokens that
//! are verified, every field looked at. They can be told to fail in every way that the real ones do.

pub mod apns;
pub mod authority;
pub mod fcm;
mod jwt;
pub mod server;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use serde_json::Value;

use self::server::Request;

/// A push that a fake took, and would bring to its device.
#[derive(Clone, Debug)]
pub struct Taken {
    /// When.
    pub at: Instant,
    /// To which device.
    pub token: String,
    /// What the app finds under `push`, or `notification_payload`.
    pub push: String,
    /// The whole request.
    pub request: Request,
}

impl Taken {
    /// What the request carried. Nothing is taken that is no JSON.
    pub fn body(&self) -> Value {
        serde_json::from_slice(&self.request.body).unwrap_or_default()
    }
}

/// When what an app gets is of no use any more, in seconds since 1970, if it can be read.
fn expiry_of(push: &str) -> Option<u64> {
    serde_json::from_str::<Value>(push).ok()?["expires_at"].as_u64()
}

type Phone = Box<dyn Fn(&Taken) + Send + Sync>;

/// The devices that a fake knows, and what it took for them.
#[derive(Default)]
struct Devices {
    /// By token.
    phones: Mutex<HashMap<String, Option<Phone>>>,
    taken: Mutex<Vec<Taken>>,
    late: Mutex<Vec<String>>,
}

impl Devices {
    fn add(&self, token: &str, phone: Option<Phone>) {
        lock(&self.phones).insert(token.to_owned(), phone);
    }

    fn remove(&self, token: &str) {
        lock(&self.phones).remove(token);
    }

    fn knows(&self, token: &str) -> bool {
        lock(&self.phones).contains_key(token)
    }

    fn take(&self, taken: Taken) {
        if let Some(Some(phone)) = lock(&self.phones).get(&taken.token) {
            phone(&taken);
        }
        lock(&self.taken).push(taken);
    }

    /// Notes a push that came when its time was over, taken or not.
    fn note_late(&self, what: String) {
        lock(&self.late).push(what);
    }

    fn late(&self) -> Vec<String> {
        lock(&self.late).clone()
    }

    fn taken(&self) -> Vec<Taken> {
        lock(&self.taken).clone()
    }

    fn taken_count(&self) -> usize {
        lock(&self.taken).len()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Every change is a single step, so a panic elsewhere leaves nothing half done.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The time that a fake goes by, in seconds since 1970. A test may be elsewhere in time.
pub type Clock = Arc<dyn Fn() -> u64 + Send + Sync>;

/// The time of this machine.
pub fn system_clock() -> Clock {
    Arc::new(|| SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_secs()))
}
