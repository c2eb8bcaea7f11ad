//! What one hop of a path is told: `encrypted_data_tlv`.

use bitcoin::secp256k1::PublicKey;
use lightning::ln::msgs::DecodeError;
use lightning::util::ser::{WithoutLength, Writeable};
use lightning::{decode_tlv_stream, encode_tlv_stream, io};

use crate::ids::{Pid, PidHash};
use crate::wire::{PAYMENT_PENDING_FOR_FIELD, PAYMENT_UNBLOCK_FIELD};

/// Plaintexts are padded to a multiple of this many bytes, as LDK pads those of its own paths: neither length nor place tells
/// which hop carries a field.
pub const HOP_BYTES: usize = 100;

/// Type and length byte of the padding field.
const PADDING_OVERHEAD: usize = 2;

/// The fields of one hop that LightningRod writes and reads.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HopTlvs {
    /// The node to forward to, by its node id.
    pub next_node: Option<PublicKey>,
    /// The node to forward to, by a channel with it.
    pub next_scid: Option<u64>,
    /// The path key to hand on, where a sender's own hops join another's path.
    pub next_path_key_override: Option<PublicKey>,
    /// Releases the hold.
    pub payment_unblock: Option<Pid>,
    /// Puts the message into the care of the hold.
    pub payment_pending_for: Option<PidHash>,
}

impl HopTlvs {
    /// A hop that forwards to `node`.
    pub fn forward_to(node: PublicKey) -> Self {
        Self { next_node: Some(node), ..Self::default() }
    }

    /// The last hop: nothing but padding.
    pub fn last() -> Self {
        Self::default()
    }

    /// With the field `payment_unblock`.
    #[must_use]
    pub fn with_payment_unblock(self, pid: Pid) -> Self {
        Self { payment_unblock: Some(pid), ..self }
    }

    /// With the field `payment_pending_for`.
    #[must_use]
    pub fn with_payment_pending_for(self, pid_hash: PidHash) -> Self {
        Self { payment_pending_for: Some(pid_hash), ..self }
    }

    /// The TLV stream, padded to a multiple of [`HOP_BYTES`].
    pub fn plaintext(&self) -> HopPlaintext {
        let bare = Padded { tlvs: self, padding: None }.encode().len();
        let padding = match bare % HOP_BYTES {
            0 if bare > 0 => None,
            _ => Some((bare + PADDING_OVERHEAD).next_multiple_of(HOP_BYTES) - bare - PADDING_OVERHEAD),
        };
        HopPlaintext(Padded { tlvs: self, padding }.encode())
    }

    /// Reads what [`Self::plaintext`] or another implementation has written.
    ///
    /// # Errors
    /// [`DecodeError`] for what LDK would not forward either: a stream that is malformed or has an unknown even field, two next
    /// hops, or LDK's own fields for a final hop (65537 and 65539).
    #[allow(clippy::drop_non_drop, reason = "LDK's TLV macros drop their reader by name")]
    pub fn read(plaintext: &[u8]) -> Result<Self, DecodeError> {
        let mut stream = plaintext;
        let mut _padding: Option<WithoutLength<Vec<u8>>> = None;
        let mut next_scid = None;
        let mut next_node = None;
        let mut next_path_key_override = None;
        let mut payment_unblock = None;
        let mut payment_pending_for = None;
        let mut context: Option<WithoutLength<Vec<u8>>> = None;
        let mut dummy: Option<WithoutLength<Vec<u8>>> = None;
        decode_tlv_stream!(&mut stream, {
            (1, _padding, option),
            (2, next_scid, option),
            (4, next_node, option),
            (8, next_path_key_override, option),
            (65537, context, option),
            (65539, dummy, option),
            (PAYMENT_UNBLOCK_FIELD, payment_unblock, option),
            (PAYMENT_PENDING_FOR_FIELD, payment_pending_for, option),
        });
        let two_next_hops = next_scid.is_some() && next_node.is_some();
        if two_next_hops || context.is_some() || dummy.is_some() {
            return Err(DecodeError::InvalidValue);
        }
        Ok(Self { next_node, next_scid, next_path_key_override, payment_unblock, payment_pending_for })
    }
}

/// The bytes that one hop will decrypt. They may hold a pid, so `Debug` shows their number only.
#[derive(Clone, PartialEq, Eq)]
pub struct HopPlaintext(Vec<u8>);

impl HopPlaintext {
    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl From<Vec<u8>> for HopPlaintext {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }
}

impl std::fmt::Debug for HopPlaintext {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "HopPlaintext({} bytes)", self.0.len())
    }
}

struct Padded<'a> {
    tlvs: &'a HopTlvs,
    padding: Option<usize>,
}

impl Writeable for Padded<'_> {
    fn write<W: lightning::util::ser::Writer>(&self, writer: &mut W) -> Result<(), io::Error> {
        let padding = self.padding.map(|length| vec![0u8; length]);
        encode_tlv_stream!(writer, {
            (1, padding.as_ref().map(WithoutLength), option),
            (2, self.tlvs.next_scid, option),
            (4, self.tlvs.next_node, option),
            (8, self.tlvs.next_path_key_override, option),
            (PAYMENT_UNBLOCK_FIELD, self.tlvs.payment_unblock, option),
            (PAYMENT_PENDING_FOR_FIELD, self.tlvs.payment_pending_for, option),
        });
        Ok(())
    }
}
