//! Webhooks that are set over Lightning (LSPS5): no HTTP API is needed, and no signature, since the LSP knows its peer.

use node::Webhooks;

use crate::Wallet;
use crate::error::WalletError;

impl Wallet {
    /// Asks the LSP to notify `url` (https) when this wallet should wake. The answer comes once the LSP has stored it; a hook
    /// of the same name is replaced. What it gets then is for [`HookNotifications`](crate::HookNotifications) to check, and starts
    /// [`Self::wake`].
    ///
    /// # Errors
    /// [`WalletError::Webhook`] when the LSP refuses or does not answer, or [`WalletError::LspOutOfReach`].
    pub async fn set_webhook(&self, app_name: &str, url: &str) -> Result<Webhooks, WalletError> {
        self.connect().await?;
        let set = self.core.node.set_webhook(self.core.config.lsp.node_id, app_name, url).await;
        storage::crash_point!("webhook_answered");
        Ok(set?)
    }

    /// The names of this wallet's hooks at its LSP.
    ///
    /// # Errors
    /// As [`Self::set_webhook`]
    pub async fn list_webhooks(&self) -> Result<Webhooks, WalletError> {
        self.connect().await?;
        Ok(self.core.node.list_webhooks(self.core.config.lsp.node_id).await?)
    }

    /// Asks the LSP to forget a hook.
    ///
    /// # Errors
    /// As [`Self::set_webhook`]; the LSP refuses when there is none of that name.
    pub async fn remove_webhook(&self, app_name: &str) -> Result<(), WalletError> {
        self.connect().await?;
        Ok(self.core.node.remove_webhook(self.core.config.lsp.node_id, app_name).await?)
    }
}
