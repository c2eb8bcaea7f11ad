//! What is due is claimed, many wakes in one transaction: with one query for all that is to be known about them, and two statements
//! for each that is pushed.

use std::collections::HashSet;

use bitcoin::hashes::{Hash, HashEngine, sha256};
use bitcoin::secp256k1::PublicKey;
use notifier::{GatewayKind, WakeId};
use protocol::api::ledger::PutOff;
use protocol::wake::WakeReason;
use storage::{Row, StorageError, Tx};

use super::limits::{LEASE_SECONDS, WakeLimits, pushable_at};
use super::{StoreError, node_id, reason};
use crate::store::damage::{id_of, stumbled};
use crate::store::devices::{self, Device};

/// A wake for a phone that is connected is looked at again after this time: it ends when its reason does, and counts
/// again should the phone go before.
const CONNECTED_RECHECK_SECONDS: u64 = 5;

/// A wake whose rows cannot be read is looked at again after this time: an operator may mend them.
const BROKEN_RECHECK_SECONDS: u64 = 600;

/// What [`claim_due`] goes by.
pub struct Claiming<'a> {
    /// Now, in seconds since 1970.
    pub now_unix: u64,
    /// How often one device is pushed.
    pub limits: &'a WakeLimits,
    /// Gateways that have as many pushes under way as they may.
    pub full: &'a [GatewayKind],
    /// Random: the opaque ids of wakes come from it.
    pub seed: [u8; 32],
    /// Whether a phone is here. Must answer at once.
    pub is_connected: &'a (dyn Fn(PublicKey) -> bool + Sync),
}

/// What became of a wake that was due.
#[derive(Debug)]
pub enum Claim {
    /// Send these pushes, then [`finish`](super::finish).
    Push(ClaimedWake),
    /// The node has no device. Nothing happens until one registers.
    NoDevice {
        /// Who should have been woken.
        node_id: PublicKey,
        /// Why.
        reason: WakeReason,
    },
    /// The phone is connected, or all its devices were pushed a moment ago, or their providers asked for a pause.
    Later(PublicKey),
    /// As [`Self::Later`], and one of them has had all pushes that it may have in an hour.
    OverBudget(PublicKey),
    /// All its devices are served by gateways that are full. It waits for this one, and keeps nobody else waiting.
    Waits(GatewayKind),
    /// Another wake of this batch pushes to its devices for the same reason: it is due still.
    Again,
    /// Its time is over, or somebody else has claimed it.
    Over,
    /// Its rows cannot be read. It is put off.
    Damaged {
        /// The row.
        id: i64,
        /// What is wrong.
        error: StoreError,
    },
}

/// A wake with the pushes to send now. The attempts are on record already.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimedWake {
    /// The row.
    pub id: i64,
    /// Who is woken.
    pub node_id: PublicKey,
    /// The id that the pushes carry.
    pub wake_id: WakeId,
    /// Why.
    pub reason: WakeReason,
    /// What it is about.
    pub group: [u8; 32],
    /// When the push becomes pointless, in seconds since 1970.
    pub expires_at: u64,
    /// One for each device.
    pub pushes: Vec<PendingPush>,
    pub(super) step: u32,
    pub(super) attempts: u32,
}

/// One push to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PendingPush {
    pub(super) attempt: i64,
    pub(super) device: Device,
}

impl PendingPush {
    /// Where it goes.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// The device, for the log.
    pub fn device_id(&self) -> devices::DeviceId {
        self.device.device_id
    }
}

/// Each with a row for each of its node's devices, or one without.
const DUE: &str = "SELECT due.id AS id, due.wake_id AS wake_id, due.node_id AS node_id, due.reason AS reason, \
     due.wake_group AS wake_group, due.expires_at AS expires_at, due.step AS step, \
     due.attempts AS attempts, device.device_id AS device_id, device.platform AS platform, \
     device.sealed_token AS sealed_token, device.token_index AS token_index, device.token_key AS token_key, \
     device.registered_at AS registered_at, device.paused_until AS paused_until, \
     device.registrations AS registrations, device.topic AS topic, device.environment AS environment, \
     device.seal_key AS seal_key, \
     (SELECT MAX(sent.sent_at) FROM wake_attempt AS sent WHERE sent.device_id = device.device_id \
     AND sent.reason = due.reason AND sent.wake <> due.id AND sent.sent_at BETWEEN 0 AND $1) AS last_of_others, \
     (SELECT COUNT(*) FROM wake_attempt AS sent WHERE sent.device_id = device.device_id \
     AND sent.reason = due.reason AND sent.sent_at > $4 AND sent.sent_at <= $1) AS sent_in_hour \
     FROM (SELECT id, wake_id, node_id, reason, wake_group, expires_at, due_at, step, attempts FROM wake \
     WHERE state = 'open' AND lane = $2 AND due_at <= $1 ORDER BY due_at LIMIT $3) AS due \
     LEFT JOIN device ON device.node_id = due.node_id \
     ORDER BY due.due_at, due.id, device.registered_at, device.device_id";

/// Claims wakes that are due, the longest due first, at most `wakes_max`: those that wait for no gateway, or those that wait for
/// this one. Each device that may be pushed now and whose gateway is not full gets an attempt on record.
///
/// Nothing may be sent before the commit. A wake whose rows cannot be read is put off, and harms no other.
///
/// # Errors
/// When the database fails.
pub async fn claim_due(
    tx: &mut Tx,
    lane: Option<GatewayKind>,
    wakes_max: u32,
    with: &Claiming<'_>,
) -> Result<Vec<Claim>, StoreError> {
    let rows = tx
        .fetch_all(
            DUE,
            &[
                with.now_unix.try_into()?,
                lane.map_or("", GatewayKind::as_str).into(),
                wakes_max.into(),
                with.now_unix.saturating_sub(super::limits::HOUR_SECONDS).try_into()?,
            ],
        )
        .await?;
    let mut claims = Vec::new();
    let mut pushed = HashSet::new();
    let mut rest = rows.as_slice();
    while let Some(first) = rest.first() {
        let id = first.get_i64("id")?;
        let mut length = 1;
        while let Some(row) = rest.get(length)
            && row.get_i64("id")? == id
        {
            length += 1;
        }
        let (of_wake, others) = rest.split_at(length);
        rest = others;
        let plan = match plan(tx, id, of_wake, &pushed, with).await {
            Ok(plan) => plan,
            Err(error) if error.is_of_a_row() => {
                stumbled("wake", id.to_string(), &error);
                Plan::PutOff {
                    due_at: with.now_unix + BROKEN_RECHECK_SECONDS,
                    why: None,
                    claim: Claim::Damaged { id, error },
                }
            }
            Err(error) => return Err(error),
        };
        claims.push(plan.carry_out(tx, id, &mut pushed, with.now_unix).await?);
    }
    Ok(claims)
}

/// What is to be written for one wake. Whatever can be wrong with its rows was found before.
enum Plan {
    Push { wake: ClaimedWake, devices: Vec<Device> },
    PutOff { due_at: u64, why: Option<PutOff>, claim: Claim },
    Wait(GatewayKind),
    Expire,
    Leave,
}

/// Devices that were pushed in this batch, and what for: what the query said of them is true no more.
type Pushed = HashSet<(devices::DeviceId, WakeReason)>;

async fn plan(
    tx: &mut Tx,
    id: i64,
    rows: &[Row],
    pushed: &Pushed,
    with: &Claiming<'_>,
) -> Result<Plan, StoreError> {
    let (row, now_unix) = (&rows[0], with.now_unix);
    let expires_at = row.get_u64("expires_at")?;
    if expires_at <= now_unix {
        return Ok(Plan::Expire);
    }
    let (node_id, reason) = (node_id(row)?, reason(row)?);
    if (with.is_connected)(node_id) {
        let due_at = now_unix + CONNECTED_RECHECK_SECONDS;
        return Ok(Plan::PutOff { due_at, why: Some(PutOff::Connected), claim: Claim::Later(node_id) });
    }
    let next = |column| {
        let count = row.get_u32(column)?.checked_add(1);
        count.ok_or(StoreError::Column { table: "wake", column })
    };
    let mut wake = ClaimedWake {
        id,
        node_id,
        wake_id: row.opt_array("wake_id")?.map_or_else(|| fresh_id(&with.seed, id), WakeId),
        reason,
        group: row.get_array("wake_group")?,
        expires_at,
        pushes: Vec::new(),
        step: next("step")?,
        attempts: next("attempts")?,
    };

    let (mut ready, mut first) = (Vec::new(), None::<(u64, PutOff)>);
    let (mut over_budget, mut waits_for, mut any) = (false, None, false);
    for row in rows {
        let Some(device) = device(row, node_id)? else { continue };
        any = true;
        if pushed.contains(&(device.device_id, reason)) {
            return Ok(Plan::Leave);
        }
        let (at, why) = pushable_at(tx, row, &device, reason, now_unix, with.limits).await?;
        over_budget |= at > now_unix && why == PutOff::Budget;
        if at > now_unix {
            first = first.filter(|(first_at, _)| *first_at <= at).or(Some((at, why)));
        } else if with.full.contains(&device.target.kind) {
            waits_for.get_or_insert(device.target.kind);
        } else {
            ready.push(device);
        }
    }
    if !ready.is_empty() {
        wake.pushes.reserve(ready.len());
        return Ok(Plan::Push { wake, devices: ready });
    }
    if let Some(kind) = waits_for {
        return Ok(Plan::Wait(kind));
    }
    if !any {
        let claim = Claim::NoDevice { node_id, reason };
        return Ok(Plan::PutOff { due_at: expires_at, why: Some(PutOff::NoDevice), claim });
    }
    let (ready_at, why) = first.unzip();
    let claim = if over_budget { Claim::OverBudget(node_id) } else { Claim::Later(node_id) };
    Ok(Plan::PutOff { due_at: ready_at.unwrap_or(expires_at).min(expires_at), why, claim })
}

/// The row's device, if it has one that can be read.
fn device(row: &Row, node_id: PublicKey) -> Result<Option<Device>, StoreError> {
    match row.opt_blob("device_id") {
        Ok(None) => return Ok(None),
        Ok(Some(_)) | Err(StorageError::Column { .. }) => {}
        Err(error) => return Err(error.into()),
    }
    match Device::owned_by(row, node_id) {
        Ok(device) => Ok(Some(device)),
        Err(error) if error.is_of_a_row() => {
            stumbled("device", id_of(row, "device_id"), &error);
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// As random as the seed, and another for each wake.
fn fresh_id(seed: &[u8; 32], id: i64) -> WakeId {
    let mut engine = sha256::Hash::engine();
    engine.input(seed);
    engine.input(&id.to_be_bytes());
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&sha256::Hash::from_engine(engine).to_byte_array()[..16]);
    WakeId(bytes)
}

impl Plan {
    async fn carry_out(
        self,
        tx: &mut Tx,
        id: i64,
        pushed: &mut Pushed,
        now_unix: u64,
    ) -> Result<Claim, StorageError> {
        match self {
            Self::Push { wake, devices } => {
                pushed.extend(devices.iter().map(|device| (device.device_id, wake.reason)));
                Ok(push(tx, wake, devices, now_unix).await?.map_or(Claim::Over, Claim::Push))
            }
            Self::PutOff { due_at, why, claim } => {
                super::postpone(tx, id, due_at, why).await?;
                Ok(claim)
            }
            Self::Wait(kind) => {
                let sql = "UPDATE wake SET lane = $2, put_off = $3 WHERE id = $1";
                tx.execute(sql, &[id.into(), kind.as_str().into(), PutOff::Lane.as_str().into()]).await?;
                Ok(Claim::Waits(kind))
            }
            Self::Expire => {
                tx.execute("UPDATE wake SET state = 'expired' WHERE id = $1", &[id.into()]).await?;
                Ok(Claim::Over)
            }
            Self::Leave => Ok(Claim::Again),
        }
    }
}

/// Due still: the claim itself says so, since whoever else reads the row meanwhile may have claimed it.
pub(crate) const CLAIM: &str = "UPDATE wake SET wake_id = $2, step = $3, attempts = $4, due_at = $5, under_way = 1, put_off = NULL, lane = '' \
     WHERE id = $1 AND state = 'open' AND due_at <= $6 AND attempts < $4";

async fn push(
    tx: &mut Tx,
    mut wake: ClaimedWake,
    devices: Vec<Device>,
    now_unix: u64,
) -> Result<Option<ClaimedWake>, StorageError> {
    let claimed = tx
        .execute(
            CLAIM,
            &[
                wake.id.into(),
                wake.wake_id.0.into(),
                wake.step.into(),
                wake.attempts.into(),
                (now_unix + LEASE_SECONDS).try_into()?,
                now_unix.try_into()?,
            ],
        )
        .await?;
    if claimed == 0 {
        return Ok(None);
    }
    for device in devices {
        let row = tx
            .fetch_one(
                "INSERT INTO wake_attempt (wake, device_id, platform, reason, sent_at) VALUES ($1, $2, $3, $4, $5) \
                 RETURNING id",
                &[
                    wake.id.into(),
                    device.device_id.0.into(),
                    device.target.kind.as_str().into(),
                    wake.reason.as_str().into(),
                    now_unix.try_into()?,
                ],
            )
            .await?;
        wake.pushes.push(PendingPush { attempt: row.get_i64("id")?, device });
    }
    Ok(Some(wake))
}

/// When the next wake is due that waits for no gateway, in seconds since 1970.
///
/// # Errors
/// When the database fails.
pub async fn next_due(tx: &mut storage::ReadTx, now_unix: u64) -> Result<Option<u64>, StorageError> {
    let row = tx
        .fetch_one(
            "SELECT MIN(due_at) AS due_at FROM wake WHERE state = 'open' AND lane = '' AND due_at > $1",
            &[now_unix.try_into()?],
        )
        .await?;
    row.opt_u64("due_at")
}
