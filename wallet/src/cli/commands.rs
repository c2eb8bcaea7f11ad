//! Everything but `init`.

use std::time::{Duration, Instant};

use bitcoin::secp256k1::PublicKey;
use hex::FromHex;
use lightning_types::payment::PaymentHash;
use protocol::units::Msat;
use serde_json::{Value, json};
use wallet::{
    HOLD_BLOCKS, HoldView, INVOICE_EXPIRY_SECS, InvoiceView, PayOptions, PaymentView, Status, WakeLimits,
    Wallet,
};

use super::devices::{self, DevicesCommand, Target};
use super::error::CliError;
use super::output::sat;
use super::webhooks::{self, WebhooksCommand};

/// How often `run` looks whether what it waits for is there.
const LOOK: Duration = Duration::from_millis(100);

/// How long `run --until-route` waits for gossip about the LSP once the channels are there.
const ROUTE_WAIT: Duration = Duration::from_secs(5);

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// This wallet's node id.
    Info,
    /// A fresh on-chain address, to fund channels from.
    Address,
    /// Lightning and on-chain money.
    Balance,
    /// The channels with the LSP.
    Channels,
    /// Connect to the LSP, and say whether that works.
    Connect,
    /// Open a channel to the LSP; ends when its funding transaction is out.
    Open {
        #[arg(long)]
        capacity_sat: u64,
        /// How much of it is the LSP's from the start.
        #[arg(long, default_value_t = 0)]
        push_msat: u64,
    },
    /// Stay online.
    Run {
        /// Only until so many channels are usable.
        #[arg(long)]
        until_channels: Option<usize>,
        /// Only until the LSP is in the gossip, so that routes beyond it can be found; an LSP without public channels is in
        /// nobody's gossip, so for 5 seconds at most.
        #[arg(long)]
        until_route: bool,
        /// Only until this node's announcement is here and says that it keeps messages: the payee's LSP, for instance.
        #[arg(long, value_name = "NODE_ID")]
        until_announced: Option<PublicKey>,
    },
    /// Make an invoice that can be paid while this wallet is off.
    Invoice {
        #[arg(long)]
        amount_msat: u64,
        #[arg(long, default_value = "")]
        description: String,
        /// How long it can be paid, in seconds.
        #[arg(long, default_value_t = INVOICE_EXPIRY_SECS)]
        expiry_secs: u32,
    },
    /// Pay an invoice, whether or not its payee is online; ends when this wallet may go off.
    Pay {
        invoice: String,
        /// How long the LSP may hold the payment, in blocks.
        #[arg(long, default_value_t = HOLD_BLOCKS)]
        hold_blocks: u32,
        /// Give it up unless it goes out in at least so many parts.
        #[arg(long, default_value_t = 1)]
        parts_min: usize,
        /// Pay at once, to a payee that is online, and wait for the end.
        #[arg(long)]
        ordinary: bool,
    },
    /// Tell the LSP where this phone can be woken.
    Register {
        #[command(flatten)]
        target: Target,
    },
    /// Where the LSP wakes this wallet.
    #[command(subcommand)]
    Devices(DevicesCommand),
    /// Webhooks that are set over Lightning (LSPS5): the LSP needs no HTTP API for them.
    #[command(subcommand)]
    Webhooks(WebhooksCommand),
    /// The LSP's newest reasons to wake this wallet: why the phone did or did not ring.
    Wakes,
    /// Do everything that waits, and end when nothing is left: what a push starts.
    Wake {
        /// What the push said.
        #[arg(long, value_name = "BODY")]
        push: Option<String>,
        /// End after so many seconds, whatever is left.
        #[arg(long, default_value_t = WakeLimits::default().total.as_secs())]
        timeout_secs: u64,
    },
    /// Payments, invoices, and what the LSP says about holds.
    Status {
        #[arg(value_parser = payment_hash)]
        payment_hash: Option<PaymentHash>,
    },
    /// Take a payment back that nobody has released.
    Cancel {
        #[arg(value_parser = payment_hash)]
        payment_hash: PaymentHash,
    },
}

/// What a command gave.
pub(super) enum Outcome {
    /// It has said everything in its steps.
    Nothing,
    /// For scripts, and for people.
    Answer { json: Value, text: String },
}

fn payment_hash(text: &str) -> Result<PaymentHash, String> {
    FromHex::from_hex(text).map(PaymentHash).map_err(|_| "expected a payment hash, 64 hex digits".to_owned())
}

impl Command {
    /// What only reads the wallet, or asks the LSP's HTTP API, needs no node.
    pub(super) fn needs_network(&self) -> bool {
        !matches!(
            self,
            Self::Info | Self::Address | Self::Balance | Self::Channels | Self::Devices(_) | Self::Wakes
        )
    }

    /// Whether it stays for a payment that is on its way. A wake has its own end, which is not put off.
    pub(super) fn receives(&self) -> bool {
        self.needs_network() && !matches!(self, Self::Wake { .. })
    }

    /// What prints one answer prints nothing else.
    pub(super) fn shows_steps(&self) -> bool {
        matches!(self, Self::Run { .. } | Self::Pay { .. } | Self::Wake { .. })
    }

    pub(super) async fn run(self, wallet: &Wallet) -> Result<Outcome, CliError> {
        match self {
            Self::Info => Ok(info(wallet)),
            Self::Address => {
                let address = wallet.node().new_address().to_string();
                Ok(answer(json!({ "address": address }), address))
            }
            Self::Balance => Ok(balance(wallet)),
            Self::Channels => Ok(channels(wallet)),
            Self::Connect => {
                wallet.connect().await?;
                let lsp = wallet.lsp().to_string();
                Ok(answer(json!({ "connected": lsp }), format!("connected to {lsp}")))
            }
            Self::Open { capacity_sat, push_msat } => {
                let (channel_id, funding) = wallet.open_channel(capacity_sat, Msat(push_msat)).await?;
                let json = json!({ "channel_id": channel_id.to_string(), "funding": funding.to_string() });
                Ok(answer(json, format!("channel {channel_id}, funded by {funding}")))
            }
            Self::Run { until_channels, until_route, until_announced } => {
                stay(wallet, until_channels, until_route, until_announced).await;
                Ok(Outcome::Nothing)
            }
            Self::Invoice { amount_msat, description, expiry_secs } => {
                let invoice =
                    wallet.create_invoice(Msat(amount_msat), &description, Some(expiry_secs)).await?;
                let json = json!({
                    "invoice": invoice.bolt11,
                    "payment_hash": invoice.payment_hash.to_string(),
                    "amount_msat": invoice.amount,
                    "expires_at": invoice.expires_at,
                });
                Ok(answer(json, invoice.bolt11))
            }
            Self::Pay { invoice, hold_blocks, parts_min, ordinary } => {
                let options = PayOptions { hold_blocks, parts_min, fee_max: None };
                if ordinary {
                    wallet.pay_ordinary(&invoice, options).await?;
                } else {
                    wallet.pay_async(&invoice, options).await?;
                }
                Ok(Outcome::Nothing)
            }
            Self::Register { target } => {
                let registered = wallet.register(target.of(wallet)).await?;
                let text = format!("registered as {}", registered.device_id);
                Ok(answer(json!(registered), text))
            }
            Self::Devices(command) => devices::run(wallet, command).await,
            Self::Webhooks(command) => webhooks::run(wallet, command).await,
            Self::Wakes => devices::wakes(wallet).await,
            Self::Wake { push, timeout_secs } => {
                let limits = WakeLimits { total: Duration::from_secs(timeout_secs), ..WakeLimits::default() };
                match push {
                    Some(body) => wallet.handle_push(body.as_bytes(), limits).await?,
                    None => wallet.wake(limits).await?,
                };
                Ok(Outcome::Nothing)
            }
            Self::Status { payment_hash } => Ok(status(&wallet.status(payment_hash).await?)),
            Self::Cancel { payment_hash } => {
                let cancelled = wallet.cancel(payment_hash).await?;
                let text = match cancelled {
                    wallet::Cancelled::Done => "cancelled: nothing of it is in flight",
                    wallet::Cancelled::Underway => "cancelled: the money is on its way back",
                };
                Ok(answer(json!({ "cancelled": cancelled }), text.to_owned()))
            }
        }
    }
}

pub(super) fn answer(json: Value, text: String) -> Outcome {
    Outcome::Answer { json, text }
}

async fn stay(
    wallet: &Wallet,
    until_channels: Option<usize>,
    until_route: bool,
    until_announced: Option<PublicKey>,
) {
    let bounded = until_channels.is_some() || until_route || until_announced.is_some();
    let mut enough_since = None;
    loop {
        let usable = wallet.channels().iter().filter(|channel| channel.is_usable).count();
        let enough = wallet.is_connected() && until_channels.is_none_or(|channels| usable >= channels);
        let waited = enough.then(|| enough_since.get_or_insert_with(Instant::now).elapsed());
        let routed = !until_route || wallet.knows_own_lsp() || waited >= Some(ROUTE_WAIT);
        let announced = until_announced.is_none_or(|lsp| wallet.node().node_announces_lightning_rod(lsp));
        if bounded && enough && routed && announced {
            return;
        }
        tokio::time::sleep(LOOK).await;
    }
}

fn info(wallet: &Wallet) -> Outcome {
    let node_id = wallet.node().node_id().to_string();
    let height = wallet.height();
    let json = json!({ "node_id": node_id, "height": height, "lsp": wallet.lsp().to_string() });
    answer(json, format!("node id: {node_id}\nheight:  {height}\nLSP:     {}", wallet.lsp()))
}

fn balance(wallet: &Wallet) -> Outcome {
    let balances = wallet.balance();
    let json = json!({
        "lightning_msat": balances.lightning,
        "on_chain_spendable_sat": balances.on_chain.spendable_sat,
        "on_chain_total_sat": balances.on_chain.total_sat,
    });
    let text = format!(
        "Lightning: {}\non chain:  {} sat spendable, {} sat in all",
        sat(balances.lightning),
        balances.on_chain.spendable_sat,
        balances.on_chain.total_sat
    );
    answer(json, text)
}

fn channels(wallet: &Wallet) -> Outcome {
    let channels = wallet.channels();
    let json = channels
        .iter()
        .map(|channel| {
            json!({
                "channel_id": channel.channel_id.to_string(),
                "funding": channel.funding.map(|funding| funding.to_string()),
                "capacity_sat": channel.capacity_sat,
                "balance_msat": channel.balance,
                "outbound_capacity_msat": channel.outbound_capacity,
                "inbound_capacity_msat": channel.inbound_capacity,
                "is_ready": channel.is_ready,
                "is_shutting_down": channel.is_shutting_down,
                "pending_inbound_htlcs": channel.pending_inbound_htlcs,
                "pending_outbound_htlcs": channel.pending_outbound_htlcs,
            })
        })
        .collect();
    let lines = channels.iter().map(|channel| {
        format!(
            "{}  {} sat, {} ours, {}",
            channel.channel_id,
            channel.capacity_sat,
            sat(channel.balance),
            if channel.is_ready { "ready" } else { "not confirmed" }
        )
    });
    let text = lines.collect::<Vec<_>>().join("\n");
    answer(Value::Array(json), if text.is_empty() { "no channel".to_owned() } else { text })
}

fn status(status: &Status) -> Outcome {
    let mut lines: Vec<_> = status.payments.iter().map(payment_line).collect();
    lines.extend(status.invoices.iter().map(invoice_line));
    lines.extend(status.unknown_holds.iter().map(unknown_hold_line));
    if lines.is_empty() {
        lines.push("no payment, no invoice".to_owned());
    }
    if !status.lsp_answered {
        lines.push("(the LSP could not be asked)".to_owned());
    }
    answer(json!(status), lines.join("\n"))
}

fn payment_line(payment: &PaymentView) -> String {
    let mut line = format!(
        "payment {}  {}, {}",
        payment.payment_hash,
        sat(payment.amount_msat),
        json!(payment.state).as_str().unwrap_or_default()
    );
    if let Some(hold) = &payment.hold {
        line.push_str(&format!(", the LSP says {} ({})", hold.state, sat(hold.held_msat)));
    }
    if let Some(deadline) = payment.deadline.filter(|_| !payment.state.is_final()) {
        line.push_str(&format!(", until block {deadline}"));
    }
    if let Some(reason) = &payment.reason {
        line.push_str(&format!(", {reason}"));
    }
    line
}

fn invoice_line(invoice: &InvoiceView) -> String {
    format!(
        "invoice {}  {}, {} {:?}",
        invoice.payment_hash,
        sat(invoice.amount_msat),
        invoice.state,
        invoice.description
    )
}

fn unknown_hold_line(hold: &HoldView) -> String {
    format!(
        "a payment of this seed that this wallet has forgotten: {} {}, {}",
        hold.payment_hashes.join(" "),
        hold.state,
        sat(hold.held_msat)
    )
}
