//! LDK's events as our own types.

use bitcoin::OutPoint;
use bitcoin::secp256k1::PublicKey;
use lightning::events::{
    Event, HTLCHandlingFailureReason, HTLCHandlingFailureType, PaymentFailureReason, PaymentPurpose,
};
use lightning::ln::channelmanager::{InterceptId, PaymentId};
use lightning::ln::types::ChannelId;
use lightning::onion_message::messenger;
use lightning::util::ser::Writeable;
use lightning_types::payment::{PaymentHash, PaymentPreimage};
use protocol::units::{BlockHeight, Msat};

use crate::unsent::UnsentPayments;

/// What a [`crate::NodeHandler`] is told. Named after LDK's events.
#[derive(Clone, Debug)]
pub enum NodeEvent {
    /// `Event::HTLCIntercepted`. Comes again at every start while LDK holds the HTLC.
    HtlcIntercepted(InterceptedHtlc),
    /// `Event::PaymentForwarded`: the next hop claimed. May come twice.
    PaymentForwarded {
        /// The inbound HTLCs that are being claimed with the preimage.
        inbound: Vec<InboundHtlc>,
        /// What we earned, unless a channel was closed meanwhile.
        fee: Option<Msat>,
        /// What the next hop got.
        outbound_amount: Msat,
    },
    /// `Event::HTLCHandlingFailed`: an HTLC is being failed back. Names no HTLC: look at
    /// [`crate::Node::pending_inbound_htlcs`] of these channels.
    HtlcHandlingFailed {
        /// Inbound channels.
        inbound_channel_ids: Vec<ChannelId>,
        /// LDK's reason, for the log.
        reason: String,
    },
    /// `Event::PaymentClaimable`: all parts of a payment to us are here.
    PaymentClaimable {
        /// Of the invoice.
        payment_hash: PaymentHash,
        /// LDK's name for these very parts: the same one if LDK shows them again.
        payment_id: Option<PaymentId>,
        /// Sum of the parts.
        amount: Msat,
        /// Known for invoices that this node made.
        preimage: Option<PaymentPreimage>,
    },
    /// `Event::PaymentClaimed`.
    PaymentClaimed {
        /// Of the invoice.
        payment_hash: PaymentHash,
        /// What arrived.
        amount: Msat,
    },
    /// `Event::PaymentSent`: our payment succeeded.
    PaymentSent {
        /// Of the invoice.
        payment_hash: PaymentHash,
        /// The proof of payment.
        preimage: PaymentPreimage,
        /// Sum of the forwarding fees.
        fee_paid: Option<Msat>,
    },
    /// `Event::PaymentFailed`: our payment failed for good.
    PaymentFailed {
        /// Of the invoice.
        payment_hash: Option<PaymentHash>,
        /// LDK's reason.
        reason: String,
        /// No first hop took any part of it: there was no route when it was to be sent (`PaymentFailureReason::RouteNotFound`), or each
        /// first hop went away in that very moment (`PathFailure::InitialSend`).
        unsent: bool,
    },
    /// `Event::ChannelPending`: the funding transaction is out.
    ChannelPending {
        /// The final channel id.
        channel_id: ChannelId,
        /// The other end.
        peer: PublicKey,
        /// The funding output.
        funding: OutPoint,
    },
    /// `Event::ChannelReady`.
    ChannelReady {
        /// The channel.
        channel_id: ChannelId,
        /// The other end.
        peer: PublicKey,
    },
    /// `Event::ChannelClosed`.
    ChannelClosed {
        /// The channel.
        channel_id: ChannelId,
        /// The other end.
        peer: Option<PublicKey>,
        /// LDK's reason.
        reason: String,
    },
    /// `Event::OnionMessageIntercepted`: the next hop is not connected. LDK forgets the message with this event.
    OnionMessageIntercepted {
        /// Who delivered it to us.
        previous_hop: Option<PublicKey>,
        /// Who should have it.
        next_hop: PublicKey,
        /// The encoded `onion_message` for that hop.
        message: Vec<u8>,
    },
    /// `Event::OnionMessagePeerConnected`: kept messages can be delivered now.
    OnionMessagePeerConnected {
        /// Who came.
        peer: PublicKey,
    },
}

/// An HTLC that waits for our word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InterceptedHtlc {
    /// LDK's name for it.
    pub intercept_id: InterceptId,
    /// The payment that it is part of.
    pub payment_hash: PaymentHash,
    /// The channel that its sender asked for.
    pub next_hop_scid: u64,
    /// What came in.
    pub inbound_amount: Msat,
    /// What the sender wants to go out.
    pub outbound_amount: Msat,
    /// The outgoing HTLC's expiry, as the onion says.
    pub outgoing_expiry: BlockHeight,
}

/// Names one inbound HTLC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InboundHtlc {
    /// The channel it came in on.
    pub channel_id: ChannelId,
    /// Its id on that channel.
    pub htlc_id: u64,
    /// Who sent it.
    pub peer: Option<PublicKey>,
}

impl NodeEvent {
    /// Our form of an LDK event; `None` for those that the node handles itself or that nobody needs.
    pub(crate) fn from_ldk(event: Event, unsent: &UnsentPayments) -> Option<Self> {
        Some(match event {
            Event::HTLCIntercepted {
                intercept_id,
                requested_next_hop_scid,
                payment_hash,
                inbound_amount_msat,
                expected_outbound_amount_msat,
                outgoing_htlc_expiry_block_height,
            } => Self::HtlcIntercepted(InterceptedHtlc {
                intercept_id,
                payment_hash,
                next_hop_scid: requested_next_hop_scid,
                inbound_amount: Msat(inbound_amount_msat),
                outbound_amount: Msat(expected_outbound_amount_msat),
                // Only events written by LDK 0.2 lack it; no database of ours holds one. Zero is never held.
                outgoing_expiry: BlockHeight(outgoing_htlc_expiry_block_height.unwrap_or(0)),
            }),
            Event::PaymentForwarded {
                prev_htlcs,
                total_fee_earned_msat,
                outbound_amount_forwarded_msat,
                ..
            } => Self::PaymentForwarded {
                inbound: prev_htlcs
                    .iter()
                    .filter_map(|htlc| {
                        let htlc_id = htlc.htlc_id?;
                        Some(InboundHtlc { channel_id: htlc.channel_id, htlc_id, peer: htlc.node_id })
                    })
                    .collect(),
                fee: total_fee_earned_msat.map(Msat),
                outbound_amount: Msat(outbound_amount_forwarded_msat),
            },
            Event::HTLCHandlingFailed { prev_channel_ids, failure_type, failure_reason } => {
                Self::HtlcHandlingFailed {
                    inbound_channel_ids: prev_channel_ids,
                    reason: handling_failure(&failure_type, failure_reason.as_ref()),
                }
            }
            Event::PaymentClaimable { payment_hash, payment_id, amount_msat, purpose, .. } => {
                Self::PaymentClaimable {
                    payment_hash,
                    payment_id,
                    amount: Msat(amount_msat),
                    preimage: preimage(&purpose),
                }
            }
            Event::PaymentClaimed { payment_hash, amount_msat, .. } => {
                Self::PaymentClaimed { payment_hash, amount: Msat(amount_msat) }
            }
            Event::PaymentSent { payment_hash, payment_preimage, fee_paid_msat, .. } => Self::PaymentSent {
                payment_hash,
                preimage: payment_preimage,
                fee_paid: fee_paid_msat.map(Msat),
            },
            Event::PaymentFailed { payment_hash, reason, .. } => Self::PaymentFailed {
                payment_hash,
                unsent: reason == Some(PaymentFailureReason::RouteNotFound)
                    || payment_hash.is_some_and(|hash| unsent.take(&hash)),
                reason: reason.map_or_else(|| "unknown".to_owned(), |reason| format!("{reason:?}")),
            },
            Event::ChannelPending { channel_id, counterparty_node_id, funding_txo, .. } => {
                Self::ChannelPending { channel_id, peer: counterparty_node_id, funding: funding_txo }
            }
            Event::ChannelReady { channel_id, counterparty_node_id, .. } => {
                Self::ChannelReady { channel_id, peer: counterparty_node_id }
            }
            Event::ChannelClosed { channel_id, counterparty_node_id, reason, .. } => {
                Self::ChannelClosed { channel_id, peer: counterparty_node_id, reason: reason.to_string() }
            }
            Event::OnionMessageIntercepted {
                prev_hop,
                next_hop: lightning::blinded_path::message::NextMessageHop::NodeId(next_hop),
                message,
            } => {
                Self::OnionMessageIntercepted { previous_hop: prev_hop, next_hop, message: message.encode() }
            }
            Event::OnionMessagePeerConnected { peer_node_id } => {
                Self::OnionMessagePeerConnected { peer: peer_node_id }
            }
            _ => return None,
        })
    }
}

/// What happened to an HTLC, for the log: with ids as everybody else prints them.
fn handling_failure(failure: &HTLCHandlingFailureType, reason: Option<&HTLCHandlingFailureReason>) -> String {
    let place = match failure {
        HTLCHandlingFailureType::Forward { node_id: Some(node_id), channel_id } => {
            format!("forwarding to {node_id} on channel {channel_id}")
        }
        HTLCHandlingFailureType::Forward { node_id: None, channel_id } => {
            format!("forwarding on channel {channel_id}")
        }
        HTLCHandlingFailureType::UnknownNextHop { requested_forward_scid } => {
            format!("forwarding to unknown channel {requested_forward_scid}")
        }
        HTLCHandlingFailureType::InvalidForward { requested_forward_scid } => {
            format!("forwarding as asked to channel {requested_forward_scid}")
        }
        HTLCHandlingFailureType::InvalidOnion => "reading the onion".to_owned(),
        HTLCHandlingFailureType::Receive { payment_hash } => format!("receiving {payment_hash}"),
        HTLCHandlingFailureType::TrampolineForward {} => "a trampoline forward".to_owned(),
    };
    match reason {
        Some(reason) => format!("{place}: {reason:?}"),
        None => place,
    }
}

fn preimage(purpose: &PaymentPurpose) -> Option<PaymentPreimage> {
    match purpose {
        PaymentPurpose::Bolt11InvoicePayment { payment_preimage, .. } => *payment_preimage,
        _ => None,
    }
}

/// The destination of an onion message.
pub type Destination = messenger::Destination;
