//! Being connected, channels and money.

use std::time::Duration;

use bitcoin::OutPoint;
use lightning::ln::types::ChannelId;
use node::Channel;
use protocol::units::{BlockHeight, Msat};
use tokio::time::{Instant, sleep, timeout_at};

use crate::error::WalletError;
use crate::payer::POLL;
use crate::step::Step;
use crate::{Core, Wallet};

/// How long the first connection may take.
const CONNECT: Duration = Duration::from_secs(15);

/// How long reestablishing the channels may take.
const REESTABLISH: Duration = Duration::from_secs(10);

/// How long the LSP may take to accept a channel, and bitcoind to take its funding transaction.
const FUND: Duration = Duration::from_secs(60);

impl Wallet {
    /// Waits until the LSP is connected.
    ///
    /// # Errors
    /// [`WalletError::LspOutOfReach`].
    pub async fn connect(&self) -> Result<(), WalletError> {
        self.core.connected().await
    }

    /// Waits until the LSP is connected, every channel that is ready can be used, and bitcoind's tip is processed.
    ///
    /// # Errors
    /// [`WalletError::LspOutOfReach`], or what bitcoind says. Channels that do not come back in time are no error.
    pub async fn sync(&self) -> Result<(), WalletError> {
        self.core.online().await?;
        let tip = self.core.node.chain_height().await?;
        self.core.until(REESTABLISH, || self.core.node.height() >= tip).await;
        Ok(())
    }

    /// Opens a channel to the LSP and waits until bitcoind has its funding transaction.
    ///
    /// # Errors
    /// When there is not enough on-chain money, or the LSP refuses.
    pub async fn open_channel(
        &self,
        capacity_sat: u64,
        push: Msat,
    ) -> Result<(ChannelId, OutPoint), WalletError> {
        self.core.connected().await?;
        let mut steps = self.steps();
        let node = &self.core.node;
        let temporary = node.open_channel(self.core.config.lsp.node_id, capacity_sat, push, false)?;
        let deadline = Instant::now() + FUND;
        let (channel_id, funding) = loop {
            match timeout_at(deadline, steps.recv()).await {
                Ok(Ok(Step::ChannelPending { channel_id, .. })) => {
                    let channel =
                        node.channels().into_iter().find(|channel| channel.channel_id == channel_id);
                    if let Some(funding) = channel.and_then(|channel| channel.funding) {
                        break (channel_id, funding);
                    }
                }
                Ok(Ok(Step::ChannelClosed { channel_id, reason })) if channel_id == temporary => {
                    return Err(WalletError::ChannelRefused { reason });
                }
                Ok(_) => {}
                Err(_) => return Err(WalletError::ChannelNotAccepted),
            }
        };
        while !node.is_output_known(funding).await? {
            if Instant::now() >= deadline {
                return Err(WalletError::TakesTooLong { what: "broadcasting the funding transaction" });
            }
            sleep(POLL).await;
        }
        Ok((channel_id, funding))
    }

    /// Every channel.
    pub fn channels(&self) -> Vec<Channel> {
        self.core.node.channels()
    }

    /// Lightning and on-chain money.
    pub fn balance(&self) -> node::Balances {
        self.core.node.balances()
    }

    /// The height that the wallet has processed.
    pub fn height(&self) -> BlockHeight {
        self.core.node.height()
    }

    /// The LSP is connected now.
    pub fn is_connected(&self) -> bool {
        self.core.node.is_connected(self.core.config.lsp.node_id)
    }

    /// The LSP is in the graph, so that routes beyond it can be found.
    pub fn knows_own_lsp(&self) -> bool {
        self.core.node.is_routable(self.core.config.lsp.node_id)
    }
}

impl Core {
    pub(crate) async fn connected(&self) -> Result<(), WalletError> {
        let lsp = &self.config.lsp;
        if self.until(CONNECT, || self.node.is_connected(lsp.node_id)).await {
            return Ok(());
        }
        Err(WalletError::LspOutOfReach { lsp: lsp.to_string() })
    }

    /// Connected, and the channels reestablished, as far as they come back in time.
    pub(crate) async fn online(&self) -> Result<(), WalletError> {
        self.connected().await?;
        if !self.until(REESTABLISH, || self.reestablished()).await {
            tracing::warn!("not every channel can be used");
        }
        Ok(())
    }

    /// Every ready channel that is not being closed can be used.
    pub(crate) fn reestablished(&self) -> bool {
        self.node
            .channels()
            .iter()
            .all(|channel| channel.is_usable || !channel.is_ready || channel.is_shutting_down)
    }

    /// Waits for `condition`; false when `limit` passed without it.
    pub(crate) async fn until(&self, limit: Duration, mut condition: impl FnMut() -> bool) -> bool {
        let deadline = Instant::now() + limit;
        while !condition() {
            if Instant::now() >= deadline {
                return false;
            }
            sleep(Duration::from_millis(20)).await;
        }
        true
    }
}
