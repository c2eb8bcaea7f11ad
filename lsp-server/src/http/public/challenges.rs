//! Challenges that need no table: each proves by itself that this process made it, for whom, and until when. So anybody
//! may ask for as many as they like. Those that were answered are remembered, in the database.

use bitcoin::hashes::{Hash, HashEngine, Hmac, HmacEngine, cmp::fixed_time_eq, sha256};
use bitcoin::secp256k1::PublicKey;
use hex::{DisplayHex, FromHex};

/// How long a challenge may be answered, in seconds.
const LIFETIME_SECONDS: u64 = 300;

const NONCE_BYTES: usize = 16;
const EXPIRY_BYTES: usize = 8;
const MAC_BYTES: usize = 32;
const CHALLENGE_BYTES: usize = NONCE_BYTES + EXPIRY_BYTES + MAC_BYTES;

/// Makes challenges and knows its own. The key lives as long as the process: a restart ends what is under way.
pub(super) struct Challenges {
    key: [u8; 32],
}

/// Why an answer is refused before its signature is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum ChallengeError {
    #[error("this is no challenge that the server has made for this node since it started: ask for one")]
    Unknown,
    #[error("the challenge has expired: ask for a new one")]
    Expired,
}

/// A challenge that this process made, and that is not expired.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Known {
    pub(super) bytes: Vec<u8>,
    pub(super) expires_at: u64,
}

impl Challenges {
    pub(super) fn new(key: [u8; 32]) -> Self {
        Self { key }
    }

    /// A challenge for a node, and when it expires.
    pub(super) fn make(&self, node_id: &PublicKey, random: [u8; 32], now_unix: u64) -> (String, u64) {
        let expires_at = now_unix + LIFETIME_SECONDS;
        let mut challenge = Vec::with_capacity(CHALLENGE_BYTES);
        challenge.extend_from_slice(&random[..NONCE_BYTES]);
        challenge.extend_from_slice(&expires_at.to_be_bytes());
        let mac = self.mac(node_id, &challenge);
        challenge.extend_from_slice(&mac);
        (challenge.to_lower_hex_string(), expires_at)
    }

    pub(super) fn check(
        &self,
        node_id: &PublicKey,
        text: &str,
        now_unix: u64,
    ) -> Result<Known, ChallengeError> {
        let challenge = <[u8; CHALLENGE_BYTES]>::from_hex(text).map_err(|_| ChallengeError::Unknown)?;
        let (content, mac) = challenge.split_at(CHALLENGE_BYTES - MAC_BYTES);
        if !fixed_time_eq(&self.mac(node_id, content), mac) {
            return Err(ChallengeError::Unknown);
        }
        let mut expiry = [0; EXPIRY_BYTES];
        expiry.copy_from_slice(&content[NONCE_BYTES..]);
        let expires_at = u64::from_be_bytes(expiry);
        if expires_at <= now_unix {
            return Err(ChallengeError::Expired);
        }
        Ok(Known { bytes: challenge.to_vec(), expires_at })
    }

    fn mac(&self, node_id: &PublicKey, content: &[u8]) -> [u8; MAC_BYTES] {
        let mut engine = HmacEngine::<sha256::Hash>::new(&self.key);
        engine.input(&node_id.serialize());
        engine.input(content);
        Hmac::from_engine(engine).to_byte_array()
    }
}

#[cfg(test)]
mod tests {
    use bitcoin::secp256k1::{Secp256k1, SecretKey};

    use super::*;

    fn node(byte: u8) -> PublicKey {
        SecretKey::from_slice(&[byte; 32]).unwrap().public_key(&Secp256k1::new())
    }

    #[test]
    fn a_challenge_is_good_for_its_node_until_it_expires() {
        let challenges = Challenges::new([7; 32]);
        let (text, expires_at) = challenges.make(&node(1), [9; 32], 1_000);
        assert_eq!(expires_at, 1_300);
        assert_eq!(challenges.check(&node(1), &text, 1_299).unwrap().expires_at, 1_300);
        assert_eq!(challenges.check(&node(1), &text, 1_300), Err(ChallengeError::Expired));
        assert_eq!(challenges.check(&node(2), &text, 1_000), Err(ChallengeError::Unknown));
        assert_eq!(Challenges::new([8; 32]).check(&node(1), &text, 1_000), Err(ChallengeError::Unknown));
    }

    #[test]
    fn no_other_text_passes() {
        let challenges = Challenges::new([7; 32]);
        let (text, _) = challenges.make(&node(1), [9; 32], 1_000);
        for position in 0..text.len() {
            let mut changed = text.clone().into_bytes();
            changed[position] = if changed[position] == b'0' { b'1' } else { b'0' };
            let changed = String::from_utf8(changed).unwrap();
            assert_eq!(
                challenges.check(&node(1), &changed, 1_000),
                Err(ChallengeError::Unknown),
                "{position}"
            );
        }
        for text in ["", "00", &text[2..], &format!("{text}00"), &"é".repeat(56)] {
            assert_eq!(challenges.check(&node(1), text, 1_000), Err(ChallengeError::Unknown), "{text}");
        }
    }
}
