//! How ids look in JSON: as the text that operators and other tools know them by.

use std::fmt::Display;
use std::str::FromStr;

use hex::{DisplayHex, FromHex};
use lightning::ln::channelmanager::InterceptId;
use lightning::ln::types::ChannelId;
use lightning::types::payment::PaymentHash;
use serde::{Deserialize, Deserializer, Serializer};

use crate::ids::Pid;

/// For `#[serde(with)]`: a type's own text.
pub(super) mod own {
    use super::*;

    pub(crate) fn serialize<T: Display, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(value)
    }

    pub(crate) fn deserialize<'de, T, D>(deserializer: D) -> Result<T, D::Error>
    where
        T: FromStr<Err: Display>,
        D: Deserializer<'de>,
    {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// As [`own`], for an `Option`.
pub(super) mod own_option {
    use super::*;

    pub(crate) fn serialize<T: Display, S: Serializer>(
        value: &Option<T>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match value {
            Some(value) => serializer.collect_str(value),
            None => serializer.serialize_none(),
        }
    }

    pub(crate) fn deserialize<'de, T, D>(deserializer: D) -> Result<Option<T>, D::Error>
    where
        T: FromStr<Err: Display>,
        D: Deserializer<'de>,
    {
        let text = Option::<String>::deserialize(deserializer)?;
        text.map(|text| text.parse()).transpose().map_err(serde::de::Error::custom)
    }
}

/// What is 32 bytes, and hex in JSON.
pub(super) trait Bytes32: Sized {
    fn bytes(&self) -> &[u8; 32];
    fn from_bytes(bytes: [u8; 32]) -> Self;
}

macro_rules! bytes32 {
    ($($name:ident),+) => {
        $(impl Bytes32 for $name {
            fn bytes(&self) -> &[u8; 32] {
                &self.0
            }

            fn from_bytes(bytes: [u8; 32]) -> Self {
                Self(bytes)
            }
        })+
    };
}

bytes32!(ChannelId, InterceptId, PaymentHash, Pid);

/// For `#[serde(with)]`: 64 hex digits. The error does not repeat the text, which may be a secret.
pub(super) mod hex32 {
    use super::*;

    pub(crate) fn serialize<T: Bytes32, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&value.bytes().as_hex())
    }

    pub(crate) fn deserialize<'de, T: Bytes32, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
        parse(&String::deserialize(deserializer)?)
    }

    pub(super) fn parse<T: Bytes32, E: serde::de::Error>(text: &str) -> Result<T, E> {
        <[u8; 32]>::from_hex(text).map(T::from_bytes).map_err(|_| E::custom("expected 64 hex digits"))
    }
}

/// As [`hex32`], for a list.
pub(super) mod hex32_list {
    use super::*;

    pub(crate) fn serialize<T: Bytes32, S: Serializer>(
        values: &[T],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(values.iter().map(|value| value.bytes().to_lower_hex_string()))
    }

    pub(crate) fn deserialize<'de, T: Bytes32, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<T>, D::Error> {
        Vec::<String>::deserialize(deserializer)?.iter().map(|text| hex32::parse(text)).collect()
    }
}
