//! `payment_block` and its answer.

use std::collections::HashSet;

use bitcoin::secp256k1::PublicKey;
use lightning::ln::msgs::DecodeError;
use lightning::types::payment::PaymentHash;
use lightning::util::ser::{RequiredWrapper, WithoutLength, Writeable, Writer};
use lightning::{decode_tlv_stream, encode_tlv_stream, io};

use super::codec::required;
use super::signature::{self, SignError, SignatureError};
use super::{PAYMENT_HASHES_MAX, REFUSAL_TEXT_BYTES_MAX, RefusalReason};
use crate::ids::PidHash;
use crate::units::BlockHeight;

/// Payer to its LSP: hold every HTLC with these hashes that comes on my channels, until an unblock, a cancellation or the
/// deadline.
///
/// Two requests are the same when everything but the signature is: ECDSA signatures are not unique.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PaymentBlock {
    /// Node id of the payer, who signed this and must have a channel with the LSP.
    pub payer: PublicKey,
    /// Names the hold. Unique for good with `payer`.
    pub pid_hash: PidHash,
    /// 1 to [`PAYMENT_HASHES_MAX`] different hashes.
    pub payment_hashes: Vec<PaymentHash>,
    /// The height at which the payer wants the HTLCs failed back.
    pub deadline: BlockHeight,
    /// By `payer` over [`Self::signing_text`], in zbase32.
    pub signature: String,
}

impl PaymentBlock {
    /// A signed request. `sign` is [`NodeSigner::sign_message`](lightning::sign::NodeSigner::sign_message) of the payer.
    ///
    /// # Errors
    /// [`SignError::PaymentHashes`] for a list out of bounds, [`SignError::Signer`] when `sign` fails.
    pub fn sign(
        payer: PublicKey,
        pid_hash: PidHash,
        payment_hashes: Vec<PaymentHash>,
        deadline: BlockHeight,
        lsp: &PublicKey,
        sign: impl FnOnce(&[u8]) -> Result<String, ()>,
    ) -> Result<Self, SignError> {
        check_payment_hashes(&payment_hashes).map_err(|_| SignError::PaymentHashes)?;
        let unsigned = Self { payer, pid_hash, payment_hashes, deadline, signature: String::new() };
        let signature = signature::sign(&unsigned.signing_text(lsp), sign)?;
        Ok(Self { signature, ..unsigned })
    }

    /// The text that the payer signs for the LSP with node id `lsp`.
    pub fn signing_text(&self, lsp: &PublicKey) -> String {
        signature::signing_text("payment_block", lsp, &Unsigned(self).encode())
    }

    /// Whether the node that the message names as payer signed it, for this LSP.
    ///
    /// # Errors
    /// [`SignatureError`] when not.
    pub fn verify(&self, lsp: &PublicKey) -> Result<(), SignatureError> {
        signature::verify(&self.signing_text(lsp), &self.signature, &self.payer)
    }

    pub(super) fn read_body<R: io::Read>(reader: &mut R) -> Result<Self, DecodeError> {
        let mut payer = RequiredWrapper(None);
        let mut pid_hash = RequiredWrapper(None);
        let mut payment_hashes = Vec::new();
        let mut deadline = RequiredWrapper(None);
        let mut signature = RequiredWrapper(None);
        decode_tlv_stream!(reader, {
            (2, payer, required),
            (4, pid_hash, required),
            (6, payment_hashes, required_vec),
            (8, deadline, required),
            (240, signature, (required_vec, encoding: (String, WithoutLength))),
        });
        let signature = required(signature)?;
        signature::check_form(&signature)?;
        check_payment_hashes(&payment_hashes)?;
        Ok(Self {
            payer: required(payer)?,
            pid_hash: required(pid_hash)?,
            payment_hashes,
            deadline: required(deadline)?,
            signature,
        })
    }
}

impl Writeable for PaymentBlock {
    fn write<W: Writer>(&self, writer: &mut W) -> Result<(), io::Error> {
        Unsigned(self).write(writer)?;
        encode_tlv_stream!(writer, { (240, WithoutLength(&self.signature), required) });
        Ok(())
    }
}

/// The fields that the signature covers.
struct Unsigned<'a>(&'a PaymentBlock);

impl Writeable for Unsigned<'_> {
    fn write<W: Writer>(&self, writer: &mut W) -> Result<(), io::Error> {
        encode_tlv_stream!(writer, {
            (2, self.0.payer, required),
            (4, self.0.pid_hash, required),
            (6, &self.0.payment_hashes, required_vec),
            (8, self.0.deadline, required),
        });
        Ok(())
    }
}

fn check_payment_hashes(hashes: &[PaymentHash]) -> Result<(), DecodeError> {
    let in_bounds = (1..=PAYMENT_HASHES_MAX).contains(&hashes.len());
    if in_bounds && hashes.iter().collect::<HashSet<_>>().len() == hashes.len() {
        Ok(())
    } else {
        Err(DecodeError::InvalidValue)
    }
}

/// The LSP's answer to a `payment_block`. An identical request gets the same answer again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PaymentBlockAck {
    /// The hold that was asked for.
    pub pid_hash: PidHash,
    /// Whether it is granted.
    pub answer: BlockAnswer,
}

/// Yes, until when; or no, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BlockAnswer {
    /// The LSP holds from now on.
    Accepted {
        /// The height at which it will fail the HTLCs back: at most what was asked for.
        deadline: BlockHeight,
    },
    /// The LSP holds nothing. The payer must not pay.
    Refused {
        /// For programs.
        reason: RefusalReason,
        /// For people, if the LSP has more to say. Comes from the other node: show it, never interpret it. What is longer
        /// than [`REFUSAL_TEXT_BYTES_MAX`] is cut when it is written, and refused when it is read.
        text: Option<String>,
    },
}

impl PaymentBlockAck {
    pub(super) fn read_body<R: io::Read>(reader: &mut R) -> Result<Self, DecodeError> {
        let mut pid_hash = RequiredWrapper(None);
        let mut deadline = None;
        let mut reason = None;
        let mut text: Option<String> = None;
        decode_tlv_stream!(reader, {
            (2, pid_hash, required),
            (4, deadline, option),
            (6, reason, option),
            (7, text, (option, encoding: (String, WithoutLength))),
        });
        let answer = match (deadline, reason) {
            (Some(deadline), None) if text.is_none() => BlockAnswer::Accepted { deadline },
            (None, Some(reason)) if text.as_ref().is_none_or(|text| text.len() <= REFUSAL_TEXT_BYTES_MAX) => {
                BlockAnswer::Refused { reason, text }
            }
            _ => return Err(DecodeError::InvalidValue),
        };
        Ok(Self { pid_hash: required(pid_hash)?, answer })
    }
}

impl Writeable for PaymentBlockAck {
    fn write<W: Writer>(&self, writer: &mut W) -> Result<(), io::Error> {
        match &self.answer {
            BlockAnswer::Accepted { deadline } => {
                encode_tlv_stream!(writer, { (2, self.pid_hash, required), (4, deadline, required) });
            }
            BlockAnswer::Refused { reason, text } => {
                let text = text.as_deref().map(cut);
                encode_tlv_stream!(writer, {
                    (2, self.pid_hash, required),
                    (6, reason, required),
                    (7, text.as_ref().map(WithoutLength), option),
                });
            }
        }
        Ok(())
    }
}

fn cut(text: &str) -> String {
    text[..text.floor_char_boundary(REFUSAL_TEXT_BYTES_MAX)].to_owned()
}
