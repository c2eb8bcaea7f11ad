//! A wallet that is ldk-node and nothing else.

use std::path::{Path, PathBuf};
use std::time::Duration;

use ldk_node::bitcoin::Network;
use ldk_node::bitcoin::secp256k1::PublicKey;
use ldk_node::lightning::ln::channelmanager::PaymentId;
use ldk_node::lightning_invoice::{Bolt11Invoice, Bolt11InvoiceDescription, Description};
use ldk_node::logger::LogLevel;
use ldk_node::payment::{PaymentDetails, PaymentStatus};
use ldk_node::{Builder, ChannelDetails, Node, NodeError};
use protocol::api::public::{
    ChallengeRequest, ChallengeResponse, DeviceTarget, RegisterDeviceRequest, RegisterDeviceResponse,
};
use tests::bitcoind::{Bitcoind, RPC_PASSWORD, RPC_USER};
use tests::failure::Failure;
use tests::lsp::Lsp;
use tests::stage::PAYMENT_TIMEOUT;
use tests::wait::{SOON, Seen, wait_until};

/// How long an invoice is good for: longer than any test.
const INVOICE_EXPIRY_SECS: u32 = 3_600;
/// How long the LSP's API may take to answer.
const API_TIMEOUT: Duration = Duration::from_secs(20);
const WEBHOOK: &str = "webhook";

/// A stock wallet with its data folder, running or not. It lives in this process: its calls block, and need tokio's
/// multi-threaded runtime.
pub struct StockWallet {
    name: &'static str,
    data_dir: PathBuf,
    rpc_port: u16,
    node_id: PublicKey,
    node: Option<Node>,
}

impl StockWallet {
    /// Makes one in `folder`, and starts it.
    ///
    /// # Errors
    ///
    /// When ldk-node does not start.
    pub fn start_new(name: &'static str, folder: &Path, bitcoind: &Bitcoind) -> Result<Self, Failure> {
        let (data_dir, rpc_port) = (folder.join(name), bitcoind.rpc_port());
        let node = start_node(name, &data_dir, rpc_port)?;
        Ok(Self { name, data_dir, rpc_port, node_id: node.node_id(), node: Some(node) })
    }

    /// Starts it again in its folder, as opening the app does. ldk-node connects to the LSP, which it knows, by itself.
    ///
    /// # Errors
    ///
    /// When ldk-node does not start.
    pub fn start(&mut self) -> Result<(), Failure> {
        self.node = Some(start_node(self.name, &self.data_dir, self.rpc_port)?);
        Ok(())
    }

    /// Stops it: all that is left is on disk.
    ///
    /// # Errors
    ///
    /// When it was not running.
    pub fn stop(&mut self) -> Result<(), Failure> {
        self.node()?.stop().map_err(|error| self.failure("stop", error))?;
        self.node = None;
        Ok(())
    }

    /// Its node id.
    pub fn node_id(&self) -> PublicKey {
        self.node_id
    }

    /// Where ldk-node logs.
    pub fn log_path(folder: &Path, name: &str) -> PathBuf {
        folder.join(format!("{name}.log"))
    }

    fn node(&self) -> Result<&Node, Failure> {
        self.node.as_ref().ok_or_else(|| Failure::wrong(format!("{} is not running", self.name)))
    }

    fn failure(&self, what: &str, error: NodeError) -> Failure {
        failure(self.name, what, error)
    }

    /// A fresh on-chain address.
    ///
    /// # Errors
    ///
    /// When ldk-node has none.
    pub fn address(&self) -> Result<String, Failure> {
        let address = self.node()?.onchain_payment().new_address();
        Ok(address.map_err(|error| self.failure("make an address", error))?.to_string())
    }

    /// Waits until it can spend this much on chain.
    ///
    /// # Errors
    ///
    /// When it cannot in time.
    pub async fn wait_for_coins(&self, amount_sat: u64) -> Result<(), Failure> {
        wait_until(&format!("{}'s coins", self.name), SOON, async || {
            let found = self.synced()?.list_balances().total_onchain_balance_sats;
            Ok(if found >= amount_sat { Seen::Done(()) } else { Seen::NotYet(format!("{found} sat")) })
        })
        .await
    }

    /// The node, with every block of the chain processed.
    fn synced(&self) -> Result<&Node, Failure> {
        let node = self.node()?;
        node.sync_wallets().map_err(|error| self.failure("sync", error))?;
        Ok(node)
    }

    /// Connects to the LSP, and remembers it.
    ///
    /// # Errors
    ///
    /// When the LSP cannot be reached.
    pub fn connect(&self, lsp: &Lsp) -> Result<(), Failure> {
        let connected = self.node()?.connect(node_id_of(lsp)?, lsp.listen().into(), true);
        connected.map_err(|error| self.failure("connect", error))
    }

    /// Connects to the LSP, and opens a private channel of `capacity_sat` to it, of which `push_msat` is the LSP's.
    ///
    /// # Errors
    ///
    /// When the LSP cannot be reached, or coins are missing.
    pub fn open(&self, lsp: &Lsp, capacity_sat: u64, push_msat: u64) -> Result<(), Failure> {
        let address = lsp.listen().into();
        let opened =
            self.node()?.open_channel(node_id_of(lsp)?, address, capacity_sat, Some(push_msat), None);
        opened.map(|_| ()).map_err(|error| self.failure("open a channel", error))
    }

    /// Waits until its channel can be used, and until it knows what the LSP takes for forwarding on it: an invoice
    /// made earlier lacks the route hint.
    ///
    /// # Errors
    ///
    /// When that is not so in time.
    pub async fn wait_for_channel(&self) -> Result<(), Failure> {
        wait_until(&format!("{}'s channel", self.name), SOON, async || {
            self.synced()?;
            let channel = self.channel()?;
            let ready = channel.is_usable && channel.counterparty_forwarding_info_fee_base_msat.is_some();
            Ok(if ready { Seen::Done(()) } else { Seen::NotYet(format!("{channel:?}")) })
        })
        .await
    }

    /// Its one channel.
    ///
    /// # Errors
    ///
    /// When it has none, or several.
    pub fn channel(&self) -> Result<ChannelDetails, Failure> {
        let mut channels = self.node()?.list_channels();
        match (channels.pop(), channels.len()) {
            (Some(channel), 0) => Ok(channel),
            (_, more) => Err(Failure::wrong(format!("{} channels of {}", more + 1, self.name))),
        }
    }

    /// What it can send, to the millisatoshi: its balance less the channel's reserve.
    ///
    /// # Errors
    ///
    /// As [`StockWallet::channel`].
    pub fn outbound_msat(&self) -> Result<u64, Failure> {
        Ok(self.channel()?.outbound_capacity_msat)
    }

    /// An invoice for `amount_msat`.
    ///
    /// # Errors
    ///
    /// When ldk-node makes none.
    pub fn invoice(&self, amount_msat: u64) -> Result<Bolt11Invoice, Failure> {
        let description = Description::new(format!("for {}", self.name))
            .map_err(|error| Failure::wrong(error.to_string()))?;
        let description = Bolt11InvoiceDescription::Direct(description);
        let invoice = self.node()?.bolt11_payment().receive(amount_msat, &description, INVOICE_EXPIRY_SECS);
        invoice.map_err(|error| self.failure("make an invoice", error))
    }

    /// Starts to pay, and returns the payment's id, which is the payee's name for it too.
    ///
    /// # Errors
    ///
    /// When there is no route.
    pub fn pay(&self, invoice: &Bolt11Invoice) -> Result<PaymentId, Failure> {
        let sent = self.node()?.bolt11_payment().send(invoice, None);
        sent.map_err(|error| self.failure("pay", error))
    }

    /// What it knows of a payment that it sends or receives.
    ///
    /// # Errors
    ///
    /// When it knows nothing.
    pub fn payment(&self, id: &PaymentId) -> Result<PaymentDetails, Failure> {
        let payment = self.node()?.payment(id);
        payment.ok_or_else(|| Failure::wrong(format!("{} knows no payment {id}", self.name)))
    }

    /// Waits until a payment has succeeded.
    ///
    /// # Errors
    ///
    /// When it fails, or takes too long.
    pub async fn wait_for_payment(&self, id: &PaymentId) -> Result<PaymentDetails, Failure> {
        wait_until(&format!("{}'s payment", self.name), PAYMENT_TIMEOUT, async || {
            let payment = self.payment(id)?;
            match payment.status {
                PaymentStatus::Succeeded => Ok(Seen::Done(payment)),
                PaymentStatus::Pending => Ok(Seen::NotYet(format!("{payment:?}"))),
                PaymentStatus::Failed => Err(Failure::wrong(format!("the payment failed: {payment:?}"))),
            }
        })
        .await
    }

    /// Registers `url` for pushes, signed with the node's key: ldk-node signs messages as the LSP's API asks.
    ///
    /// # Errors
    ///
    /// When the LSP refuses.
    pub async fn register_webhook(&self, lsp: &Lsp, url: &str) -> Result<(), Failure> {
        let lsp_id = node_id_of(lsp)?;
        let failure = |source| Failure::wrong(format!("{}'s registration: {source}", self.name));
        let client = tests::http::client(API_TIMEOUT)?;
        let request = client.post(format!("{}/v1/challenge", lsp.api_url()));
        let request = request.json(&ChallengeRequest { node_id: self.node_id });
        let response = request.send().await.and_then(|response| response.error_for_status());
        let challenge: ChallengeResponse = response.map_err(failure)?.json().await.map_err(failure)?;

        let target = DeviceTarget::new(WEBHOOK, url);
        let mut registration = RegisterDeviceRequest::new(self.node_id, challenge.challenge, target);
        registration.signature = self.node()?.sign_message(registration.text(&lsp_id).as_bytes());
        let request = client.post(format!("{}/v1/devices", lsp.api_url())).json(&registration);
        let response = request.send().await.and_then(|response| response.error_for_status());
        let registered: RegisterDeviceResponse = response.map_err(failure)?.json().await.map_err(failure)?;
        if registered.durable { Ok(()) } else { Err(Failure::wrong("a registration that is not on disk")) }
    }
}

fn start_node(name: &str, data_dir: &Path, rpc_port: u16) -> Result<Node, Failure> {
    let log = StockWallet::log_path(data_dir.parent().unwrap_or(data_dir), name);
    let mut builder = Builder::new();
    builder
        .set_network(Network::Regtest)
        .set_storage_dir_path(data_dir.display().to_string())
        .set_filesystem_logger(Some(log.display().to_string()), Some(LogLevel::Debug))
        .set_chain_source_bitcoind_rpc(
            "127.0.0.1".to_owned(),
            rpc_port,
            RPC_USER.to_owned(),
            RPC_PASSWORD.to_owned(),
        );
    let node = builder.build().map_err(|error| Failure::wrong(format!("{name} cannot be built: {error}")))?;
    node.start().map_err(|error| failure(name, "start", error))?;
    Ok(node)
}

fn failure(name: &str, what: &str, error: NodeError) -> Failure {
    Failure::wrong(format!("{name} cannot {what}: {error}"))
}

fn node_id_of(lsp: &Lsp) -> Result<PublicKey, Failure> {
    lsp.node_id().parse().map_err(|error| Failure::wrong(format!("{}'s node id: {error}", lsp.name())))
}
