//! A hold in a world that tests and fuzzing turn as they like, with what must hold whatever happens.
#![allow(clippy::unwrap_used, reason = "a panic here is a failed test or a finding")]

pub(crate) mod strays;
pub(crate) mod world;

use bitcoin::secp256k1::{PublicKey, Secp256k1, SecretKey};
use lightning::ln::channelmanager::InterceptId;
use lightning::ln::types::ChannelId;
use lightning::types::payment::PaymentHash;

use super::{HoldTerms, Part, PartState};
use crate::ids::Pid;
use crate::units::{BlockHeight, Msat};

pub(crate) const START: BlockHeight = BlockHeight(1_000);
pub(crate) const DEADLINE: BlockHeight = BlockHeight(1_100);

/// Two hashes: part ids below 4 pay the first, the others the second.
pub(crate) fn terms() -> HoldTerms {
    let payer = PublicKey::from_secret_key(&Secp256k1::new(), &SecretKey::from_slice(&[7; 32]).unwrap());
    HoldTerms {
        payer,
        pid_hash: Pid([9; 32]).hash(),
        payment_hashes: vec![PaymentHash([1; 32]), PaymentHash([2; 32])],
        deadline: DEADLINE,
    }
}

pub(crate) fn id(number: u8) -> InterceptId {
    InterceptId([number; 32])
}

/// Parts come on two channels of the payer, by turns. With 200 blocks to the outgoing expiry every one of them fits.
pub(crate) fn part(number: u8) -> Part {
    Part {
        intercept_id: id(number),
        payment_hash: PaymentHash([if number < 4 { 1 } else { 2 }; 32]),
        inbound_channel_id: channel(number % 2),
        inbound_htlc_id: number.into(),
        inbound_amount: Msat(10_010),
        outbound_amount: Msat(10_000),
        inbound_expiry: Some(DEADLINE.plus(200 + 144)),
        outgoing_expiry: DEADLINE.plus(200),
        next_hop_scid: 42,
        state: PartState::Held,
    }
}

pub(crate) fn channel(number: u8) -> ChannelId {
    ChannelId([100 + number; 32])
}
