//! A phone's side: stock `lightning-liquidity`.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bitcoin::secp256k1::PublicKey;
use lightning::ln::peer_handler::CustomMessageHandler;
use lightning::sign::KeysManager;
use lightning_liquidity::events::LiquidityEvent;
use lightning_liquidity::lsps0::ser::LSPSRequestId;
use lightning_liquidity::lsps5::client::LSPS5ClientConfig;
use lightning_liquidity::lsps5::event::LSPS5ClientEvent;
use lightning_liquidity::lsps5::msgs::LSPS5Error;
use lightning_liquidity::persist::LIQUIDITY_MANAGER_PERSISTENCE_PRIMARY_NAMESPACE;
use lightning_liquidity::utils::time::DefaultTimeProvider;
use lightning_liquidity::{LiquidityClientConfig, LiquidityManager};
use tokio::sync::oneshot;

use super::Lsps;
use crate::chain::Broadcaster;
use crate::kv::NodeKv;
use crate::ldk::ChannelManager;
use crate::{Node, NodeError};

/// How long an LSP may take to answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(20);

type Manager = LiquidityManager<
    Arc<KeysManager>,
    Arc<KeysManager>,
    Arc<ChannelManager>,
    NodeKv,
    DefaultTimeProvider,
    Arc<Broadcaster>,
>;

/// Hooks that this node has at an LSP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Webhooks {
    /// The names of them, where they were asked for.
    pub app_names: Vec<String>,
    /// How many there may be.
    pub webhooks_max: u32,
}

/// Why a hook is not set, listed or removed.
#[derive(Debug, thiserror::Error)]
pub enum WebhookError {
    /// This node is an LSP.
    #[error("an LSP has no webhooks of its own")]
    NotAPhone,
    /// It is refused.
    #[error("{message} (LSPS5 error {code})")]
    Refused {
        /// LSPS5's number for the reason; from 100,000 on the client's own, which asked nobody.
        code: i32,
        /// In `lightning-liquidity`'s words.
        message: &'static str,
    },
    /// The connection ended first. It may be done, or not: asking again is safe, but for what is removed already.
    #[error("the connection to the LSP ended before it answered: ask again")]
    Disconnected,
    /// The LSP does not speak LSPS5, or is out of reach.
    #[error("the LSP did not answer within {} seconds: does it serve LSPS5?", ANSWER_TIMEOUT.as_secs())]
    NoAnswer,
}

type Outcome = Result<Webhooks, WebhookError>;

/// Who waits for an answer of which LSP. Dropped unanswered, the connection has ended.
struct Waiting {
    lsp: PublicKey,
    answered: oneshot::Sender<Outcome>,
}

/// `lightning-liquidity`'s client, and who waits for which answer.
pub(crate) struct WebhookClient {
    pub(crate) manager: Manager,
    waiting: Mutex<HashMap<String, Waiting>>,
}

impl WebhookClient {
    pub(crate) async fn new(
        keys: Arc<KeysManager>,
        channel_manager: Arc<ChannelManager>,
        kv: NodeKv,
        broadcaster: Arc<Broadcaster>,
    ) -> Result<Self, NodeError> {
        let config = LiquidityClientConfig {
            lsps1_client_config: None,
            lsps2_client_config: None,
            lsps5_client_config: Some(LSPS5ClientConfig::default()),
        };
        let manager = LiquidityManager::new_with_custom_time_provider(
            keys.clone(),
            keys,
            channel_manager,
            broadcaster,
            kv,
            None,
            Some(config),
            DefaultTimeProvider,
        )
        .await
        .map_err(|_| NodeError::Corrupt {
            what: "LSPS state",
            key: LIQUIDITY_MANAGER_PERSISTENCE_PRIMARY_NAMESPACE.to_owned(),
        })?;
        Ok(Self { manager, waiting: Mutex::default() })
    }

    /// Hands every answer to who waits for it. Runs until it is dropped.
    pub(crate) async fn run(self: Arc<Self>) {
        loop {
            let LiquidityEvent::LSPS5Client(event) = self.manager.next_event_async().await else { continue };
            let (request_id, outcome) = outcome_of(event);
            let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner).remove(&request_id.0);
            if let Some(waiting) = waiting {
                // Whoever asked may have given up.
                drop(waiting.answered.send(outcome));
            }
        }
    }

    /// Nobody waits for it any more.
    pub(crate) fn peer_disconnected(&self, lsp: PublicKey) {
        self.manager.peer_disconnected(lsp);
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).retain(|_, waiting| waiting.lsp != lsp);
    }

    async fn ask(
        &self,
        node: &Node,
        lsp: PublicKey,
        send: impl FnOnce(&Manager) -> Result<LSPSRequestId, LSPS5Error>,
    ) -> Outcome {
        let (answered, answer) = oneshot::channel();
        let id = {
            // Held over the sending, so that no answer comes before its asker is known.
            let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            let id = send(&self.manager).map_err(refused)?.0;
            waiting.insert(id.clone(), Waiting { lsp, answered });
            id
        };
        node.peer_manager.process_events();
        let outcome = tokio::time::timeout(ANSWER_TIMEOUT, answer).await;
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
        match outcome {
            Ok(answered) => answered.unwrap_or(Err(WebhookError::Disconnected)),
            Err(_) => Err(WebhookError::NoAnswer),
        }
    }
}

fn refused(error: LSPS5Error) -> WebhookError {
    match error {
        LSPS5Error::Protocol(error) => WebhookError::Refused { code: error.code(), message: error.message() },
        LSPS5Error::Client(error) => WebhookError::Refused { code: error.code(), message: error.message() },
    }
}

fn outcome_of(event: LSPS5ClientEvent) -> (LSPSRequestId, Outcome) {
    match event {
        LSPS5ClientEvent::WebhookRegistered { app_name, max_webhooks, request_id, .. } => {
            let hooks = Webhooks { app_names: vec![app_name.to_string()], webhooks_max: max_webhooks };
            (request_id, Ok(hooks))
        }
        LSPS5ClientEvent::WebhooksListed { app_names, max_webhooks, request_id, .. } => {
            let app_names = app_names.into_iter().map(|name| name.to_string()).collect();
            (request_id, Ok(Webhooks { app_names, webhooks_max: max_webhooks }))
        }
        LSPS5ClientEvent::WebhookRemoved { request_id, .. } => {
            (request_id, Ok(Webhooks { app_names: Vec::new(), webhooks_max: 0 }))
        }
        LSPS5ClientEvent::WebhookRegistrationFailed { error, request_id, .. }
        | LSPS5ClientEvent::WebhookRemovalFailed { error, request_id, .. } => {
            (request_id, Err(refused(error)))
        }
    }
}

impl Node {
    fn webhook_client(&self) -> Result<&WebhookClient, WebhookError> {
        match &self.lsps {
            Lsps::Client(client) => Ok(client),
            Lsps::Service(_) => Err(WebhookError::NotAPhone),
        }
    }

    /// Asks `lsp` over Lightning (LSPS5) to notify `url` when this node should wake. The answer comes once the LSP has
    /// stored it. A hook of the same name is replaced.
    ///
    /// # Errors
    /// When the LSP refuses or does not answer.
    pub async fn set_webhook(
        &self,
        lsp: PublicKey,
        app_name: &str,
        url: &str,
    ) -> Result<Webhooks, WebhookError> {
        let (app_name, url) = (app_name.to_owned(), url.to_owned());
        let send = |manager: &Manager| match manager.lsps5_client_handler() {
            Some(handler) => handler.set_webhook(lsp, app_name, url),
            None => Err(not_configured()),
        };
        self.webhook_client()?.ask(self, lsp, send).await
    }

    /// The names of this node's hooks at `lsp`.
    ///
    /// # Errors
    /// When the LSP does not answer.
    pub async fn list_webhooks(&self, lsp: PublicKey) -> Result<Webhooks, WebhookError> {
        let send = |manager: &Manager| match manager.lsps5_client_handler() {
            Some(handler) => Ok(handler.list_webhooks(lsp)),
            None => Err(not_configured()),
        };
        self.webhook_client()?.ask(self, lsp, send).await
    }

    /// Asks `lsp` to forget a hook.
    ///
    /// # Errors
    /// When there is none of that name, or the LSP does not answer.
    pub async fn remove_webhook(&self, lsp: PublicKey, app_name: &str) -> Result<(), WebhookError> {
        let app_name = app_name.to_owned();
        let send = |manager: &Manager| match manager.lsps5_client_handler() {
            Some(handler) => handler.remove_webhook(lsp, app_name),
            None => Err(not_configured()),
        };
        self.webhook_client()?.ask(self, lsp, send).await.map(drop)
    }
}

fn not_configured() -> LSPS5Error {
    lightning_liquidity::lsps5::msgs::LSPS5ProtocolError::UnknownError.into()
}
