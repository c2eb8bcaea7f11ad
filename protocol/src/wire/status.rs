//! `payment_status_reply`: what a payer is told of its holds.

use lightning::ln::msgs::DecodeError;
use lightning::types::payment::PaymentHash;
use lightning::util::ser::{Readable, RequiredWrapper, Writeable, Writer};
use lightning::{decode_tlv_stream, encode_tlv_stream, io, read_tlv_fields, write_tlv_fields};

use super::codec::required;
use super::{HOLD_STATUSES_MAX, HoldStateCode, PAYMENT_HASHES_MAX, STATUS_REPLY_BYTES_MAX};
use crate::ids::PidHash;
use crate::units::{BlockHeight, Msat};

/// The LSP's answer to a `payment_status` or a `payment_cancel`. No hold in it means: none that it knows of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PaymentStatusReply {
    /// At most [`HOLD_STATUSES_MAX`], the live ones first.
    pub holds: Vec<HoldStatus>,
    /// There are more than fit here. A hold that is asked for by its pid hash always fits.
    pub truncated: bool,
}

/// One hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HoldStatus {
    /// Which one.
    pub pid_hash: PidHash,
    /// How far it is.
    pub state: HoldStateCode,
    /// The height that was granted.
    pub deadline: BlockHeight,
    /// The LSP keeps the payer's `payment_pending` and sends it again until it is answered.
    pub pending_in_care: bool,
    /// One for each payment hash of the `payment_block`.
    pub hashes: Vec<HashStatus>,
}

/// The HTLCs of one payment hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HashStatus {
    /// Of the HTLCs.
    pub payment_hash: PaymentHash,
    /// How many of them the LSP has: held or released, and, once the whole hold is failing, those on their way back. A part
    /// that was failed alone does not count.
    pub held_parts: u16,
    /// The sum of what they bring to the LSP, its fee included.
    pub held: Msat,
}

impl PaymentStatusReply {
    /// As many of `holds`, from the first, as one message carries.
    pub fn new(mut holds: Vec<HoldStatus>) -> Self {
        let mut bytes = 0;
        let fitting = holds
            .iter()
            .take(HOLD_STATUSES_MAX)
            .take_while(|hold| {
                bytes += hold.serialized_length();
                bytes <= STATUS_REPLY_BYTES_MAX
            })
            .count();
        let truncated = fitting < holds.len();
        holds.truncate(fitting);
        Self { holds, truncated }
    }

    pub(super) fn read_body<R: io::Read>(reader: &mut R) -> Result<Self, DecodeError> {
        let mut holds = Vec::new();
        let mut truncated: Option<()> = None;
        decode_tlv_stream!(reader, { (2, holds, required_vec), (3, truncated, option) });
        if holds.len() > HOLD_STATUSES_MAX {
            return Err(DecodeError::InvalidValue);
        }
        Ok(Self { holds, truncated: truncated.is_some() })
    }
}

impl Writeable for PaymentStatusReply {
    fn write<W: Writer>(&self, writer: &mut W) -> Result<(), io::Error> {
        let truncated = self.truncated.then_some(());
        encode_tlv_stream!(writer, { (2, &self.holds, required_vec), (3, truncated, option) });
        Ok(())
    }
}

impl Writeable for HoldStatus {
    fn write<W: Writer>(&self, writer: &mut W) -> Result<(), io::Error> {
        write_tlv_fields!(writer, {
            (2, self.pid_hash, required),
            (4, self.state, required),
            (6, self.deadline, required),
            (8, self.pending_in_care, required),
            (10, self.hashes, required_vec),
        });
        Ok(())
    }
}

impl Readable for HoldStatus {
    fn read<R: io::Read>(reader: &mut R) -> Result<Self, DecodeError> {
        let mut pid_hash = RequiredWrapper(None);
        let mut state = RequiredWrapper(None);
        let mut deadline = RequiredWrapper(None);
        let mut pending_in_care = RequiredWrapper(None);
        let mut hashes = Vec::new();
        read_tlv_fields!(reader, {
            (2, pid_hash, required),
            (4, state, required),
            (6, deadline, required),
            (8, pending_in_care, required),
            (10, hashes, required_vec),
        });
        if hashes.len() > PAYMENT_HASHES_MAX {
            return Err(DecodeError::InvalidValue);
        }
        Ok(Self {
            pid_hash: required(pid_hash)?,
            state: required(state)?,
            deadline: required(deadline)?,
            pending_in_care: required(pending_in_care)?,
            hashes,
        })
    }
}

impl Writeable for HashStatus {
    fn write<W: Writer>(&self, writer: &mut W) -> Result<(), io::Error> {
        write_tlv_fields!(writer, {
            (2, self.payment_hash, required),
            (4, self.held_parts, required),
            (6, self.held, required),
        });
        Ok(())
    }
}

impl Readable for HashStatus {
    fn read<R: io::Read>(reader: &mut R) -> Result<Self, DecodeError> {
        let mut payment_hash = RequiredWrapper(None);
        let mut held_parts = RequiredWrapper(None);
        let mut held = RequiredWrapper(None);
        read_tlv_fields!(reader, {
            (2, payment_hash, required),
            (4, held_parts, required),
            (6, held, required),
        });
        Ok(Self {
            payment_hash: required(payment_hash)?,
            held_parts: required(held_parts)?,
            held: required(held)?,
        })
    }
}
