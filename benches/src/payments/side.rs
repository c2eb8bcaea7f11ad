//! One LSP with its phones, and runs of payments through it.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use protocol::units::Msat;
use tests::bitcoind::Bitcoind;
use tests::failure::Failure;
use tests::wait::{SOON, Seen, wait_until};

use super::payment::{self, Outcome, Times};
use super::phone::{Line, Phone};
use crate::lsp::Lsp;
use crate::usage::Usage;

/// Channels on each side of the LSP: one for each phone.
pub(crate) const CHANNELS_PER_SIDE: usize = 5;
/// Each channel, in satoshi.
const CAPACITY_SAT: u64 = 16_000_000;
/// What the side that did not open a channel has from the start where it needs nothing.
const SMALL_SHARE: Msat = Msat(400_000_000);
/// What the LSP has from the start where it needs all.
const LARGE_SHARE: Msat = Msat(15_000_000_000);
const CONFIRMATIONS: u32 = 6;
/// An LSP is at rest when it has written nothing for so long.
const REST: Duration = Duration::from_millis(400);
/// How often a payment that failed is tried again, with a new invoice.
const ATTEMPTS_MAX: usize = 20;

/// An LSP and its phones.
pub(crate) struct Side {
    pub(crate) lsp: Lsp,
    pub(crate) payers: Vec<Arc<Phone>>,
    pub(crate) payees: Vec<Arc<Phone>>,
}

/// What is done with every payment of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Held, released, settled.
    Held,
    /// Forwarded at once.
    Plain,
}

/// One run of payments.
#[derive(Clone, Debug, Default)]
pub(crate) struct Run {
    pub(crate) payments: usize,
    /// Attempts that failed and were made again.
    pub(crate) failed: usize,
    /// From the first payment's start to the last one's end for its payer.
    pub(crate) elapsed: Duration,
    pub(crate) usage: Usage,
    pub(crate) times: Vec<Times>,
}

impl Side {
    /// Phones with channels for an LSP. `name` makes them different from another side's.
    pub(crate) async fn new(
        name: &str,
        lsp: Lsp,
        folder: &Path,
        bitcoind: &Bitcoind,
    ) -> Result<Self, Failure> {
        let line = Line { folder, bitcoind, lsp: lsp.node_id, address: lsp.listen };
        let (mut payers, mut payees) = (Vec::new(), Vec::new());
        for number in 0..CHANNELS_PER_SIDE {
            payers.push(Arc::new(Phone::online(&format!("{name} payer {number}"), &line).await?));
            payees.push(Arc::new(Phone::online(&format!("{name} payee {number}"), &line).await?));
        }
        let side = Self { lsp, payers, payees };
        for phone in side.payers.iter().chain(&side.payees) {
            phone.fund(bitcoind, CAPACITY_SAT).await?;
        }
        bitcoind.mine(1).await?;
        for payer in &side.payers {
            payer.open(CAPACITY_SAT, SMALL_SHARE).await?;
        }
        for payee in &side.payees {
            payee.open(CAPACITY_SAT, LARGE_SHARE).await?;
        }
        bitcoind.wait_for_transactions(2 * CHANNELS_PER_SIDE).await?;
        bitcoind.mine(CONFIRMATIONS).await?;
        for phone in side.payers.iter().chain(&side.payees) {
            phone.wait_for_channel().await?;
        }
        Ok(side)
    }

    /// Waits until no phone has an HTLC and the LSP writes nothing.
    pub(crate) async fn rest(&self) -> Result<(), Failure> {
        wait_until("the payments to be off every channel", SOON, async || {
            let busy = self.payers.iter().chain(&self.payees).filter(|phone| phone.node.has_pending_htlcs());
            let busy = busy.count();
            Ok(if busy == 0 { Seen::Done(()) } else { Seen::NotYet(format!("{busy} phones are busy")) })
        })
        .await?;
        let mut seen = (self.lsp.durable()?, Instant::now());
        wait_until("the LSP to rest", SOON, async || {
            let now = self.lsp.durable()?;
            if now != seen.0 {
                seen = (now, Instant::now());
            }
            Ok(if seen.1.elapsed() >= REST { Seen::Done(()) } else { Seen::NotYet(format!("{now:?}")) })
        })
        .await
    }

    /// Makes `payments` payments, of which `concurrent` are under way at any time.
    pub(crate) async fn run(&self, kind: Kind, concurrent: usize, payments: usize) -> Result<Run, Failure> {
        self.rest().await?;
        let before = self.lsp.usage().await?;
        let next = AtomicUsize::new(0);
        let failed = AtomicUsize::new(0);
        let started = Instant::now();
        let lanes = (0..concurrent).map(|lane| {
            // Every payer pays every payee.
            let payee = (lane + lane / CHANNELS_PER_SIDE) % CHANNELS_PER_SIDE;
            let (payer, payee) = (&self.payers[lane % CHANNELS_PER_SIDE], &self.payees[payee]);
            let (next, failed) = (&next, &failed);
            async move {
                let mut times = Vec::new();
                while next.fetch_add(1, Ordering::Relaxed) < payments {
                    times.push(pay(kind, payer, payee, failed).await?);
                }
                Ok::<_, Failure>(times)
            }
        });
        let times = futures::future::try_join_all(lanes).await?.concat();
        let elapsed = started.elapsed();
        self.rest().await?;
        let usage = self.lsp.usage().await?.since(before);
        Ok(Run { payments, failed: failed.into_inner(), elapsed, usage, times })
    }

    /// Ends everybody.
    pub(crate) async fn finish(self) -> Result<(), Failure> {
        for phone in self.payers.into_iter().chain(self.payees) {
            if let Ok(phone) = Arc::try_unwrap(phone) {
                phone.go_offline().await;
            }
        }
        self.lsp.stop().await
    }
}

async fn pay(kind: Kind, payer: &Phone, payee: &Phone, failed: &AtomicUsize) -> Result<Times, Failure> {
    let mut last = String::new();
    for _ in 0..ATTEMPTS_MAX {
        let outcome = match kind {
            Kind::Held => payment::held(payer, payee).await?,
            Kind::Plain => payment::plain(payer, payee).await?,
        };
        match outcome {
            Outcome::Paid(times) => return Ok(times),
            Outcome::Failed(reason) => last = reason,
        }
        failed.fetch_add(1, Ordering::Relaxed);
    }
    Err(Failure::wrong(format!("a payment failed {ATTEMPTS_MAX} times: {last}")))
}
