//! The key that Apple gives out as `AuthKey_<key id>.p8`.

use std::fmt;

use crate::jwt::{SigningKey, SigningKeyError};

/// Apple's ids of keys and teams.
const ID_CHARS: usize = 10;

/// A team's signing key for provider tokens.
pub struct ApnsKey {
    pub(super) key_id: String,
    pub(super) team_id: String,
    pub(super) signing: SigningKey,
}

/// Why a key cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ApnsKeyError {
    /// Not the form that Apple's ids have.
    #[error("{0} is no id of Apple's: expected ten capital letters and digits")]
    Id(&'static str),
    /// Not the file that Apple gives out.
    #[error(
        "the key file is not a .p8 of Apple's; use the AuthKey_<key id>.p8 that Certificates, Identifiers & Profiles > \
         Keys gave out once, or make a new key there"
    )]
    Key(#[source] SigningKeyError),
}

impl ApnsKey {
    /// Reads a `.p8` file.
    ///
    /// # Errors
    /// See [`ApnsKeyError`].
    pub fn new(p8: &[u8], key_id: &str, team_id: &str) -> Result<Self, ApnsKeyError> {
        for (name, id) in [("key_id", key_id), ("team_id", team_id)] {
            let is_id = id.len() == ID_CHARS
                && id.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit());
            if !is_id {
                return Err(ApnsKeyError::Id(name));
            }
        }
        let signing = SigningKey::es256(p8).map_err(ApnsKeyError::Key)?;
        Ok(Self { key_id: key_id.to_owned(), team_id: team_id.to_owned(), signing })
    }
}

impl fmt::Debug for ApnsKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApnsKey").field("key_id", &self.key_id).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jwt::tests::p8;

    #[test]
    fn a_key_has_apples_ids() {
        assert!(ApnsKey::new(p8().as_bytes(), "ABC123DEFG", "DEF123GHIJ").is_ok());
        for id in ["", "abc123defg", "ABC123DEF", "ABC123DEFGH", "ABC 123DEF"] {
            let error = ApnsKey::new(p8().as_bytes(), id, "DEF123GHIJ").unwrap_err();
            assert_eq!(error, ApnsKeyError::Id("key_id"), "{id}");
            let error = ApnsKey::new(p8().as_bytes(), "ABC123DEFG", id).unwrap_err();
            assert_eq!(error, ApnsKeyError::Id("team_id"), "{id}");
        }
    }

    #[test]
    fn another_file_is_refused_with_the_way_to_the_right_one() {
        let error = ApnsKey::new(b"-----BEGIN CERTIFICATE-----", "ABC123DEFG", "DEF123GHIJ").unwrap_err();
        assert!(error.to_string().contains("AuthKey_"), "{error}");
    }
}
