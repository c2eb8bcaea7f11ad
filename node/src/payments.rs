//! Invoices and payments of a phone.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bitcoin::secp256k1::PublicKey;
use lightning::ln::channelmanager::{PaymentId, RecentPaymentDetails};
use lightning::ln::outbound_payment::{RecipientOnionFields, Retry, RetryableSendFailure};
use lightning::routing::router::{Payee, PaymentParameters, RouteParameters};
use lightning::sign::{NodeSigner, Recipient};
use lightning_invoice::{
    Bolt11Invoice, Currency, InvoiceBuilder, RawTaggedField, RouteHint, RouteHintHop, RoutingFees,
    TaggedField,
};
use lightning_types::payment::{PaymentHash, PaymentPreimage};
use protocol::units::Msat;
use protocol::wire::FEATURE_BIT;

use crate::Node;
use crate::error::NodeError;
use crate::onion::supports_lightning_rod;

/// The first hop refuses an HTLC that expires later than this many blocks from now (LDK: 2016).
const FIRST_HOP_BLOCKS_MAX: u32 = 2016;

/// LDK's margin for the payee's own clock in an invoice's `min_final_cltv_expiry_delta`.
const MIN_FINAL_CLTV_EXPIRY_DELTA_BLOCKS: u64 = 41;

/// Route hints in one invoice.
const ROUTE_HINTS_MAX: usize = 8;

/// What an invoice should say.
#[derive(Clone, Debug)]
pub struct InvoiceRequest {
    /// Must be paid exactly by a LightningRod payer.
    pub amount: Option<Msat>,
    /// For the payer's eyes, at most 639 bytes (BOLT 11).
    pub description: String,
    /// How long it can be paid, in seconds.
    pub expiry_secs: u32,
    /// Announce that this payee answers payment_pending.
    pub asynchronous: bool,
}

/// How an invoice should be paid.
#[derive(Clone, Debug)]
pub struct PayRequest {
    /// The invoice, checked by its parser.
    pub invoice: Bolt11Invoice,
    /// Needed when the invoice names none.
    pub amount: Option<Msat>,
    /// Blocks added to the final CLTV delta, which is what buys time for a hold.
    pub extra_final_cltv_blocks: u32,
    /// LDK may try other routes; never for a hold, whose failure says nothing about the route.
    pub retries: u32,
    /// The most that routing may cost; LDK's default is 1% and 50 sat.
    pub fee_max: Option<Msat>,
}

/// LDK's `RecentPaymentDetails` of a BOLT 11 payment. A payment that LDK knows cannot be sent a second time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OwnPayment {
    /// On its way.
    Pending,
    /// Paid; remembered for a few minutes.
    Fulfilled,
    /// Given up; HTLCs of it may still be on their way back.
    Abandoned,
}

fn now() -> Result<Duration, NodeError> {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_err(|_| NodeError::Invoice("the system clock is before 1970".to_owned()))
}

impl Node {
    /// Makes an invoice with route hints through the LSP.
    ///
    /// # Errors
    /// When there is no usable channel to be paid on, or the description is too long.
    pub fn create_invoice(&self, request: &InvoiceRequest) -> Result<Bolt11Invoice, NodeError> {
        let hints = self.route_hints();
        if hints.is_empty() {
            return Err(NodeError::Invoice(
                "there is no channel to be paid on: open one with the LSP first".to_owned(),
            ));
        }
        let (payment_hash, payment_secret, _) = self
            .channel_manager
            .create_inbound_payment(request.amount.map(|amount| amount.0), request.expiry_secs, None, None)
            .map_err(|()| NodeError::Invoice("the amount or the expiry is out of range".to_owned()))?;
        let mut builder = InvoiceBuilder::new(Currency::from(self.config.network))
            .description(request.description.clone())
            .payment_hash(payment_hash)
            .payment_secret(payment_secret)
            .duration_since_epoch(now()?)
            .min_final_cltv_expiry_delta(MIN_FINAL_CLTV_EXPIRY_DELTA_BLOCKS)
            .expiry_time(Duration::from_secs(u64::from(request.expiry_secs)))
            .basic_mpp();
        if let Some(amount) = request.amount {
            builder = builder.amount_milli_satoshis(amount.0);
        }
        for hint in hints {
            builder = builder.private_route(hint);
        }
        let mut raw = builder.build_raw().map_err(|error| NodeError::Invoice(error.to_string()))?;
        if request.asynchronous {
            for field in &mut raw.data.tagged_fields {
                if let RawTaggedField::KnownSemantics(TaggedField::Features(features)) = field {
                    features
                        .set_optional_custom_bit(FEATURE_BIT)
                        .map_err(|()| NodeError::Invoice("the feature bit is taken".to_owned()))?;
                }
            }
        }
        let signature = self
            .keys
            .sign_invoice(&raw, Recipient::Node)
            .map_err(|()| NodeError::refused("signing an invoice", "no signer"))?;
        let signed = raw
            .sign(|_| Ok::<_, ()>(signature))
            .map_err(|()| NodeError::refused("signing an invoice", "no signature"))?;
        Bolt11Invoice::from_signed(signed).map_err(|error| NodeError::Invoice(error.to_string()))
    }

    fn route_hints(&self) -> Vec<RouteHint> {
        self.channel_manager
            .list_channels()
            .into_iter()
            .filter(|details| details.is_channel_ready && !details.is_announced)
            .filter_map(|details| {
                let forwarding = details.counterparty.forwarding_info.as_ref()?;
                Some(RouteHint(vec![RouteHintHop {
                    src_node_id: details.counterparty.node_id,
                    short_channel_id: details.get_inbound_payment_scid()?,
                    fees: RoutingFees {
                        base_msat: forwarding.fee_base_msat,
                        proportional_millionths: forwarding.fee_proportional_millionths,
                    },
                    cltv_expiry_delta: forwarding.cltv_expiry_delta,
                    htlc_minimum_msat: details.inbound_htlc_minimum_msat,
                    htlc_maximum_msat: details.inbound_htlc_maximum_msat,
                }]))
            })
            .take(ROUTE_HINTS_MAX)
            .collect()
    }

    /// Starts a payment; its end comes as [`crate::NodeEvent::PaymentSent`] or [`crate::NodeEvent::PaymentFailed`].
    ///
    /// # Errors
    /// When no route is found, the invoice is expired or for another network, or it is being paid already.
    pub fn pay(&self, request: &PayRequest) -> Result<(), NodeError> {
        let invoice = &request.invoice;
        if invoice.currency() != Currency::from(self.config.network) {
            return Err(NodeError::Invoice(format!(
                "the invoice is for {:?}, this wallet is on {}",
                invoice.currency(),
                self.config.network
            )));
        }
        if invoice.would_expire(now()?) {
            return Err(NodeError::Invoice("the invoice is expired: ask for a new one".to_owned()));
        }
        let amount_msat = match (invoice.amount_milli_satoshis(), request.amount) {
            (Some(amount_msat), None) => amount_msat,
            (None, Some(amount)) => amount.0,
            (Some(stated), Some(amount)) if stated == amount.0 => stated,
            (Some(stated), Some(_)) => {
                return Err(NodeError::Invoice(format!("the invoice asks for exactly {stated} msat")));
            }
            (None, None) => {
                return Err(NodeError::Invoice("the invoice names no amount: give one".to_owned()));
            }
        };
        let mut params = PaymentParameters::from_bolt11_invoice(invoice);
        if let Payee::Clear { final_cltv_expiry_delta, .. } = &mut params.payee {
            *final_cltv_expiry_delta += request.extra_final_cltv_blocks;
        }
        params.max_total_cltv_expiry_delta = FIRST_HOP_BLOCKS_MAX;
        let mut route = RouteParameters::from_payment_params_and_value(params, amount_msat);
        if let Some(fee_max) = request.fee_max {
            route.max_total_routing_fee_msat = Some(fee_max.0);
        }
        let mut onion = RecipientOnionFields::secret_only(*invoice.payment_secret(), amount_msat);
        onion.payment_metadata = invoice.payment_metadata().cloned();
        let payment_hash = invoice.payment_hash();
        self.channel_manager
            .send_payment(
                payment_hash,
                onion,
                PaymentId(payment_hash.0),
                route,
                Retry::Attempts(request.retries),
            )
            .map_err(|error| match error {
                RetryableSendFailure::RouteNotFound => NodeError::NoRoute,
                RetryableSendFailure::DuplicatePayment => NodeError::DuplicatePayment,
                error => NodeError::refused("paying", error),
            })
    }

    /// How far LDK is with a payment of ours; `None` when it was never sent, or ended and was forgotten.
    pub fn own_payment(&self, payment_hash: PaymentHash) -> Option<OwnPayment> {
        let id = PaymentId(payment_hash.0);
        self.channel_manager.list_recent_payments().into_iter().find_map(|payment| match payment {
            RecentPaymentDetails::Pending { payment_id, .. } if payment_id == id => Some(OwnPayment::Pending),
            RecentPaymentDetails::Fulfilled { payment_id, .. } if payment_id == id => {
                Some(OwnPayment::Fulfilled)
            }
            RecentPaymentDetails::Abandoned { payment_id, .. } if payment_id == id => {
                Some(OwnPayment::Abandoned)
            }
            _ => None,
        })
    }

    /// Whether LDK knows a payment of ours with this hash and it has not ended.
    pub fn is_paying(&self, payment_hash: PaymentHash) -> bool {
        self.channel_manager.list_recent_payments().iter().any(|payment| {
            matches!(payment, RecentPaymentDetails::Pending { payment_hash: hash, .. } if *hash == payment_hash)
        })
    }

    /// Claims a payment whose `PaymentClaimable` came.
    pub fn claim(&self, preimage: PaymentPreimage) {
        self.channel_manager.claim_funds(preimage);
        self.peer_manager.process_events();
    }

    /// Fails a payment whose `PaymentClaimable` came.
    pub fn refuse_payment(&self, payment_hash: PaymentHash) {
        self.channel_manager.fail_htlc_backwards(&payment_hash);
        self.flush_forwards();
    }

    /// HTLCs of this node in flight, both ways.
    pub fn has_pending_htlcs(&self) -> bool {
        self.channel_manager.list_channels().iter().any(|details| {
            !details.pending_inbound_htlcs.is_empty() || !details.pending_outbound_htlcs.is_empty()
        })
    }

    /// Our HTLCs in flight for one payment: how many parts, and their sum.
    pub fn outbound_parts(&self, payment_hash: PaymentHash) -> (usize, Msat) {
        let parts: Vec<_> = self
            .channel_manager
            .list_channels()
            .into_iter()
            .flat_map(|details| details.pending_outbound_htlcs)
            .filter(|htlc| htlc.payment_hash == payment_hash)
            .map(|htlc| Msat(htlc.amount_msat))
            .collect();
        (parts.len(), parts.into_iter().sum())
    }

    /// The invoice says that its payee answers payment_pending.
    pub fn invoice_is_asynchronous(invoice: &Bolt11Invoice) -> bool {
        invoice.features().is_some_and(|features| supports_lightning_rod(features.le_flags()))
    }

    /// The node behind which the payee sits: the last private hop's source, or the payee itself.
    pub fn payees_lsp(invoice: &Bolt11Invoice) -> Option<PublicKey> {
        invoice.private_routes().first().and_then(|route| route.0.first()).map(|hop| hop.src_node_id)
    }
}
