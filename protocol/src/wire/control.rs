//! `payment_cancel` and `payment_status`: what a payer may say about its own holds.

use bitcoin::secp256k1::PublicKey;
use lightning::ln::msgs::DecodeError;
use lightning::util::ser::{RequiredWrapper, WithoutLength, Writeable, Writer};
use lightning::{decode_tlv_stream, encode_tlv_stream, io};

use super::codec::required;
use super::signature::{self, SignError, SignatureError};
use crate::ids::PidHash;

/// Payer to its LSP: fail the held HTLCs of this hold back, and every one that comes later. Too late once any part is
/// released. Answered with a `payment_status_reply`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PaymentCancel {
    /// Node id of the payer.
    pub payer: PublicKey,
    /// The hold to cancel.
    pub pid_hash: PidHash,
    /// By `payer` over [`Self::signing_text`], in zbase32.
    pub signature: String,
}

impl PaymentCancel {
    /// A signed cancellation. `sign` is [`NodeSigner::sign_message`](lightning::sign::NodeSigner::sign_message) of the payer.
    ///
    /// # Errors
    /// [`SignError::Signer`] when `sign` fails.
    pub fn sign(
        payer: PublicKey,
        pid_hash: PidHash,
        lsp: &PublicKey,
        sign: impl FnOnce(&[u8]) -> Result<String, ()>,
    ) -> Result<Self, SignError> {
        let unsigned = Self { payer, pid_hash, signature: String::new() };
        let signature = signature::sign(&unsigned.signing_text(lsp), sign)?;
        Ok(Self { signature, ..unsigned })
    }

    /// The text that the payer signs for the LSP with node id `lsp`.
    pub fn signing_text(&self, lsp: &PublicKey) -> String {
        let body = Unsigned { payer: &self.payer, pid_hash: Some(&self.pid_hash) };
        signature::signing_text("payment_cancel", lsp, &body.encode())
    }

    /// Whether the node that the message names as payer signed it, for this LSP.
    ///
    /// # Errors
    /// [`SignatureError`] when not.
    pub fn verify(&self, lsp: &PublicKey) -> Result<(), SignatureError> {
        signature::verify(&self.signing_text(lsp), &self.signature, &self.payer)
    }

    pub(super) fn read_body<R: io::Read>(reader: &mut R) -> Result<Self, DecodeError> {
        let (payer, pid_hash, signature) = read_fields(reader)?;
        Ok(Self { payer, pid_hash: pid_hash.ok_or(DecodeError::InvalidValue)?, signature })
    }
}

impl Writeable for PaymentCancel {
    fn write<W: Writer>(&self, writer: &mut W) -> Result<(), io::Error> {
        Unsigned { payer: &self.payer, pid_hash: Some(&self.pid_hash) }.write(writer)?;
        encode_tlv_stream!(writer, { (240, WithoutLength(&self.signature), required) });
        Ok(())
    }
}

/// Payer to its LSP: what became of this hold, or of all of mine? A wallet that was reinstalled finds its holds by it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PaymentStatus {
    /// Node id of the payer.
    pub payer: PublicKey,
    /// The hold to ask for; `None` for all of the payer's.
    pub pid_hash: Option<PidHash>,
    /// By `payer` over [`Self::signing_text`], in zbase32.
    pub signature: String,
}

impl PaymentStatus {
    /// A signed question. `sign` is [`NodeSigner::sign_message`](lightning::sign::NodeSigner::sign_message) of the payer.
    ///
    /// # Errors
    /// [`SignError::Signer`] when `sign` fails.
    pub fn sign(
        payer: PublicKey,
        pid_hash: Option<PidHash>,
        lsp: &PublicKey,
        sign: impl FnOnce(&[u8]) -> Result<String, ()>,
    ) -> Result<Self, SignError> {
        let unsigned = Self { payer, pid_hash, signature: String::new() };
        let signature = signature::sign(&unsigned.signing_text(lsp), sign)?;
        Ok(Self { signature, ..unsigned })
    }

    /// The text that the payer signs for the LSP with node id `lsp`.
    pub fn signing_text(&self, lsp: &PublicKey) -> String {
        let body = Unsigned { payer: &self.payer, pid_hash: self.pid_hash.as_ref() };
        signature::signing_text("payment_status", lsp, &body.encode())
    }

    /// Whether the node that the message names as payer signed it, for this LSP.
    ///
    /// # Errors
    /// [`SignatureError`] when not.
    pub fn verify(&self, lsp: &PublicKey) -> Result<(), SignatureError> {
        signature::verify(&self.signing_text(lsp), &self.signature, &self.payer)
    }

    pub(super) fn read_body<R: io::Read>(reader: &mut R) -> Result<Self, DecodeError> {
        let (payer, pid_hash, signature) = read_fields(reader)?;
        Ok(Self { payer, pid_hash, signature })
    }
}

impl Writeable for PaymentStatus {
    fn write<W: Writer>(&self, writer: &mut W) -> Result<(), io::Error> {
        Unsigned { payer: &self.payer, pid_hash: self.pid_hash.as_ref() }.write(writer)?;
        encode_tlv_stream!(writer, { (240, WithoutLength(&self.signature), required) });
        Ok(())
    }
}

/// The fields that the signature covers, the same in both messages.
struct Unsigned<'a> {
    payer: &'a PublicKey,
    pid_hash: Option<&'a PidHash>,
}

impl Writeable for Unsigned<'_> {
    fn write<W: Writer>(&self, writer: &mut W) -> Result<(), io::Error> {
        encode_tlv_stream!(writer, { (2, self.payer, required), (4, self.pid_hash, option) });
        Ok(())
    }
}

fn read_fields<R: io::Read>(reader: &mut R) -> Result<(PublicKey, Option<PidHash>, String), DecodeError> {
    let mut payer = RequiredWrapper(None);
    let mut pid_hash = None;
    let mut signature = RequiredWrapper(None);
    decode_tlv_stream!(reader, {
        (2, payer, required),
        (4, pid_hash, option),
        (240, signature, (required_vec, encoding: (String, WithoutLength))),
    });
    let signature = required(signature)?;
    signature::check_form(&signature)?;
    Ok((required(payer)?, pid_hash, signature))
}
