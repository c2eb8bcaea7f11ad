//! What happens in a wallet, as it happens.

use lightning::ln::types::ChannelId;
use lightning_types::payment::PaymentHash;
use protocol::units::{BlockHeight, Msat};
use serde::{Serialize, Serializer};

/// One thing that happened and is stored. As JSON, an object whose `step` names it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "step", rename_all = "snake_case")]
pub enum Step {
    /// The LSP is connected and all channels are reestablished.
    Connected,
    /// A channel's funding transaction is made.
    ChannelPending {
        /// The channel.
        #[serde(serialize_with = "hex32")]
        channel_id: ChannelId,
        /// `txid:vout`.
        funding: String,
    },
    /// A channel can be used.
    ChannelReady {
        /// The channel.
        #[serde(serialize_with = "hex32")]
        channel_id: ChannelId,
    },
    /// A channel is closed.
    ChannelClosed {
        /// The channel.
        #[serde(serialize_with = "hex32")]
        channel_id: ChannelId,
        /// LDK's words.
        reason: String,
    },
    /// The LSP granted the hold.
    Blocked {
        /// The payment.
        #[serde(serialize_with = "hex32")]
        payment_hash: PaymentHash,
        /// The height at which the LSP gives the money back.
        deadline: BlockHeight,
    },
    /// The payment is on its way.
    Paying {
        /// The payment.
        #[serde(serialize_with = "hex32")]
        payment_hash: PaymentHash,
    },
    /// The LSP holds every part.
    Held {
        /// The payment.
        #[serde(serialize_with = "hex32")]
        payment_hash: PaymentHash,
        /// How many HTLCs.
        parts: usize,
    },
    /// The LSP takes care that the payee is told: the phone may go offline.
    PendingInCare {
        /// The payment.
        #[serde(serialize_with = "hex32")]
        payment_hash: PaymentHash,
    },
    /// The payee says that it will not take the payment; the money comes back.
    RefusedByPayee {
        /// The payment.
        #[serde(serialize_with = "hex32")]
        payment_hash: PaymentHash,
        /// The payee's reason.
        reason: String,
    },
    /// Paid. Ours is the preimage.
    Settled {
        /// The payment.
        #[serde(serialize_with = "hex32")]
        payment_hash: PaymentHash,
        /// What the route cost.
        fee_msat: Msat,
    },
    /// Not paid; the money is back.
    Failed {
        /// The payment.
        #[serde(serialize_with = "hex32")]
        payment_hash: PaymentHash,
        /// Why.
        reason: String,
    },
    /// A payer says that a payment for us is held.
    PendingReceived {
        /// The payment.
        #[serde(serialize_with = "hex32")]
        payment_hash: PaymentHash,
        /// What we would get.
        amount_msat: Msat,
        /// The height at which it goes back.
        deadline: BlockHeight,
    },
    /// We said yes; the payment can come.
    Unblocked {
        /// The payment.
        #[serde(serialize_with = "hex32")]
        payment_hash: PaymentHash,
    },
    /// We said no.
    Refused {
        /// The payment.
        #[serde(serialize_with = "hex32")]
        payment_hash: PaymentHash,
        /// Why.
        reason: String,
    },
    /// The money is ours.
    Paid {
        /// The payment.
        #[serde(serialize_with = "hex32")]
        payment_hash: PaymentHash,
        /// What arrived.
        amount_msat: Msat,
    },
    /// Nothing is left to do.
    Quiet,
    /// The time was up before everything was done.
    Unfinished,
}

/// Ids and hashes travel as hex.
pub(crate) fn hex32<T: AsBytes32, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
    use hex::DisplayHex;
    serializer.collect_str(&value.as_bytes32().as_hex())
}

/// 32 bytes that LDK gave a type of their own.
pub(crate) trait AsBytes32 {
    fn as_bytes32(&self) -> &[u8; 32];
}

impl AsBytes32 for PaymentHash {
    fn as_bytes32(&self) -> &[u8; 32] {
        &self.0
    }
}

impl AsBytes32 for ChannelId {
    fn as_bytes32(&self) -> &[u8; 32] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_is_one_flat_json_object() {
        let step = Step::Settled { payment_hash: PaymentHash([0xab; 32]), fee_msat: Msat(7) };
        let expected = format!(r#"{{"step":"settled","payment_hash":"{}","fee_msat":7}}"#, "ab".repeat(32));
        assert_eq!(serde_json::to_string(&step).unwrap(), expected);
        assert_eq!(serde_json::to_string(&Step::Quiet).unwrap(), r#"{"step":"quiet"}"#);
    }
}
