//! Reading LightningRod's fields at a forwarding hop.
//!
//! LDK's `OnionMessenger` drops the fields that it does not know. So the payer's LSP peels its layer of each onion message a
//! second time, before LDK does, and reads them: BOLT 4, "Onion Message Packet" and "Route Blinding".

#[cfg(test)]
mod tests;

use bitcoin::hashes::cmp::fixed_time_eq;
use bitcoin::secp256k1::{PublicKey, Scalar, ecdh::SharedSecret};
use chacha20::ChaCha20;
use chacha20::cipher::{KeyIvInit, StreamCipher};
use lightning::ln::msgs::{DecodeError, OnionMessage};
use lightning::read_tlv_fields;
use lightning::util::ser::{Readable, WithoutLength};

use crate::ids::{Pid, PidHash};
use crate::path::{HopTlvs, blinding};

/// Bytes of a MAC in an onion packet (BOLT 4).
const HMAC_BYTES: usize = 32;

/// Our layer of an onion message, as far as it matters to the payer's LSP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HopFields {
    /// The pid with which the payee releases a hold.
    pub payment_unblock: Option<Pid>,
    /// The hold into whose care the message is given.
    pub payment_pending_for: Option<PidHash>,
    /// The node that the message is forwarded to, if it is named by its node id.
    pub next_node: Option<PublicKey>,
    /// The channel to the node that the message is forwarded to, if it is named by that.
    pub next_scid: Option<u64>,
}

/// The message is not one that this node could peel: damaged, for somebody else, or malformed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the onion message cannot be peeled here")]
pub struct Unreadable;

/// What our layer of `message` says, if we are to forward it; `Ok(None)` if we are its last hop.
///
/// `ecdh` is [`NodeSigner::ecdh`](lightning::sign::NodeSigner::ecdh) of [`Recipient::Node`](lightning::sign::Recipient::Node).
/// It is called twice; that and about 50 microseconds is what a message costs, so limit the rate first. The last hop
/// of a path that LDK built for itself is encrypted in LDK's own way, and is `None` without being read.
///
/// # Errors
/// [`Unreadable`] for a message that LDK would drop as well, and for one with a malformed field of ours: LDK, which does not know it,
/// forwards that one as if it had none, and nobody acts on it.
pub fn read_hop_fields(
    message: &OnionMessage,
    ecdh: impl Fn(&PublicKey, Option<&Scalar>) -> Result<SharedSecret, ()>,
) -> Result<Option<HopFields>, Unreadable> {
    let packet = &message.onion_routing_packet;
    if packet.version != 0 {
        return Err(Unreadable);
    }
    let path_secret = ecdh(&message.blinding_point, None).map_err(|()| Unreadable)?;
    let node_factor = blinding::blinded_node_factor(&path_secret).ok_or(Unreadable)?;
    let packet_secret = ecdh(&packet.public_key, Some(&node_factor)).map_err(|()| Unreadable)?;

    let hmac = blinding::hmac(&blinding::derive(b"mu", &packet_secret), &packet.hop_data);
    if !fixed_time_eq(&hmac, &packet.hmac) {
        return Err(Unreadable);
    }
    let mut hop_data = packet.hop_data.clone();
    ChaCha20::new(&blinding::derive(b"rho", &packet_secret).into(), &[0; 12].into())
        .apply_keystream(&mut hop_data);

    let Some(HopPayload { encrypted, next_hmac }) = payload(&hop_data).map_err(|_| Unreadable)? else {
        return Ok(None);
    };
    let Some(plaintext) = blinding::decrypt(&path_secret, &encrypted) else {
        return Ok(None);
    };
    let Ok(tlvs) = HopTlvs::read(&plaintext) else {
        return Err(Unreadable);
    };
    // A packet that ends here goes nowhere, whatever next hop it names.
    if (tlvs.next_node.is_none() && tlvs.next_scid.is_none()) || next_hmac == [0; HMAC_BYTES] {
        return Ok(None);
    }
    Ok(Some(HopFields {
        payment_unblock: tlvs.payment_unblock,
        payment_pending_for: tlvs.payment_pending_for,
        next_node: tlvs.next_node,
        next_scid: tlvs.next_scid,
    }))
}

/// A hop's payload, as far as it matters here.
struct HopPayload {
    /// Field 4 of `onionmsg_tlv`.
    encrypted: Vec<u8>,
    /// The MAC of the packet that goes on; zeros if it ends here.
    next_hmac: [u8; HMAC_BYTES],
}

/// `None` for a payload with contents of a type that is even, which only a last hop has.
fn payload(hop_data: &[u8]) -> Result<Option<HopPayload>, DecodeError> {
    match read_payload(hop_data) {
        Ok(payload) => Ok(Some(payload)),
        Err(DecodeError::UnknownRequiredFeature) => Ok(None),
        Err(error) => Err(error),
    }
}

#[allow(clippy::drop_non_drop, reason = "LDK's TLV macros drop their reader by name")]
fn read_payload(mut hop_data: &[u8]) -> Result<HopPayload, DecodeError> {
    let mut _reply_path: Option<WithoutLength<Vec<u8>>> = None;
    let mut encrypted: Option<WithoutLength<Vec<u8>>> = None;
    read_tlv_fields!(&mut hop_data, { (2, _reply_path, option), (4, encrypted, option) });
    let next_hmac = Readable::read(&mut hop_data)?;
    let encrypted = encrypted.ok_or(DecodeError::InvalidValue)?.0;
    Ok(HopPayload { encrypted, next_hmac })
}
