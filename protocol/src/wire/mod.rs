//! The onion message contents of LightningRod, and the one table of its numbers.
//!
//! Each body is a BOLT 1 TLV stream. The wire form, field by field, is specified in `docs/protocol.md`; the vectors
//! in `docs/vectors/messages.json` are read by the tests of this module.
#![allow(clippy::drop_non_drop, reason = "LDK's TLV macros drop their reader by name")]

mod block;
mod codec;
mod codes;
mod control;
mod pending;
mod signature;
mod status;
#[cfg(test)]
mod tests;

use lightning::io;
use lightning::ln::msgs::DecodeError;
use lightning::onion_message::packet::OnionMessageContents;
use lightning::util::ser::{Writeable, Writer};

pub use block::{BlockAnswer, PaymentBlock, PaymentBlockAck};
pub use codes::{HoldStateCode, PayeeRefusal, RefusalReason};
pub use control::{PaymentCancel, PaymentStatus};
pub use pending::{PaymentPending, PaymentRefused, PaymentUnblock};
pub use signature::{SignError, SignatureError};
pub use status::{HashStatus, HoldStatus, PaymentStatusReply};

/// Type of `payment_block` in the final hop's onion payload.
pub const PAYMENT_BLOCK: u64 = 75001;
/// Type of `payment_block_ack`.
pub const PAYMENT_BLOCK_ACK: u64 = 75003;
/// Type of `payment_pending`.
pub const PAYMENT_PENDING: u64 = 75005;
/// Type of `payment_cancel`.
pub const PAYMENT_CANCEL: u64 = 75007;
/// Type of `payment_status`.
pub const PAYMENT_STATUS: u64 = 75009;
/// Type of `payment_status_reply`.
pub const PAYMENT_STATUS_REPLY: u64 = 75011;
/// Type of `payment_refused`.
pub const PAYMENT_REFUSED: u64 = 75013;
/// Type of `payment_unblock`, the message by which the payee says yes along the reply path.
pub const PAYMENT_UNBLOCK: u64 = 75015;

/// Every one of them, for tests and fuzzing.
#[cfg(any(test, feature = "fuzz"))]
pub(crate) const TYPES: [u64; 8] = [
    PAYMENT_BLOCK,
    PAYMENT_BLOCK_ACK,
    PAYMENT_PENDING,
    PAYMENT_CANCEL,
    PAYMENT_STATUS,
    PAYMENT_STATUS_REPLY,
    PAYMENT_REFUSED,
    PAYMENT_UNBLOCK,
];

/// Type of the field `payment_unblock` (the pid) in the `encrypted_data_tlv` of the payer's LSP's hop. Odd, so that a
/// forwarder that does not know it forwards (BOLT 1, "it's ok to be odd").
pub const PAYMENT_UNBLOCK_FIELD: u64 = 65551;
/// Type of the field `payment_pending_for` (SHA256(pid)) in the `encrypted_data_tlv` of the payer's LSP's hop.
pub const PAYMENT_PENDING_FOR_FIELD: u64 = 65553;

/// The feature bit (BOLT 9, optional) that says "speaks LightningRod": in `init` and `node_announcement` of both LSPs, and
/// in the payee's BOLT 11 invoice. 256 to 259 and 729 are taken.
pub const FEATURE_BIT: usize = 263;

/// Most payment hashes that one `payment_block` may name.
pub const PAYMENT_HASHES_MAX: usize = 16;
/// Most holds in one `payment_status_reply`.
pub const HOLD_STATUSES_MAX: usize = 100;
/// Longest body of a `payment_status_reply`, in bytes. A whole onion packet has room for 32,768 (BOLT 4), shared with every
/// hop's payload.
pub const STATUS_REPLY_BYTES_MAX: usize = 24_000;
/// Longest human-readable text of a refusal, in bytes of UTF-8.
pub const REFUSAL_TEXT_BYTES_MAX: usize = 256;

/// Any onion message content of LightningRod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// Payer to its LSP: hold the HTLCs with these hashes.
    PaymentBlock(PaymentBlock),
    /// The LSP's answer to a `payment_block`.
    PaymentBlockAck(PaymentBlockAck),
    /// Payer to payee: your payment is held, answer along the reply path.
    PaymentPending(PaymentPending),
    /// Payer to its LSP: fail the held HTLCs back.
    PaymentCancel(PaymentCancel),
    /// Payer to its LSP: what became of my holds?
    PaymentStatus(PaymentStatus),
    /// The LSP's answer to a `payment_status` or a `payment_cancel`.
    PaymentStatusReply(PaymentStatusReply),
    /// Payee to payer, along the reply path: I shall not take this payment.
    PaymentRefused(PaymentRefused),
    /// Payee to payer, along the reply path: I am here.
    PaymentUnblock(PaymentUnblock),
}

impl Message {
    /// Reads the body of a message of type `message_type`, to the end of `reader`.
    ///
    /// `Ok(None)` for a type that is not LightningRod's. Made for
    /// [`CustomOnionMessageHandler::read_custom_message`](lightning::onion_message::messenger::CustomOnionMessageHandler::read_custom_message).
    ///
    /// # Errors
    /// [`DecodeError`] for a body that is not a TLV stream as specified: truncated, out of order, a missing or unknown even
    /// field, or a value out of its bounds.
    pub fn read<R: io::Read>(message_type: u64, reader: &mut R) -> Result<Option<Self>, DecodeError> {
        Ok(Some(match message_type {
            PAYMENT_BLOCK => Self::PaymentBlock(PaymentBlock::read_body(reader)?),
            PAYMENT_BLOCK_ACK => Self::PaymentBlockAck(PaymentBlockAck::read_body(reader)?),
            PAYMENT_PENDING => Self::PaymentPending(PaymentPending::read_body(reader)?),
            PAYMENT_CANCEL => Self::PaymentCancel(PaymentCancel::read_body(reader)?),
            PAYMENT_STATUS => Self::PaymentStatus(PaymentStatus::read_body(reader)?),
            PAYMENT_STATUS_REPLY => Self::PaymentStatusReply(PaymentStatusReply::read_body(reader)?),
            PAYMENT_REFUSED => Self::PaymentRefused(PaymentRefused::read_body(reader)?),
            PAYMENT_UNBLOCK => Self::PaymentUnblock(PaymentUnblock::read_body(reader)?),
            _ => return Ok(None),
        }))
    }
}

impl Writeable for Message {
    fn write<W: Writer>(&self, writer: &mut W) -> Result<(), io::Error> {
        match self {
            Self::PaymentBlock(message) => message.write(writer),
            Self::PaymentBlockAck(message) => message.write(writer),
            Self::PaymentPending(message) => message.write(writer),
            Self::PaymentCancel(message) => message.write(writer),
            Self::PaymentStatus(message) => message.write(writer),
            Self::PaymentStatusReply(message) => message.write(writer),
            Self::PaymentRefused(message) => message.write(writer),
            Self::PaymentUnblock(message) => message.write(writer),
        }
    }
}

impl OnionMessageContents for Message {
    fn tlv_type(&self) -> u64 {
        match self {
            Self::PaymentBlock(_) => PAYMENT_BLOCK,
            Self::PaymentBlockAck(_) => PAYMENT_BLOCK_ACK,
            Self::PaymentPending(_) => PAYMENT_PENDING,
            Self::PaymentCancel(_) => PAYMENT_CANCEL,
            Self::PaymentStatus(_) => PAYMENT_STATUS,
            Self::PaymentStatusReply(_) => PAYMENT_STATUS_REPLY,
            Self::PaymentRefused(_) => PAYMENT_REFUSED,
            Self::PaymentUnblock(_) => PAYMENT_UNBLOCK,
        }
    }

    fn msg_type(&self) -> &'static str {
        match self {
            Self::PaymentBlock(_) => "payment_block",
            Self::PaymentBlockAck(_) => "payment_block_ack",
            Self::PaymentPending(_) => "payment_pending",
            Self::PaymentCancel(_) => "payment_cancel",
            Self::PaymentStatus(_) => "payment_status",
            Self::PaymentStatusReply(_) => "payment_status_reply",
            Self::PaymentRefused(_) => "payment_refused",
            Self::PaymentUnblock(_) => "payment_unblock",
        }
    }
}

macro_rules! into_message {
    ($($body: ident),*) => { $(
        impl From<$body> for Message {
            fn from(body: $body) -> Self {
                Self::$body(body)
            }
        }
    )* };
}
into_message!(
    PaymentBlock,
    PaymentBlockAck,
    PaymentPending,
    PaymentCancel,
    PaymentStatus,
    PaymentStatusReply,
    PaymentRefused,
    PaymentUnblock
);
