//! A chain and one or two LSPs, with two phones that do as they are told.

use super::Puppet;
use crate::bitcoind::Bitcoind;
use crate::failure::Failure;
use crate::folder::Folder;
use crate::logs::Logs;
use crate::lsp::{ChannelTerms, FeePolicy, Lsp};

/// Each channel of the payer, in satoshi.
pub const PAYER_CHANNEL_SAT: u64 = 1_000_000;
/// The payee's channel, in satoshi.
const PAYEE_CHANNEL_SAT: u64 = 4_000_000;
/// How much of it is the payee's from the start, in satoshi.
const PAYEE_SHARE_SAT: u64 = 500_000;
/// The channel between the LSPs, in satoshi.
const LSPS_CHANNEL_SAT: u64 = 12_000_000;
/// For fees and anchor reserves.
const ON_CHAIN_EXTRA_SAT: u64 = 200_000;
/// So deep that a channel is announced (BOLT 7).
const CONFIRMATIONS: u32 = 6;
const FEES: FeePolicy = FeePolicy { base_msat: 1_000, proportional_millionths: 100 };

/// Puppets on both ends.
pub struct PuppetStage {
    /// The payer, online.
    pub payer: Puppet,
    /// The payee, online.
    pub payee: Puppet,
    /// The payer's LSP, and the payee's if that is another one.
    pub lsps: Vec<Lsp>,
    /// The chain.
    pub bitcoind: Bitcoind,
    /// Shown if the test fails.
    pub logs: Logs,
    /// Everybody's data.
    pub folder: Folder,
}

impl PuppetStage {
    /// Sets everything up, and returns when every channel is usable.
    ///
    /// # Errors
    ///
    /// When anything of it fails.
    pub async fn new(
        lsps_count: usize,
        payer_channels: usize,
        settings: &[(&str, &str)],
    ) -> Result<Self, Failure> {
        Self::with_payee_channel(lsps_count, payer_channels, settings, PAYEE_CHANNEL_SAT).await
    }

    /// As [`Self::new`], with a payee's channel of this capacity.
    ///
    /// # Errors
    ///
    /// When anything of it fails.
    pub async fn with_payee_channel(
        lsps_count: usize,
        payer_channels: usize,
        settings: &[(&str, &str)],
        payee_channel_sat: u64,
    ) -> Result<Self, Failure> {
        let folder = Folder::new()?;
        let mut logs = Logs::default();
        let bitcoind =
            Bitcoind::start(&folder.path().join("bitcoind"), &mut |text| eprintln!("{text}")).await?;
        let mut lsps = Vec::new();
        for name in ["lsp_a", "lsp_b"].into_iter().take(lsps_count) {
            logs.add(name, folder.path().join(format!("{name}.log")));
            let lsp = Lsp::start_new(name, folder.path(), &bitcoind, FEES, settings).await?;
            let coins_sat = LSPS_CHANNEL_SAT + payee_channel_sat + 2 * ON_CHAIN_EXTRA_SAT;
            bitcoind.send(&lsp.address().await?, coins_sat).await?;
            lsps.push(lsp);
        }
        bitcoind.mine(1).await?;
        let height = bitcoind.height().await?;
        for lsp in &lsps {
            lsp.wait_for_height(height).await?;
        }
        let (Some(first), Some(last)) = (lsps.first(), lsps.last()) else {
            return Err(Failure::wrong("a stage needs an LSP"));
        };
        let payer = Puppet::online("payer", folder.path(), &bitcoind, first).await?;
        let payee = Puppet::online("payee", folder.path(), &bitcoind, last).await?;
        let mut opened = 0;
        if lsps.len() > 1 {
            first.connect(&last.peer_address()).await?;
            let push_msat = LSPS_CHANNEL_SAT * 1000 / 2;
            let terms = ChannelTerms { capacity_sat: LSPS_CHANNEL_SAT, push_msat, announce: true };
            first.open(last.node_id(), terms).await?;
            opened += 1;
            bitcoind.wait_for_transactions(opened).await?;
        }
        let push_msat = PAYEE_SHARE_SAT * 1000;
        let terms = ChannelTerms { capacity_sat: payee_channel_sat, push_msat, announce: false };
        last.open(&payee.node_id().to_string(), terms).await?;
        bitcoind.wait_for_transactions(opened + 1).await?;
        payer.open_channels(&bitcoind, payer_channels, PAYER_CHANNEL_SAT).await?;
        bitcoind.mine(CONFIRMATIONS).await?;
        payer.wait_for_usable_channels(payer_channels).await?;
        payee.wait_for_usable_channels(1).await?;
        // With the payee's channel, or the one to the payee's LSP.
        first.wait_for_usable_channels(payer_channels + 1).await?;
        last.wait_for_usable_channels(lsps.len()).await?;
        Ok(Self { payer, payee, lsps, bitcoind, logs, folder })
    }

    /// The payer's LSP.
    pub fn payers_lsp(&self) -> &Lsp {
        &self.lsps[0]
    }

    /// The payee's LSP, which may be the same.
    pub fn payees_lsp(&self) -> &Lsp {
        &self.lsps[self.lsps.len() - 1]
    }

    /// One more phone of the payer's LSP, with a channel of its own.
    ///
    /// # Errors
    ///
    /// When it does not come up.
    pub async fn another(&self, name: &str) -> Result<Puppet, Failure> {
        let puppet = Puppet::online(name, self.folder.path(), &self.bitcoind, self.payers_lsp()).await?;
        puppet.open_channels(&self.bitcoind, 1, PAYER_CHANNEL_SAT).await?;
        self.mine(CONFIRMATIONS).await?;
        puppet.wait_for_usable_channels(1).await?;
        Ok(puppet)
    }

    /// Mines, and waits until everybody who is online has seen it.
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
        for puppet in [&self.payer, &self.payee] {
            puppet.wait_for("the blocks", |node| node.height().0 >= height).await?;
        }
        Ok(())
    }

    /// What everybody has: the payer, the payee, and each LSP.
    ///
    /// # Errors
    ///
    /// When an LSP does not answer.
    pub async fn balances_msat(&self) -> Result<Vec<u64>, Failure> {
        let mut all = vec![self.payer.balance_msat(), self.payee.balance_msat()];
        for lsp in &self.lsps {
            all.push(lsp.balance_msat().await?);
        }
        Ok(all)
    }

    /// Ends everybody in good order.
    ///
    /// # Errors
    ///
    /// When an LSP does not end well.
    pub async fn finish(mut self) -> Result<(), Failure> {
        self.payer.go_offline().await;
        self.payee.go_offline().await;
        for lsp in &mut self.lsps {
            lsp.stop().await?;
        }
        self.logs.not_needed();
        Ok(())
    }
}
