//! Fee estimates for LDK.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use lightning::chain::chaininterface::{ConfirmationTarget, FEERATE_FLOOR_SATS_PER_KW, FeeEstimator};

use super::ChainClient;
use crate::config::FEE_REFRESH_INTERVAL;

/// Target in blocks, and the rate in satoshi per 1000 weight units while bitcoind has no estimate (a young chain).
const TARGETS: [(ConfirmationTarget, u16, u32); 8] = [
    (ConfirmationTarget::MaximumFeeEstimate, 1, 8_000),
    (ConfirmationTarget::UrgentOnChainSweep, 6, 5_000),
    (ConfirmationTarget::MinAllowedAnchorChannelRemoteFee, 1_008, FEERATE_FLOOR_SATS_PER_KW),
    (ConfirmationTarget::MinAllowedNonAnchorChannelRemoteFee, 144, FEERATE_FLOOR_SATS_PER_KW),
    (ConfirmationTarget::AnchorChannelFee, 1_008, 500),
    (ConfirmationTarget::NonAnchorChannelFee, 12, 1_000),
    (ConfirmationTarget::ChannelCloseMinimum, 144, 500),
    (ConfirmationTarget::OutputSpendingFee, 12, 1_000),
];

/// A peer's view of the minimum may lag behind ours: accept half of our estimate.
const MIN_ALLOWED_DIVISOR: u32 = 2;

/// The newest estimates; LDK asks synchronously.
#[derive(Default)]
pub(crate) struct Fees {
    rates: RwLock<HashMap<ConfirmationTarget, u32>>,
}

impl Fees {
    /// Asks bitcoind for every target. An unreachable bitcoind leaves the last estimates in place.
    pub(crate) async fn refresh(&self, client: &ChainClient) {
        for (target, blocks, fallback) in TARGETS {
            match client.estimate_sat_per_kw(blocks).await {
                Ok(estimate) => {
                    let rate = match (target, estimate) {
                        (ConfirmationTarget::MinAllowedAnchorChannelRemoteFee, Some(rate))
                        | (ConfirmationTarget::MinAllowedNonAnchorChannelRemoteFee, Some(rate)) => {
                            rate / MIN_ALLOWED_DIVISOR
                        }
                        (_, Some(rate)) => rate,
                        (_, None) => fallback,
                    };
                    let mut rates = self.rates.write().unwrap_or_else(PoisonError::into_inner);
                    rates.insert(target, rate.max(FEERATE_FLOOR_SATS_PER_KW));
                }
                Err(error) => {
                    tracing::warn!(%error, "no fee estimate from bitcoind; the last one stays");
                    return;
                }
            }
        }
    }
}

impl FeeEstimator for Fees {
    fn get_est_sat_per_1000_weight(&self, target: ConfirmationTarget) -> u32 {
        let rates = self.rates.read().unwrap_or_else(PoisonError::into_inner);
        rates.get(&target).copied().unwrap_or_else(|| {
            TARGETS
                .iter()
                .find(|(known, ..)| *known == target)
                .map_or(FEERATE_FLOOR_SATS_PER_KW, |(_, _, fallback)| *fallback)
        })
    }
}

/// Refreshes the estimates for ever.
pub(crate) async fn run_fee_refresh(fees: Arc<Fees>, client: Arc<ChainClient>) {
    loop {
        tokio::time::sleep(FEE_REFRESH_INTERVAL).await;
        fees.refresh(&client).await;
    }
}
