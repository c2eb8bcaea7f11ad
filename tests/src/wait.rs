//! Waiting for conditions.

use std::time::{Duration, Instant};

use crate::failure::Failure;

/// How often a condition is looked at.
const INTERVAL: Duration = Duration::from_millis(50);

/// How long anything is waited for that should be there at once, on a machine that may be busy.
pub const SOON: Duration = Duration::from_secs(60);

/// What a look at the world brought.
#[derive(Debug)]
pub enum Seen<T> {
    /// What was waited for.
    Done(T),
    /// Something else: shown if waiting is given up.
    NotYet(String),
}

/// Looks again and again until the condition holds.
///
/// # Errors
///
/// When it does not within `timeout`, or when looking fails.
pub async fn wait_until<T>(
    what: &str,
    timeout: Duration,
    mut look: impl AsyncFnMut() -> Result<Seen<T>, Failure>,
) -> Result<T, Failure> {
    let start = Instant::now();
    loop {
        match look().await? {
            Seen::Done(value) => return Ok(value),
            Seen::NotYet(last) if start.elapsed() >= timeout => {
                return Err(Failure::Timeout { what: what.to_owned(), timeout, last: Some(last) });
            }
            Seen::NotYet(_) => tokio::time::sleep(INTERVAL).await,
        }
    }
}
