//! Signatures of nodes over texts, as LDK's `message_signing` makes them: zbase32 of a recovery id and a compact signature over
//! SHA256(SHA256("Lightning Signed Message:" and the text)).
//!
//! `message_signing::verify` gives the same answers, and makes and blinds a context for each: twice the work.

use std::sync::LazyLock;

use bitcoin::hashes::{Hash, HashEngine, sha256d};
use bitcoin::secp256k1::ecdsa::{RecoverableSignature, RecoveryId};
use bitcoin::secp256k1::{Message, PublicKey, Secp256k1, VerifyOnly};

/// Characters in a signature: 65 bytes in zbase32.
pub const SIGNATURE_CHARS: usize = 104;

const SIGNATURE_BYTES: usize = 65;
const TEXT_PREFIX: &[u8] = b"Lightning Signed Message:";
/// What the recovery id is written as, less itself.
const RECOVERY_ID_BASE: u8 = 31;
const ZBASE32: &[u8; 32] = b"ybndrfg8ejkmcpqxot1uwisza345h769";
const NO_DIGIT: u8 = u8::MAX;

/// The digits that characters stand for, lower and upper case alike.
const DIGITS: [u8; 256] = {
    let mut digits = [NO_DIGIT; 256];
    let mut digit: u8 = 0;
    while (digit as usize) < ZBASE32.len() {
        let character = ZBASE32[digit as usize];
        digits[character as usize] = digit;
        digits[character.to_ascii_uppercase() as usize] = digit;
        digit += 1;
    }
    digits
};

/// Verifying needs no blinding: nothing in it is secret.
static CONTEXT: LazyLock<Secp256k1<VerifyOnly>> = LazyLock::new(Secp256k1::verification_only);

/// Whether `signature` is by `node_id` over `text`.
#[must_use]
pub fn verify(text: &[u8], signature: &str, node_id: &PublicKey) -> bool {
    recover(text, signature).is_some_and(|signer| signer == *node_id)
}

fn recover(text: &[u8], signature: &str) -> Option<PublicKey> {
    let bytes = decode(signature)?;
    let recovery_id = RecoveryId::from_i32(i32::from(bytes[0].checked_sub(RECOVERY_ID_BASE)?)).ok()?;
    let signature = RecoverableSignature::from_compact(&bytes[1..], recovery_id).ok()?;
    let mut engine = sha256d::Hash::engine();
    engine.input(TEXT_PREFIX);
    engine.input(text);
    let digest = sha256d::Hash::from_engine(engine).to_byte_array();
    CONTEXT.recover_ecdsa(&Message::from_digest(digest), &signature).ok()
}

/// 104 digits of 5 bits are 65 bytes, without a remainder.
fn decode(text: &str) -> Option<[u8; SIGNATURE_BYTES]> {
    let text: &[u8; SIGNATURE_CHARS] = text.as_bytes().try_into().ok()?;
    let mut bytes = [0; SIGNATURE_BYTES];
    for (characters, bytes) in text.chunks_exact(8).zip(bytes.chunks_exact_mut(5)) {
        let mut bits: u64 = 0;
        for character in characters {
            let digit = DIGITS[usize::from(*character)];
            if digit == NO_DIGIT {
                return None;
            }
            bits = bits << 5 | u64::from(digit);
        }
        bytes.copy_from_slice(&bits.to_be_bytes()[3..]);
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use bitcoin::secp256k1::SecretKey;
    use lightning::util::message_signing;
    use proptest::prelude::*;

    use super::*;

    fn key(byte: u8) -> SecretKey {
        SecretKey::from_slice(&[byte; 32]).unwrap()
    }

    fn public(byte: u8) -> PublicKey {
        key(byte).public_key(&Secp256k1::new())
    }

    #[test]
    fn c_lightnings_and_lnds_signatures_verify() {
        let node_id = "02b80cabdf82638aac86948e4c06e82064f547768dcef977677b9ea931ea75bab5".parse().unwrap();
        let signature = "rbgfioj114mh48d8egqx8o9qxqw4fmhe8jbeeabdioxnjk8z3t1ma1hu1fiswpakgucwwzwo6ofycffbsqusqdimugbh41n1g698hr9t";
        assert!(verify(b"is this compatible?", signature, &node_id));
        assert!(!verify(b"is this compatible!", signature, &node_id));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn it_says_what_ldk_says(
            text in proptest::collection::vec(any::<u8>(), 0..200),
            signer in 1u8..4,
            asked in 1u8..4,
            place in 0usize..SIGNATURE_CHARS,
            character in proptest::char::range('\0', '\u{7f}'),
            cut in 0usize..3,
        ) {
            let signature = message_signing::sign(&text, &key(signer));
            prop_assert_eq!(signature.len(), SIGNATURE_CHARS);
            prop_assert_eq!(verify(&text, &signature, &public(asked)), signer == asked);
            prop_assert!(verify(&text, &signature.to_uppercase(), &public(signer)));
            let mut changed = signature.clone();
            changed.replace_range(place..=place, character.encode_utf8(&mut [0; 4]));
            changed.truncate(SIGNATURE_CHARS - cut);
            for node in 1..4 {
                let theirs = message_signing::verify(&text, &changed, &public(node));
                prop_assert_eq!(verify(&text, &changed, &public(node)), theirs, "{}", changed);
            }
        }
    }
}
