//! A chain, one or two LSPs, a payer's and a payee's phone, and open channels between them.

use std::time::{Duration, Instant};

use crate::bitcoind::Bitcoind;
use crate::failure::Failure;
use crate::folder::Folder;
use crate::logs::Logs;
use crate::lsp::{FeePolicy, Lsp};
use crate::phone::Phone;
#[cfg(feature = "puppet")]
use crate::puppet::{PAYER_CHANNEL_SAT, Puppet};
use crate::wait::{Seen, wait_until};
use crate::wallet::Run;

mod balances;
mod build;
mod keep;
mod providers;

pub use balances::Balances;
pub use keep::Kept;
pub use providers::{APNS_TOKEN, FCM_TOKEN, Providers};

/// How long a payment, or a wake, may take on a machine that may be busy.
pub const PAYMENT_TIMEOUT: Duration = Duration::from_secs(90);

/// What to set up.
#[derive(Clone, Debug)]
pub struct Setup {
    /// One LSP for both phones, or one for each.
    pub lsps: usize,
    /// The payer's channels, in satoshi: all the payer's.
    pub payer_channels_sat: Vec<u64>,
    /// The payee's channel, in satoshi.
    pub payee_channel_sat: u64,
    /// How much of it is the payee's from the start: something, so that its balance is more than the reserve.
    pub payee_share_sat: u64,
    /// The announced channel between the LSPs, in satoshi.
    pub lsps_channel_sat: u64,
    /// Settings for all LSPs, such as `("payee.wait_secs", "5")`.
    pub lsp_settings: Vec<(&'static str, &'static str)>,
    /// The payer has an iPhone and the payee an Android phone, and Apple's and Google's services bring the pushes. Without
    /// it both phones have webhooks.
    pub providers: bool,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            lsps: 2,
            payer_channels_sat: vec![1_000_000],
            payee_channel_sat: 4_000_000,
            payee_share_sat: 500_000,
            lsps_channel_sat: 12_000_000,
            lsp_settings: Vec::new(),
            providers: false,
        }
    }
}

impl Setup {
    /// As usual, with this many LSPs.
    pub fn lsps(lsps: usize) -> Self {
        Self { lsps, ..Self::default() }
    }

    /// With this many channels of the payer.
    pub fn payer_channels(mut self, count: usize) -> Self {
        self.payer_channels_sat = vec![1_000_000; count];
        self
    }

    /// With an iPhone, an Android phone, and who brings their pushes.
    pub fn with_providers(mut self) -> Self {
        self.providers = true;
        self
    }

    /// With a setting of all LSPs.
    pub fn setting(mut self, key: &'static str, value: &'static str) -> Self {
        self.lsp_settings.push((key, value));
        self
    }
}

/// What [`Setup`] asks for, running.
pub struct Stage {
    /// The chain.
    pub bitcoind: Bitcoind,
    /// The payer's LSP, and the payee's if that is another one.
    pub lsps: Vec<Lsp>,
    /// Who pays.
    pub payer: Phone,
    /// Who is paid.
    pub payee: Phone,
    /// With [`Setup::providers`].
    pub(crate) providers: Option<Providers>,
    /// When all was up.
    pub ready: Instant,
    /// Shown unless [`Stage::finish`] is reached.
    logs: Logs,
    /// Last, so that it is removed when everybody has ended.
    folder: Folder,
}

/// So deep that a channel is announced (BOLT 7).
const CONFIRMATIONS: u32 = 6;

/// The LSPs' terms: unlike each other, so that neither's fee can be taken for the other's.
const FEES: [FeePolicy; 2] = [
    FeePolicy { base_msat: 1_000, proportional_millionths: 100 },
    FeePolicy { base_msat: 700, proportional_millionths: 250 },
];

impl Stage {
    /// Sets everything up, and returns when every channel is usable and the payer knows the way.
    ///
    /// # Errors
    ///
    /// When anything of it fails.
    pub async fn new(setup: Setup) -> Result<Self, Failure> {
        Self::new_with_progress(setup, &mut |text| eprintln!("{text}")).await
    }

    /// As [`Stage::new`], with a word before each step.
    ///
    /// # Errors
    ///
    /// When anything of it fails.
    pub async fn new_with_progress(setup: Setup, progress: &mut dyn FnMut(&str)) -> Result<Self, Failure> {
        build::build(setup, progress).await
    }

    /// The payer's LSP.
    pub fn payers_lsp(&self) -> &Lsp {
        &self.lsps[0]
    }

    /// The payee's LSP, which may be the same.
    pub fn payees_lsp(&self) -> &Lsp {
        &self.lsps[self.lsps.len() - 1]
    }

    /// Apple's and Google's services.
    ///
    /// # Errors
    ///
    /// When the stage was set up without.
    pub fn providers(&self) -> Result<&Providers, Failure> {
        self.providers.as_ref().ok_or_else(|| Failure::wrong("the stage has no push providers"))
    }

    /// To stop, kill and start the payer's LSP.
    pub fn payers_lsp_mut(&mut self) -> &mut Lsp {
        &mut self.lsps[0]
    }

    /// To stop, kill and start the payee's LSP.
    pub fn payees_lsp_mut(&mut self) -> &mut Lsp {
        let last = self.lsps.len() - 1;
        &mut self.lsps[last]
    }

    /// Where everybody's data is.
    pub fn folder(&self) -> &std::path::Path {
        self.folder.path()
    }

    /// Mines, and waits until the LSPs have seen it.
    ///
    /// # Errors
    ///
    /// When one does not keep up.
    pub async fn mine(&self, blocks: u32) -> Result<(), Failure> {
        self.bitcoind.mine(blocks).await?;
        let height = self.bitcoind.height().await?;
        for lsp in &self.lsps {
            lsp.wait_for_height(height).await?;
        }
        Ok(())
    }

    /// One more phone of the payer's LSP, with a channel of its own, that does as it is told.
    ///
    /// # Errors
    ///
    /// When it does not come up.
    #[cfg(feature = "puppet")]
    pub async fn puppet(&self, name: &str) -> Result<Puppet, Failure> {
        let puppet = Puppet::online(name, self.folder.path(), &self.bitcoind, self.payers_lsp()).await?;
        puppet.open_channels(&self.bitcoind, 1, PAYER_CHANNEL_SAT).await?;
        self.mine(CONFIRMATIONS).await?;
        puppet.wait_for_usable_channels(1).await?;
        Ok(puppet)
    }

    /// Makes an invoice on the payee's phone: the invoice, and its payment hash.
    ///
    /// # Errors
    ///
    /// When the wallet makes none.
    pub async fn invoice(&self, amount_msat: u64, more: &[&str]) -> Result<(String, String), Failure> {
        let amount = amount_msat.to_string();
        let mut arguments = vec!["invoice", "--amount-msat", &amount, "--description", "a test"];
        arguments.extend(more);
        let answer = self.payee.ask(&arguments).await?;
        let text = |key: &str| {
            let text = answer[key].as_str().map(str::to_owned);
            text.ok_or_else(|| Failure::wrong(format!("no {key} in {answer}")))
        };
        Ok((text("invoice")?, text("payment_hash")?))
    }

    /// Pays on the payer's phone, with `more` arguments, and expects that it succeeds.
    ///
    /// # Errors
    ///
    /// When it does not.
    pub async fn pay(&self, invoice: &str, more: &[&str]) -> Result<Run, Failure> {
        let mut arguments = vec!["pay", invoice];
        arguments.extend(more);
        let run = self.payer.follow(&arguments, |_| ()).await?;
        if run.success { Ok(run) } else { Err(Failure::wrong(format!("the payer could not pay: {run:?}"))) }
    }

    /// Pays, and waits until the payee has it and the payer's wallet has settled: before it went off, if the payee was quick, or
    /// woken.
    ///
    /// # Errors
    ///
    /// When the payer cannot pay, or somebody does not come.
    pub async fn pay_to_the_end(&self, invoice: &str) -> Result<(), Failure> {
        let (payee_wakes, payer_wakes) = (self.payee.wakes().len(), self.payer.wakes().len());
        let run = self.pay(invoice, &[]).await?;
        self.payee.wait_for_step_since(payee_wakes, "paid", PAYMENT_TIMEOUT).await?;
        if run.step("settled").is_none() {
            self.payer.wait_for_step_since(payer_wakes, "settled", PAYMENT_TIMEOUT).await?;
        }
        Ok(())
    }

    /// Waits until no HTLC is on any channel, and returns what everybody has.
    ///
    /// # Errors
    ///
    /// When HTLCs stay.
    pub async fn settled_balances(&self) -> Result<Balances, Failure> {
        wait_until("all HTLCs to be off all channels", PAYMENT_TIMEOUT, async || {
            let mut pending = 0;
            for lsp in &self.lsps {
                let channels = lsp.channels().await?;
                let htlcs = channels.iter().map(|one| one.pending_inbound_htlcs + one.pending_outbound_htlcs);
                pending += htlcs.sum::<usize>();
            }
            Ok(if pending == 0 { Seen::Done(()) } else { Seen::NotYet(format!("{pending} HTLCs")) })
        })
        .await?;
        self.balances().await
    }

    /// Whether every channel that was set up is open, as the LSPs see it.
    ///
    /// # Errors
    ///
    /// When an LSP does not answer.
    pub async fn all_channels_open(&self, setup: &Setup) -> Result<bool, Failure> {
        let between = if self.lsps.len() > 1 { 2 } else { 0 };
        let mut open = 0;
        for lsp in &self.lsps {
            let channels = lsp.channels().await?;
            open += channels.iter().filter(|channel| channel.is_ready && !channel.is_shutting_down).count();
        }
        Ok(open == setup.payer_channels_sat.len() + 1 + between)
    }

    /// Ends everybody in good order.
    ///
    /// # Errors
    ///
    /// When one does not end well.
    pub async fn finish(mut self) -> Result<(), Failure> {
        for lsp in &mut self.lsps {
            lsp.stop().await?;
        }
        self.logs.not_needed();
        Ok(())
    }
}
