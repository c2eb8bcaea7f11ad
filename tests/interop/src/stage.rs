//! A chain, one LSP, and two stock wallets with a channel each.

use tests::bitcoind::Bitcoind;
use tests::failure::Failure;
use tests::folder::Folder;
use tests::logs::Logs;
use tests::lsp::{ChannelTerms, FeePolicy, Lsp};
use tests::wait::{SOON, Seen, wait_until};

use crate::wallet::StockWallet;

/// What the LSP takes.
pub const FEES: FeePolicy = FeePolicy { base_msat: 1_000, proportional_millionths: 100 };

/// Each channel's, in satoshi.
const CAPACITY_SAT: u64 = 1_000_000;
/// How much of each channel is from the start with the side that did not open it.
const PUSH_MSAT: u64 = 400_000_000;
/// For fees, and for the reserve that ldk-node keeps for each anchor channel.
const ON_CHAIN_EXTRA_SAT: u64 = 100_000;
/// Deep enough for both sides.
const CONFIRMATIONS: u32 = 6;

/// Everybody, running. The wallets come first, so that they end while there is still a chain.
pub struct Stage {
    /// Opened its channel itself.
    pub alice: StockWallet,
    /// Got its channel from the LSP.
    pub bob: StockWallet,
    /// The LSP of both.
    pub lsp: Lsp,
    /// The chain.
    pub bitcoind: Bitcoind,
    /// Shown unless [`Stage::finish`] is reached.
    logs: Logs,
    /// Last, so that it is removed when everybody has ended.
    folder: Folder,
}

/// What everybody has in channels, in millisatoshi; the wallets without their reserves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Balances {
    /// Alice's.
    pub alice_msat: u64,
    /// Bob's.
    pub bob_msat: u64,
    /// The LSP's, in both channels.
    pub lsp_msat: u64,
}

impl Stage {
    /// Sets everything up, and returns when both channels are usable.
    ///
    /// # Errors
    ///
    /// When anything of it fails.
    pub async fn new() -> Result<Self, Failure> {
        let folder = Folder::new()?;
        let mut logs = Logs::default();
        logs.add("lsp", folder.path().join("lsp.log"));
        for name in ["alice", "bob"] {
            logs.add(name, StockWallet::log_path(folder.path(), name));
        }
        let mut progress = |text: &str| eprintln!("{text}");
        let bitcoind = Bitcoind::start(&folder.path().join("bitcoind"), &mut progress).await?;
        let lsp = Lsp::start_new("lsp", folder.path(), &bitcoind, FEES, &[]).await?;
        let alice = StockWallet::start_new("alice", folder.path(), &bitcoind)?;
        let bob = StockWallet::start_new("bob", folder.path(), &bitcoind)?;
        let stage = Self { alice, bob, lsp, bitcoind, logs, folder };
        stage.fund().await?;
        stage.open_channels().await?;
        Ok(stage)
    }

    async fn fund(&self) -> Result<(), Failure> {
        let for_channel = CAPACITY_SAT + ON_CHAIN_EXTRA_SAT;
        self.bitcoind.send(&self.lsp.address().await?, for_channel).await?;
        self.bitcoind.send(&self.alice.address()?, for_channel).await?;
        self.bitcoind.send(&self.bob.address()?, ON_CHAIN_EXTRA_SAT).await?;
        self.bitcoind.mine(1).await?;
        self.lsp.wait_for_height(self.bitcoind.height().await?).await?;
        self.alice.wait_for_coins(for_channel).await?;
        self.bob.wait_for_coins(ON_CHAIN_EXTRA_SAT).await
    }

    async fn open_channels(&self) -> Result<(), Failure> {
        self.alice.open(&self.lsp, CAPACITY_SAT, PUSH_MSAT)?;
        self.bob.connect(&self.lsp)?;
        let terms = ChannelTerms { capacity_sat: CAPACITY_SAT, push_msat: PUSH_MSAT, announce: false };
        self.lsp.open(&self.bob.node_id().to_string(), terms).await?;
        self.bitcoind.wait_for_transactions(2).await?;
        self.bitcoind.mine(CONFIRMATIONS).await?;
        self.alice.wait_for_channel().await?;
        self.bob.wait_for_channel().await?;
        self.lsp.wait_for_usable_channels(2).await
    }

    /// What everybody has.
    ///
    /// # Errors
    ///
    /// When somebody is not running.
    pub async fn balances(&self) -> Result<Balances, Failure> {
        Ok(Balances {
            alice_msat: self.alice.outbound_msat()?,
            bob_msat: self.bob.outbound_msat()?,
            lsp_msat: self.lsp.balance_msat().await?,
        })
    }

    /// Waits until everybody has exactly this: the last messages of a payment come after its success.
    ///
    /// # Errors
    ///
    /// When they have something else in the end.
    pub async fn wait_for_balances(&self, expected: Balances) -> Result<(), Failure> {
        wait_until(&format!("{expected:?}"), SOON, async || {
            let found = self.balances().await?;
            Ok(if found == expected { Seen::Done(()) } else { Seen::NotYet(format!("{found:?}")) })
        })
        .await
    }

    /// Waits until the LSP knows that bob is gone.
    ///
    /// # Errors
    ///
    /// When it does not notice.
    pub async fn wait_until_bob_is_offline(&self) -> Result<(), Failure> {
        let bob = self.bob.node_id();
        wait_until("the LSP to miss bob", SOON, async || {
            let channels = self.lsp.channels().await?;
            let usable = channels.iter().any(|channel| channel.peer == bob && channel.is_usable);
            Ok(if usable { Seen::NotYet("bob's channel is usable".to_owned()) } else { Seen::Done(()) })
        })
        .await
    }

    /// Ends everybody in good order.
    ///
    /// # Errors
    ///
    /// When one does not end well.
    pub async fn finish(mut self) -> Result<(), Failure> {
        self.alice.stop()?;
        self.bob.stop()?;
        self.lsp.stop().await?;
        let Self { bitcoind, mut logs, folder, .. } = self;
        bitcoind.stop().await?;
        logs.not_needed();
        drop(folder);
        Ok(())
    }
}
