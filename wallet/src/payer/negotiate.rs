//! What is checked before anything is asked or paid.

use std::time::Duration;

use bitcoin::Network;
use lightning_invoice::{Bolt11Invoice, Currency};
use node::Node;
use protocol::deadline;
use protocol::units::{BlockHeight, Msat};

use super::PayOptions;
use crate::Core;
use crate::error::{Missing, WalletError};
use crate::store::payments::{Payment, PaymentKind, PaymentState};

/// How long it is waited for the payee's LSP to show up in the gossip.
const GOSSIP_WAIT: Duration = Duration::from_secs(10);

/// How long money that is in flight may take to come back.
const FUNDS_WAIT: Duration = Duration::from_secs(15);

/// Reads an invoice, and refuses one for another network.
pub(super) fn parse(text: &str, network: Network) -> Result<Bolt11Invoice, WalletError> {
    let invoice: Bolt11Invoice =
        text.trim().parse().map_err(|error| WalletError::Invoice { reason: format!("{error}") })?;
    if invoice.currency() != Currency::from(network) {
        let reason = format!("it is for {:?}, this wallet is on {network}", invoice.currency());
        return Err(WalletError::Invoice { reason });
    }
    Ok(invoice)
}

/// When an invoice expires, in seconds since 1970.
pub(super) fn expires_unix(invoice: &Bolt11Invoice) -> u64 {
    (invoice.duration_since_epoch() + invoice.expiry_time()).as_secs()
}

/// The invoice's amount, unless it is expired.
pub(super) fn amount(invoice: &Bolt11Invoice, now_unix: u64) -> Result<Msat, WalletError> {
    let amount = invoice.amount_milli_satoshis().map(Msat).filter(|amount| *amount > Msat(0));
    let amount = amount.ok_or_else(|| WalletError::Invoice {
        reason: "it names no amount: ask the payee for one that does".to_owned(),
    })?;
    if now_unix >= expires_unix(invoice) {
        return Err(WalletError::Invoice { reason: "it is expired: ask for a new one".to_owned() });
    }
    Ok(amount)
}

/// The invoice's amount and the deadline to ask for.
pub(super) fn terms(
    invoice: &Bolt11Invoice,
    hold_blocks: u32,
    height: BlockHeight,
    now_unix: u64,
) -> Result<(Msat, BlockHeight), WalletError> {
    let amount = amount(invoice, now_unix)?;
    let requested = height.plus(hold_blocks);
    if !(deadline::HOLD_BLOCKS_MIN..=deadline::HOLD_BLOCKS_MAX).contains(&hold_blocks) {
        return Err(WalletError::HoldBlocks { hold_blocks });
    }
    deadline::check_invoice(requested, height, now_unix, expires_unix(invoice))?;
    Ok((amount, requested))
}

impl Core {
    /// Whether the channels have so much in all. What is on its way off them is waited for.
    pub(super) async fn check_funds(&self, amount: Msat) -> Result<(), WalletError> {
        let spendable = || self.node.channels().iter().map(|channel| channel.outbound_capacity).sum();
        if !self.node.channels().iter().any(|channel| channel.is_usable) {
            return Err(WalletError::NoUsableChannel);
        }
        self.until(FUNDS_WAIT, || spendable() >= amount || !self.node.has_pending_htlcs()).await;
        let spendable: Msat = spendable();
        if spendable < amount { Err(WalletError::NotEnough { amount, spendable }) } else { Ok(()) }
    }

    /// Everybody on the way speaks LightningRod, and the hold fits the invoice: the payment as it is stored first.
    pub(super) async fn negotiate(
        &self,
        invoice: &Bolt11Invoice,
        options: &PayOptions,
    ) -> Result<Payment, WalletError> {
        let lsp = self.config.lsp.node_id;
        let now_unix = self.clock.now_unix();
        let (amount, requested) = terms(invoice, options.hold_blocks, self.node.height(), now_unix)?;
        if !Node::invoice_is_asynchronous(invoice) {
            return Err(WalletError::NotNegotiated { missing: Missing::Payee });
        }
        if !self.node.peer_supports_lightning_rod(lsp) {
            return Err(WalletError::NotNegotiated { missing: Missing::OwnLsp });
        }
        // A payee without a route hint is in the graph itself, and whoever it is connected to keeps no message for it.
        let payees_lsp = Node::payees_lsp(invoice).unwrap_or_else(|| invoice.get_payee_pub_key());
        let announced = || payees_lsp == lsp || self.node.node_announces_lightning_rod(payees_lsp);
        if !self.until(GOSSIP_WAIT, announced).await {
            return Err(WalletError::NotNegotiated { missing: Missing::PayeesLsp });
        }
        Ok(Payment {
            payment_hash: invoice.payment_hash(),
            attempt: 0,
            kind: PaymentKind::Asynchronous,
            bolt11: invoice.to_string(),
            amount,
            state: PaymentState::Blocking,
            requested_deadline: Some(requested),
            deadline: None,
            preimage: None,
            fee: None,
            reason: None,
            created_at: now_unix,
        })
    }
}
