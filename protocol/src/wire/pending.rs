//! What payer and payee say to each other: `payment_pending`, and the payee's yes or no.

use bitcoin::secp256k1::PublicKey;
use lightning::ln::msgs::DecodeError;
use lightning::types::payment::PaymentHash;
use lightning::util::ser::{RequiredWrapper, Writeable, Writer};
use lightning::{decode_tlv_stream, encode_tlv_stream, io};

use super::PayeeRefusal;
use super::codec::required;
use crate::ids::Pid;
use crate::units::{BlockHeight, Msat};

/// Payer to payee: a payment for your invoice is held; answer along the reply path that came with this message, and it is
/// released.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PaymentPending {
    /// Of the invoice.
    pub payment_hash: PaymentHash,
    /// What the payee will receive.
    pub amount: Msat,
    /// Releases the hold: for the payee that builds the way back by itself.
    pub pid: Pid,
    /// The height at which the payment fails back.
    pub deadline: BlockHeight,
    /// Node ids of the payer and of its LSP, if the payer chooses to show itself. Only then can the payee build the way
    /// back by itself.
    pub payer_and_lsp: Option<(PublicKey, PublicKey)>,
}

impl PaymentPending {
    pub(super) fn read_body<R: io::Read>(reader: &mut R) -> Result<Self, DecodeError> {
        let mut payment_hash = RequiredWrapper(None);
        let mut amount = RequiredWrapper(None);
        let mut pid = RequiredWrapper(None);
        let mut deadline = RequiredWrapper(None);
        let mut payer = None;
        let mut lsp = None;
        decode_tlv_stream!(reader, {
            (2, payment_hash, required),
            (4, amount, required),
            (6, pid, required),
            (8, deadline, required),
            (9, payer, option),
            (11, lsp, option),
        });
        let payer_and_lsp = match (payer, lsp) {
            (Some(payer), Some(lsp)) => Some((payer, lsp)),
            (None, None) => None,
            _ => return Err(DecodeError::InvalidValue),
        };
        Ok(Self {
            payment_hash: required(payment_hash)?,
            amount: required(amount)?,
            pid: required(pid)?,
            deadline: required(deadline)?,
            payer_and_lsp,
        })
    }
}

impl Writeable for PaymentPending {
    fn write<W: Writer>(&self, writer: &mut W) -> Result<(), io::Error> {
        let (payer, lsp) = self.payer_and_lsp.unzip();
        encode_tlv_stream!(writer, {
            (2, self.payment_hash, required),
            (4, self.amount, required),
            (6, self.pid, required),
            (8, self.deadline, required),
            (9, payer, option),
            (11, lsp, option),
        });
        Ok(())
    }
}

/// Payee to payer, along the reply path: I am here, release the payment. What releases it is not this message but the field
/// in the path that it takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PaymentUnblock {
    /// The payment that is awaited.
    pub payment_hash: PaymentHash,
}

impl PaymentUnblock {
    pub(super) fn read_body<R: io::Read>(reader: &mut R) -> Result<Self, DecodeError> {
        let mut payment_hash = RequiredWrapper(None);
        decode_tlv_stream!(reader, { (2, payment_hash, required) });
        Ok(Self { payment_hash: required(payment_hash)? })
    }
}

impl Writeable for PaymentUnblock {
    fn write<W: Writer>(&self, writer: &mut W) -> Result<(), io::Error> {
        encode_tlv_stream!(writer, { (2, self.payment_hash, required) });
        Ok(())
    }
}

/// Payee to payer, along the reply path: I shall fail this payment. It too releases the HTLCs, so that the payer has its
/// money back at once instead of at the deadline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PaymentRefused {
    /// The payment that is refused.
    pub payment_hash: PaymentHash,
    /// Why.
    pub reason: PayeeRefusal,
}

impl PaymentRefused {
    pub(super) fn read_body<R: io::Read>(reader: &mut R) -> Result<Self, DecodeError> {
        let mut payment_hash = RequiredWrapper(None);
        let mut reason = RequiredWrapper(None);
        decode_tlv_stream!(reader, { (2, payment_hash, required), (4, reason, required) });
        Ok(Self { payment_hash: required(payment_hash)?, reason: required(reason)? })
    }
}

impl Writeable for PaymentRefused {
    fn write<W: Writer>(&self, writer: &mut W) -> Result<(), io::Error> {
        encode_tlv_stream!(writer, { (2, self.payment_hash, required), (4, self.reason, required) });
        Ok(())
    }
}
