//! Challenges that were answered, until they expire: none is answered twice.

use storage::{StorageError, Tx};

use super::devices::DeviceLimits;

/// The most used challenges that one registration tidies away.
const TIDIED_CHALLENGES_MAX: u32 = 100;

/// A challenge that a node has answered with its signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answered {
    /// The challenge.
    pub challenge: Vec<u8>,
    /// When it expires, in seconds since 1970: the same for the same challenge.
    pub expires_at: u64,
    /// Now, in seconds since 1970.
    pub now_unix: u64,
}

/// How it is known that a node itself registers a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Proof {
    /// It signed, with a challenge that is used up by it.
    Signed(Answered),
    /// It is the peer of the Lightning connection that asked for it at this time, in seconds since 1970.
    Connection(u64),
}

impl Proof {
    /// When the device was registered, in seconds since 1970.
    pub fn now_unix(&self) -> u64 {
        match self {
            Self::Signed(answered) => answered.now_unix,
            Self::Connection(now_unix) => *now_unix,
        }
    }
}

/// Why an answered challenge is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChallengeRefused {
    /// It was answered before.
    #[error("the challenge was used before: ask for a new one")]
    Used,
    /// [`DeviceLimits::used_challenges_max`]
    #[error("too many challenges were answered in the last minutes: try again in a minute")]
    TooMany,
}

/// Uses a challenge up. `Ok(Err(..))` if that cannot be. Costs the same however many were used.
///
/// # Errors
/// When the database fails.
pub async fn use_challenge(
    tx: &mut Tx,
    answered: &Answered,
    limits: &DeviceLimits,
) -> Result<Result<(), ChallengeRefused>, StorageError> {
    let found = tx
        .fetch_one(
            "SELECT COALESCE((SELECT n FROM kept_count WHERE of_what = 'used_challenge' AND n >= 0), \
             (SELECT COUNT(*) FROM used_challenge)) AS used, (SELECT MIN(expires_at) FROM used_challenge) AS oldest",
            &[],
        )
        .await?;
    let mut used = found.get_u64("used")?;
    if found
        .opt_i64("oldest")?
        .is_some_and(|oldest| u64::try_from(oldest).map_or(true, |at| at <= answered.now_unix))
    {
        let tidied = tx
            .execute(
                "DELETE FROM used_challenge WHERE (expires_at, challenge) IN \
                 (SELECT expires_at, challenge FROM used_challenge WHERE expires_at <= $1 ORDER BY expires_at LIMIT $2)",
                &[answered.now_unix.try_into()?, TIDIED_CHALLENGES_MAX.into()],
            )
            .await?;
        used = used.saturating_sub(tidied);
    }
    if used >= u64::from(limits.used_challenges_max) {
        return Ok(Err(ChallengeRefused::TooMany));
    }
    let used = tx
        .execute(
            "INSERT INTO used_challenge (expires_at, challenge) VALUES ($1, $2) ON CONFLICT (expires_at, challenge) DO NOTHING",
            &[storage::Value::try_from(answered.expires_at)?, (&answered.challenge).into()],
        )
        .await?;
    Ok(if used == 0 { Err(ChallengeRefused::Used) } else { Ok(()) })
}
