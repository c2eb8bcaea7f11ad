//! The bounds of the driver.

use protocol::deadline::HoldLimits;
use protocol::units::Msat;
use protocol::wire::PAYMENT_HASHES_MAX;

/// The bounds of what is held, kept and waited for. See `docs/reliability/limits.md`.
#[derive(Clone, Debug)]
pub struct PaymentLimits {
    /// Shortest and longest hold, in blocks.
    pub hold: HoldLimits,
    /// Live holds in all.
    pub holds_max: u64,
    /// Live holds per payer.
    pub holds_per_peer_max: u64,
    /// Holds of one payer that are remembered, live or over.
    pub holds_kept_per_peer_max: u64,
    /// How long a hold that is over is remembered, in days.
    pub ended_days_kept: u64,
    /// Payment hashes of one hold.
    pub hashes_per_hold_max: usize,
    /// HTLCs that may come under one hold, one after the other.
    pub parts_per_hold_max: u64,
    /// HTLCs held in all.
    pub held_htlcs_max: u64,
    /// Their sum.
    pub held_max: Msat,
    /// HTLCs held per payer.
    pub held_htlcs_per_peer_max: u64,
    /// Their sum per payer.
    pub held_per_peer_max: Msat,
    /// A part below this cannot be claimed on chain at a profit.
    pub hold_part_min: Msat,
    /// The longest payment_pending that is kept, in bytes.
    pub pending_bytes_max: usize,
    /// How long an HTLC for an offline payee waits, in seconds.
    pub payee_wait_secs: u64,
    /// HTLCs that wait for offline payees at once.
    pub payee_waits_max: usize,
    /// HTLCs that wait for one offline payee at once.
    pub payee_waits_per_payee_max: usize,
    /// Payments of strangers that one phone is woken for at once.
    pub stranger_wakes_per_node_max: u32,
}

impl Default for PaymentLimits {
    fn default() -> Self {
        Self {
            hold: HoldLimits::default(),
            holds_max: 20_000,
            holds_per_peer_max: 100,
            holds_kept_per_peer_max: 10_000,
            ended_days_kept: 90,
            hashes_per_hold_max: PAYMENT_HASHES_MAX,
            parts_per_hold_max: 600,
            held_htlcs_max: 10_000,
            held_max: Msat(10_000_000_000_000),
            held_htlcs_per_peer_max: 200,
            held_per_peer_max: Msat(10_000_000_000),
            hold_part_min: Msat(1_000_000),
            pending_bytes_max: 33_000,
            payee_wait_secs: 60,
            payee_waits_max: 1_000,
            payee_waits_per_payee_max: 50,
            stranger_wakes_per_node_max: 16,
        }
    }
}
