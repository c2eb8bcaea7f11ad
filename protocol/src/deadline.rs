//! Time locks: how long the LSP may hold, in blocks, and what that is in hours.
//!
//! Onion expiries are absolute, so every block held is one that the later hops lose. The payer knows its route and
//! computes the deadline ([`hold_deadline`]); its LSP grants no more than its own limits ([`grant`]) and checks each part
//! as it comes ([`part_fits`]).

use crate::units::BlockHeight;

/// LDK fails an intercepted HTLC by itself at `height >= outgoing_cltv - 39` (its `HTLC_FAIL_BACK_BUFFER`), in blocks.
pub const LDK_FAIL_BLOCKS: u32 = 39;
/// What an LDK payee wants left until the HTLC expires, in blocks: it accepts 41 and refuses 40.
pub const PAYEE_FINAL_BLOCKS: u32 = 41;
/// Room between the deadline and the last height at which a released part still arrives, in blocks.
pub const MARGIN: u32 = 6;
/// The least number of blocks worth holding for.
pub const HOLD_BLOCKS_MIN: u32 = 1;
/// How long an LSP holds by default at most, in blocks: a week.
pub const HOLD_BLOCKS_MAX: u32 = 1_008;
/// How far in the future an LDK first hop lets an HTLC expire (its `CLTV_FAR_FAR_AWAY`), in blocks.
pub const FIRST_HOP_BLOCKS_MAX: u32 = 2_016;
/// The default `cltv_expiry_delta` of an LSP, in blocks. Large, since it bounds the time in which a payer must come to
/// take a settled HTLC off its channel.
pub const CLTV_EXPIRY_DELTA: u32 = 144;
/// LDK closes the payer's channel this many blocks before a claimed HTLC expires on it (its `CLTV_CLAIM_BUFFER`).
pub const SETTLE_BLOCKS: u32 = 36;
/// A settle window of this many blocks or fewer is worth an `expiry_soon` wake: half of what is left by default.
pub const EXPIRY_SOON_BLOCKS: u32 = 54;

/// So many blocks before a hold's deadline its payer is woken if anything is still held, so that the phone is there, or has just
/// been, when the HTLCs come back.
pub const DEADLINE_NEAR_BLOCKS: u32 = 2;
/// A settle window of this many blocks or fewer is an alarm for the operator: about six hours until LDK closes the channel of a
/// phone that does not come. Above it the wakes have had at least as long again.
pub const CLOSE_ALARM_BLOCKS: u32 = 36;

/// What an LSP grants, in blocks from now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HoldLimits {
    /// The shortest hold.
    pub hold_blocks_min: u32,
    /// The longest hold; a later deadline is cut down to it.
    pub hold_blocks_max: u32,
}

impl Default for HoldLimits {
    fn default() -> Self {
        Self { hold_blocks_min: HOLD_BLOCKS_MIN, hold_blocks_max: HOLD_BLOCKS_MAX }
    }
}

/// A deadline that cannot be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeadlineError {
    /// Passed, or about to pass.
    #[error("deadline {deadline} is too soon: the earliest is {earliest}")]
    TooSoon {
        /// What was asked for.
        deadline: BlockHeight,
        /// The earliest that is granted.
        earliest: BlockHeight,
    },
    /// No HTLC can be held that long.
    #[error("deadline {deadline} is too late: no first hop accepts an HTLC that expires after {latest}")]
    TooLate {
        /// What was asked for.
        deadline: BlockHeight,
        /// The latest that makes sense.
        latest: BlockHeight,
    },
    /// The payee would refuse the payment, because its invoice has expired by then.
    #[error("the hold can last {hold_seconds_max} s, and the invoice expires in {invoice_seconds} s")]
    OutlastsInvoice {
        /// How long the hold lasts if blocks are slow, in seconds.
        hold_seconds_max: u64,
        /// How long the invoice is still good, in seconds.
        invoice_seconds: u64,
    },
}

/// The last height at which a hold can be released and the payment still arrives, less `margin` blocks.
///
/// `outgoing_cltv` is the absolute expiry of the HTLC that the payer's LSP forwards, `downstream_deltas` the sum of the
/// `cltv_expiry_delta`s of the hops after it, and `invoice_min_final` the invoice's `min_final_cltv_expiry_delta`.
/// Zero if there is no such height.
pub fn hold_deadline(
    outgoing_cltv: BlockHeight,
    downstream_deltas: u32,
    invoice_min_final: u32,
    margin: u32,
) -> BlockHeight {
    outgoing_cltv.minus(downstream_deltas).minus(invoice_min_final.max(PAYEE_FINAL_BLOCKS)).minus(margin)
}

/// The other way round: how many blocks before its expiry the payee must get the HTLC, if the payer wants to be able to
/// hold for `hold_blocks`: the final CLTV delta that it pays with. Saturates.
pub fn final_cltv_delta(hold_blocks: u32, invoice_min_final: u32, margin: u32) -> u32 {
    invoice_min_final.max(PAYEE_FINAL_BLOCKS).saturating_add(margin).saturating_add(hold_blocks)
}

/// The deadline that is granted: what was asked for, or the LSP's own limit if that is sooner.
pub fn grant(
    requested: BlockHeight,
    now: BlockHeight,
    limits: HoldLimits,
) -> Result<BlockHeight, DeadlineError> {
    let earliest = now.plus(limits.hold_blocks_min.max(1));
    let latest = now.plus(FIRST_HOP_BLOCKS_MAX);
    if requested < earliest {
        return Err(DeadlineError::TooSoon { deadline: requested, earliest });
    }
    if requested > latest {
        return Err(DeadlineError::TooLate { deadline: requested, latest });
    }
    Ok(requested.min(now.plus(limits.hold_blocks_max.max(limits.hold_blocks_min).max(1))))
}

/// Whether a part can be held until `deadline` and then still be released: `deadline <= outgoing_expiry - 41 - margin`.
/// This also keeps the deadline before the height at which LDK fails the part by itself.
pub fn part_fits(deadline: BlockHeight, outgoing_expiry: BlockHeight, margin: u32) -> bool {
    let needed = u64::from(deadline.0) + u64::from(PAYEE_FINAL_BLOCKS) + u64::from(margin);
    needed <= u64::from(outgoing_expiry.0)
}

/// The blocks left until LDK closes the payer's channel to claim an HTLC that expires there at `inbound_expiry`. Zero
/// once it may.
pub fn settle_window(inbound_expiry: BlockHeight, now: BlockHeight) -> u32 {
    now.blocks_until(inbound_expiry.minus(SETTLE_BLOCKS))
}

/// The shortest and the longest time, in seconds, that so many blocks take: a tenth off the ten minutes each (the
/// difficulty lags by up to two weeks), and six standard deviations of a Poisson process.
pub fn block_seconds(blocks: u32) -> (u64, u64) {
    let blocks = u64::from(blocks);
    // The deviation of n blocks is 600 * sqrt(n); rooted as a whole, and rounded up.
    let spread = (blocks * 36 * 600 * 600).isqrt() + u64::from(blocks > 0);
    ((blocks * 540).saturating_sub(spread), blocks * 660 + spread)
}

/// Whether an invoice that expires at `invoice_expires_unix` (seconds since 1970) outlives a hold that ends at
/// `deadline`, even if blocks are slow. Payees check it against block time, which may run ahead of the clock by two hours;
/// LDK's payees grant those two hours.
pub fn check_invoice(
    deadline: BlockHeight,
    now: BlockHeight,
    now_unix: u64,
    invoice_expires_unix: u64,
) -> Result<(), DeadlineError> {
    let (_, hold_seconds_max) = block_seconds(now.blocks_until(deadline));
    let invoice_seconds = invoice_expires_unix.saturating_sub(now_unix);
    if hold_seconds_max < invoice_seconds {
        Ok(())
    } else {
        Err(DeadlineError::OutlastsInvoice { hold_seconds_max, invoice_seconds })
    }
}

#[cfg(test)]
mod tests;
