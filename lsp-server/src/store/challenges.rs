//! Challenges that were answered, until they expire: none is answered twice.

#[cfg(test)]
mod tests;

use bitcoin::secp256k1::PublicKey;
use storage::{StorageError, Tx, Value};

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

/// Who answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answerer {
    /// Its signature is by this key.
    pub node_id: PublicKey,
    /// It has a channel here: there is room for such nodes that no other can use up.
    pub has_channel: bool,
}

/// Why an answered challenge is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChallengeRefused {
    /// It was answered before.
    #[error("the challenge was used before: ask for a new one")]
    Used,
    /// [`DeviceLimits::used_challenges_per_node_max`]
    #[error(
        "this node has signed {0} requests in the last minutes, as many as it may: try again in a few minutes"
    )]
    TooManyOfNode(u32),
    /// [`DeviceLimits::used_challenges_without_channel_max`]
    #[error(
        "nodes without a channel here have signed too many requests in the last minutes: try again in a few minutes"
    )]
    TooManyWithoutChannel,
    /// [`DeviceLimits::used_challenges_max`]
    #[error("too many challenges were answered in the last minutes: try again in a minute")]
    TooMany,
}

/// Uses a challenge up. `Ok(Err(..))` if that cannot be. Costs the same however many others used.
///
/// # Errors
/// When the database fails.
pub async fn use_challenge(
    tx: &mut Tx,
    answered: &Answered,
    answerer: Answerer,
    limits: &DeviceLimits,
) -> Result<Result<(), ChallengeRefused>, StorageError> {
    let (count, max, full) = match answerer.has_channel {
        true => ("used_challenge", limits.used_challenges_max, ChallengeRefused::TooMany),
        false => (
            "used_challenge_without_channel",
            limits.used_challenges_without_channel_max,
            ChallengeRefused::TooManyWithoutChannel,
        ),
    };
    let has_channel = Value::from(i64::from(answerer.has_channel));
    let node_id = Value::from(answerer.node_id.serialize());
    let now = Value::try_from(answered.now_unix)?;
    let found = tx
        .fetch_one(
            "SELECT COALESCE((SELECT n FROM kept_count WHERE of_what = $1 AND n >= 0), \
             (SELECT COUNT(*) FROM used_challenge WHERE has_channel = $2)) AS used, \
             (SELECT MIN(expires_at) FROM used_challenge WHERE has_channel = $2) AS oldest, \
             (SELECT COUNT(*) FROM used_challenge WHERE node_id = $3 AND expires_at > $4) AS of_node",
            &[count.into(), has_channel.clone(), node_id.clone(), now.clone()],
        )
        .await?;
    let mut used = found.get_u64("used")?;
    if found
        .opt_i64("oldest")?
        .is_some_and(|oldest| u64::try_from(oldest).map_or(true, |at| at <= answered.now_unix))
    {
        let tidied = tx
            .execute(
                "DELETE FROM used_challenge WHERE (has_channel, expires_at, challenge) IN \
                 (SELECT has_channel, expires_at, challenge FROM used_challenge \
                 WHERE has_channel = $1 AND expires_at <= $2 ORDER BY expires_at LIMIT $3)",
                &[has_channel.clone(), now, TIDIED_CHALLENGES_MAX.into()],
            )
            .await?;
        used = used.saturating_sub(tidied);
    }
    if found.get_u64("of_node")? >= u64::from(limits.used_challenges_per_node_max) {
        return Ok(Err(ChallengeRefused::TooManyOfNode(limits.used_challenges_per_node_max)));
    }
    if used >= u64::from(max) {
        return Ok(Err(full));
    }
    // A node may have come by a channel, or lost it, since it first answered: no matter, it has each of its challenges once.
    let used = tx
        .execute(
            "INSERT INTO used_challenge (has_channel, expires_at, challenge, node_id) VALUES ($1, $2, $3, $4) \
             ON CONFLICT DO NOTHING",
            &[has_channel, answered.expires_at.try_into()?, (&answered.challenge).into(), node_id],
        )
        .await?;
    Ok(if used == 0 { Err(ChallengeRefused::Used) } else { Ok(()) })
}
