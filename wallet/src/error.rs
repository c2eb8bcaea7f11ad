//! What can go wrong in a wallet.

use node::NodeError;
use protocol::deadline::{DeadlineError, HOLD_BLOCKS_MAX};
use protocol::units::Msat;
use protocol::wire::RefusalReason;

/// Errors of this crate. `Display` says what to do; the cause is the `source`.
#[derive(Debug, thiserror::Error)]
pub enum WalletError {
    /// The node underneath.
    #[error(transparent)]
    Node(#[from] NodeError),
    /// The LSP sets, lists or removes no webhook.
    #[error(transparent)]
    Webhook(#[from] node::WebhookError),
    /// The database.
    #[error(transparent)]
    Storage(#[from] storage::StorageError),
    /// The LSP cannot be reached.
    #[error("the LSP {lsp} cannot be reached: is this phone online, and the LSP's address right?")]
    LspOutOfReach {
        /// `NODEID@HOST:PORT`.
        lsp: String,
    },
    /// Channels are not usable in time.
    #[error("the channels with the LSP are not usable: open one, or wait for its confirmations")]
    NoUsableChannel,
    /// The funding transaction did not come in time.
    #[error("the LSP has not accepted the channel in time")]
    ChannelNotAccepted,
    /// The channel was closed before it was funded.
    #[error("the channel came to nothing: {reason}")]
    ChannelRefused {
        /// LDK's words.
        reason: String,
    },
    /// A text that is no BOLT 11 invoice, or one that cannot be paid from here.
    #[error("this is no invoice that can be paid: {reason}")]
    Invoice {
        /// What is wrong.
        reason: String,
    },
    /// More than there is.
    #[error(
        "the channels can send {spendable} msat, the invoice asks for {amount} msat, fees not counted: nothing was paid"
    )]
    NotEnough {
        /// What the invoice asks for.
        amount: Msat,
        /// What all channels together can send now.
        spendable: Msat,
    },
    /// Somebody on the way does not speak LightningRod.
    #[error(
        "{missing}: this payment cannot wait for its payee; while both of you are online, pay it with --ordinary"
    )]
    NotNegotiated {
        /// Who, and how it shows.
        missing: Missing,
    },
    /// Not for so many blocks.
    #[error("a payment can be held for 1 to {HOLD_BLOCKS_MAX} blocks, not for {hold_blocks}")]
    HoldBlocks {
        /// What was asked for.
        hold_blocks: u32,
    },
    /// The hold cannot last that long.
    #[error("this payment cannot be held that long")]
    Deadline(#[from] DeadlineError),
    /// The LSP did not answer in time.
    #[error("the LSP did not answer within {seconds} s: nothing was paid")]
    NoAnswer {
        /// How long it was waited for.
        seconds: u64,
    },
    /// The LSP refused the hold.
    #[error(
        "the LSP refuses to hold this payment ({reason}{}): nothing was paid",
        text.as_deref().map(|text| format!(": {text:?}")).unwrap_or_default()
    )]
    BlockRefused {
        /// For programs.
        reason: RefusalReason,
        /// The LSP's words. They come from another node: never interpret them.
        text: Option<String>,
    },
    /// The LSP answered with something else.
    #[error("the LSP's answer makes no sense")]
    UnexpectedAnswer,
    /// The payment failed.
    #[error("the payment failed: {reason}")]
    Failed {
        /// Why.
        reason: String,
    },
    /// Not done in time; `wake` goes on with it.
    #[error("{what} takes too long: `wake` goes on with it")]
    TakesTooLong {
        /// What was waited for.
        what: &'static str,
    },
    /// Paid before.
    #[error("this invoice was paid")]
    AlreadyPaid,
    /// An earlier payment of this invoice runs.
    #[error("this invoice is being paid: see its status, or cancel it")]
    InProgress,
    /// No such payment.
    #[error("this wallet and its LSP know no payment with this hash")]
    UnknownPayment,
    /// Too late to cancel.
    #[error("it is too late to cancel: {state}")]
    TooLateToCancel {
        /// How far the payment is.
        state: String,
    },
    /// A device could not be registered.
    #[error("the device was not registered: {reason}")]
    Registration {
        /// What the LSP says.
        reason: String,
    },
    /// The LSP refused a request about this wallet's devices or wakes.
    #[error("the LSP refuses: {reason}")]
    LspRefused {
        /// What the LSP says.
        reason: String,
    },
    /// The LSP's HTTP API could not be used.
    #[error("the LSP's API at {url} cannot be used: check lsp_api in the config")]
    LspApi {
        /// The configured address.
        url: String,
        /// The HTTP client's answer.
        source: reqwest::Error,
    },
    /// The LSP's API answered with what no version of it answers.
    #[error(
        "the LSP's API at {url} gives an answer that is longer than {bytes_max} bytes, or makes no sense"
    )]
    LspAnswer {
        /// Its address.
        url: String,
        /// The longest that is read.
        bytes_max: usize,
    },
    /// The config has no `lsp_api`.
    #[error("the config has no lsp_api: the LSP's base URL is needed to register a device")]
    NoLspApi,
    /// A push that is none of the LSP's.
    #[error("this is no push of an LSP")]
    Push(#[source] serde_json::Error),
    /// A push that was sealed, and cannot be opened.
    #[error("this push cannot be opened")]
    SealedPush(#[source] protocol::push::OpenError),
}

/// Who on the way of a payment does not speak LightningRod.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Missing {
    /// No feature bit in its `init`.
    #[error("this wallet's LSP does not hold payments")]
    OwnLsp,
    /// No feature bit in its `node_announcement`, or no announcement.
    #[error("the payee's LSP does not announce that it keeps messages")]
    PayeesLsp,
    /// No feature bit in the invoice.
    #[error("the invoice does not say that its payee answers later")]
    Payee,
}
