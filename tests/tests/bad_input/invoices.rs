//! Invoices as a payee could write them, and as it should not.

use std::fmt::Debug;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bitcoin::Network;
use bitcoin::secp256k1::{PublicKey, Secp256k1, SecretKey};
use lightning_invoice::{
    Bolt11Invoice, Currency, InvoiceBuilder, PaymentSecret, RawTaggedField, RouteHint, RouteHintHop,
    RoutingFees, TaggedField,
};
use lightning_types::payment::PaymentHash;
use protocol::wire::FEATURE_BIT;
use tests::failure::Failure;

/// Where the payee's LSP would have the payee's channel.
const SHORT_CHANNEL_ID: u64 = (1 << 40) | (1 << 16);

/// What an invoice says. By default it is one that a wallet here pays: for 10,000 sat, made now, with LightningRod's
/// feature bit.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terms {
    pub(crate) network: Network,
    pub(crate) amount_msat: Option<u64>,
    pub(crate) age_secs: u64,
    pub(crate) asynchronous: bool,
    /// What the payment hash is made of.
    pub(crate) number: u8,
}

impl Default for Terms {
    fn default() -> Self {
        Self {
            network: Network::Regtest,
            amount_msat: Some(10_000_000),
            age_secs: 0,
            asynchronous: true,
            number: 1,
        }
    }
}

/// The node id that goes with a made-up key.
pub(crate) fn public(byte: u8) -> Result<PublicKey, Failure> {
    Ok(secret(byte)?.public_key(&Secp256k1::new()))
}

fn secret(byte: u8) -> Result<SecretKey, Failure> {
    SecretKey::from_slice(&[byte; 32]).map_err(bad)
}

fn bad(error: impl Debug) -> Failure {
    Failure::wrong(format!("a test's invoice cannot be made: {error:?}"))
}

/// An invoice of a payee behind `lsp`, which has never heard of it.
pub(crate) fn invoice(lsp: PublicKey, terms: Terms) -> Result<String, Failure> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_err(bad)?;
    let hint = RouteHintHop {
        src_node_id: lsp,
        short_channel_id: SHORT_CHANNEL_ID,
        fees: RoutingFees { base_msat: 1_000, proportional_millionths: 100 },
        cltv_expiry_delta: 144,
        htlc_minimum_msat: None,
        htlc_maximum_msat: None,
    };
    let mut builder = InvoiceBuilder::new(Currency::from(terms.network))
        .description("bad".to_owned())
        .payment_hash(PaymentHash([terms.number; 32]))
        .payment_secret(PaymentSecret([3; 32]))
        .duration_since_epoch(now.saturating_sub(Duration::from_secs(terms.age_secs)))
        .min_final_cltv_expiry_delta(41)
        .expiry_time(Duration::from_secs(14 * 24 * 3_600))
        .basic_mpp()
        .private_route(RouteHint(vec![hint]));
    if let Some(amount_msat) = terms.amount_msat {
        builder = builder.amount_milli_satoshis(amount_msat);
    }
    let mut raw = builder.build_raw().map_err(bad)?;
    for field in &mut raw.data.tagged_fields {
        if let RawTaggedField::KnownSemantics(TaggedField::Features(features)) = field
            && terms.asynchronous
        {
            features.set_optional_custom_bit(FEATURE_BIT).map_err(bad)?;
        }
    }
    let payee = secret(42)?;
    let signed = raw.sign(|hash| Ok::<_, ()>(Secp256k1::new().sign_ecdsa_recoverable(hash, &payee)));
    Ok(Bolt11Invoice::from_signed(signed.map_err(bad)?).map_err(bad)?.to_string())
}
