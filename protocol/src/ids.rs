//! Identifiers of LightningRod.

use std::fmt;

use bitcoin::hashes::{Hash, sha256};
use hex::DisplayHex;
use serde::{Deserialize, Serialize};

/// The payment id: 32 secret bytes that the payer makes for one payment. Whoever knows it can release the hold, so
/// `Debug` hides it and there is no `Display`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Pid(pub [u8; 32]);

impl Pid {
    /// What the payer's LSP stores instead of the pid.
    pub fn hash(&self) -> PidHash {
        PidHash(sha256::Hash::hash(&self.0).to_byte_array())
    }
}

impl fmt::Debug for Pid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pid(..)")
    }
}

/// SHA256(pid): names a hold without being able to release it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PidHash(pub [u8; 32]);

impl fmt::Display for PidHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.as_hex())
    }
}

impl fmt::Debug for PidHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PidHash({self})")
    }
}

impl std::str::FromStr for PidHash {
    type Err = hex::HexToArrayError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        hex::FromHex::from_hex(text).map(Self)
    }
}

impl Serialize for PidHash {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for PidHash {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}
