//! Everybody in a story, some of whom die.

use std::time::{Duration, Instant};

use super::stories::STORY_TIMEOUT;
use crate::bitcoind::Bitcoind;
use crate::doom::Fate;
use crate::failure::Failure;
use crate::lsp::Lsp;
use crate::phone::Phone;
use crate::stage::Providers;
use crate::wait::{Seen, wait_until};

/// How often it is looked whether a phone's wallet died.
const NURSE_INTERVAL: Duration = Duration::from_millis(200);

pub(super) struct World<'a> {
    pub(super) bitcoind: &'a Bitcoind,
    pub(super) payers_lsp: &'a Lsp,
    pub(super) payees_lsp: &'a Lsp,
    /// For a story in which it is off for a while.
    pub(super) payees_fate: &'a Fate,
    pub(super) payer: &'a Phone,
    pub(super) payee: &'a Phone,
    /// Unless the phones have webhooks.
    pub(super) providers: Option<&'a Providers>,
    /// How long a phone whose wallet died waits for a push before its user opens the app.
    pub(super) patience: Duration,
}

impl World<'_> {
    /// Opens the app of a phone whose wallet died, unless a push does it first. Never ends.
    pub(super) async fn nurse(&self, phone: &Phone) -> std::convert::Infallible {
        let fate = phone.wallet().fate();
        let (mut nursed, mut died_at) = (fate.deaths(), None::<(Instant, usize)>);
        loop {
            tokio::time::sleep(NURSE_INTERVAL).await;
            if phone.is_busy() || !phone.has_coverage() || fate.deaths() == nursed {
                continue;
            }
            let wakes = phone.wakes().len();
            let (since, wakes_then) = *died_at.get_or_insert((Instant::now(), wakes));
            if wakes > wakes_then {
                (nursed, died_at) = (fate.deaths(), None);
            } else if since.elapsed() >= self.patience {
                let deaths = fate.deaths();
                if let Ok(run) = phone.follow(&["wake"], |_| ()).await
                    && run.success
                {
                    nursed = deaths;
                }
                died_at = None;
            }
        }
    }

    /// Until both LSPs have seen this block, whoever of them dies at it.
    pub(super) async fn wait_for_the_lsps(&self, height: u32) -> Result<(), Failure> {
        wait_until(&format!("both LSPs to be at height {height}"), STORY_TIMEOUT, async || {
            let heights =
                async { Ok((self.payers_lsp.info().await?.height, self.payees_lsp.info().await?.height)) };
            let heights: Result<_, Failure> = heights.await;
            Ok::<_, Failure>(match heights {
                Ok((a, b)) if a.0 >= height && b.0 >= height => Seen::Done(()),
                Ok((a, b)) => Seen::NotYet(format!("{a} and {b}")),
                // It may be starting.
                Err(error) => Seen::NotYet(xtask::with_causes(&error)),
            })
        })
        .await
    }

    /// Until no hold is live and no HTLC is left.
    pub(super) async fn wait_for_the_end(&self, payment_hash: &str) -> Result<(), Failure> {
        wait_until(&format!("the payment {payment_hash} to end"), STORY_TIMEOUT, async || {
            let mut seen = Vec::new();
            for lsp in [self.payers_lsp, self.payees_lsp] {
                match look(lsp).await {
                    Ok(None) => {}
                    Ok(Some(left)) => seen.push(format!("{}: {left}", lsp.name())),
                    // It may be starting.
                    Err(error) => seen.push(xtask::with_causes(&error)),
                }
            }
            Ok::<_, Failure>(if seen.is_empty() { Seen::Done(()) } else { Seen::NotYet(seen.join("; ")) })
        })
        .await
    }
}

/// What is under way at an LSP.
async fn look(lsp: &Lsp) -> Result<Option<String>, Failure> {
    let holds = lsp.holds().await?;
    let channels = lsp.channels().await?;
    let htlcs: usize =
        channels.iter().map(|channel| channel.pending_inbound_htlcs + channel.pending_outbound_htlcs).sum();
    let quiet = holds.is_empty() && htlcs == 0;
    Ok((!quiet).then(|| format!("{htlcs} HTLCs, {holds:?}")))
}
