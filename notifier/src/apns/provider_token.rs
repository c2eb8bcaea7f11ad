//! The tokens that say who pushes: a JWT, good for an hour, that Apple wants to see renewed not more often than every
//! twenty minutes.

use std::sync::{Arc, Mutex, PoisonError};

use reqwest::header::HeaderValue;
use serde_json::json;

use super::ApnsKey;
use crate::jwt::SigningKeyError;

/// The age at which a token is made anew, in seconds: between Apple's twenty minutes and its hour.
const RENEWED_AFTER_SECONDS: u64 = 40 * 60;

/// Apple answers `TooManyProviderTokenUpdates` to a token that follows another one within this time, in seconds.
const FRESH_SECONDS: u64 = 20 * 60;

/// A token from further ahead than this was made by a clock that has been set back since, in seconds.
const AHEAD_SECONDS_MAX: u64 = 60;

/// One provider token. `Debug` would show it, so there is none.
#[derive(Clone)]
pub(super) struct ProviderToken {
    header: HeaderValue,
    issued_at: u64,
}

impl ProviderToken {
    /// The value of `authorization`.
    pub(super) fn header(&self) -> HeaderValue {
        self.header.clone()
    }

    /// Whether Apple would not take a newer one yet.
    pub(super) fn is_fresh(&self, now_unix: u64) -> bool {
        now_unix < self.issued_at + FRESH_SECONDS
    }

    fn is_usable(&self, now_unix: u64) -> bool {
        now_unix < self.issued_at + RENEWED_AFTER_SECONDS && self.issued_at <= now_unix + AHEAD_SECONDS_MAX
    }
}

/// The tokens of one key.
pub(super) struct ProviderTokens {
    key: Arc<ApnsKey>,
    current: Mutex<Option<ProviderToken>>,
}

impl ProviderTokens {
    pub(super) fn new(key: Arc<ApnsKey>) -> Self {
        Self { key, current: Mutex::new(None) }
    }

    pub(super) fn is_of(&self, key: &ApnsKey) -> bool {
        self.key.key_id == key.key_id && self.key.team_id == key.team_id
    }

    /// The token to use now.
    pub(super) fn current(&self, now_unix: u64) -> Result<ProviderToken, SigningKeyError> {
        // Held while one is made, which takes well below a millisecond: all use the same.
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(token) = current.as_ref().filter(|token| token.is_usable(now_unix)) {
            return Ok(token.clone());
        }
        let claims = json!({ "iss": self.key.team_id, "iat": now_unix });
        let jwt = self.key.signing.sign(&self.key.key_id, &claims)?;
        let mut header =
            HeaderValue::try_from(format!("bearer {jwt}")).map_err(|_| SigningKeyError::Entropy)?;
        header.set_sensitive(true);
        let token = ProviderToken { header, issued_at: now_unix };
        *current = Some(token.clone());
        Ok(token)
    }

    /// Apple says that this token is too old. One that was made since stays.
    pub(super) fn forget(&self, token: &ProviderToken) {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if current.as_ref().is_some_and(|current| current.issued_at == token.issued_at) {
            *current = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jwt::tests::p8;

    fn tokens() -> ProviderTokens {
        ProviderTokens::new(Arc::new(ApnsKey::new(p8().as_bytes(), "ABC123DEFG", "DEF123GHIJ").unwrap()))
    }

    #[test]
    fn a_token_is_renewed_between_twenty_and_sixty_minutes() {
        let tokens = tokens();
        let start = 1_790_000_000;
        let mut issued = Vec::new();
        for minute in 0..=240 {
            issued.push(tokens.current(start + minute * 60).unwrap().issued_at);
        }
        issued.dedup();
        assert!(issued.len() > 3);
        for pair in issued.windows(2) {
            let gap = pair[1] - pair[0];
            assert!((FRESH_SECONDS..3600).contains(&gap), "{gap}");
        }
    }

    #[test]
    fn a_token_of_a_clock_that_was_set_back_is_made_anew() {
        let tokens = tokens();
        assert_eq!(tokens.current(10_000).unwrap().issued_at, 10_000);
        assert_eq!(tokens.current(9_990).unwrap().issued_at, 10_000);
        assert_eq!(tokens.current(5_000).unwrap().issued_at, 5_000);
    }

    #[test]
    fn only_the_token_that_was_refused_is_forgotten() {
        let tokens = tokens();
        let old = tokens.current(0).unwrap();
        let new = tokens.current(RENEWED_AFTER_SECONDS).unwrap();
        tokens.forget(&old);
        assert_eq!(tokens.current(RENEWED_AFTER_SECONDS + 1).unwrap().issued_at, new.issued_at);
        tokens.forget(&new);
        assert_eq!(tokens.current(RENEWED_AFTER_SECONDS + 1).unwrap().issued_at, RENEWED_AFTER_SECONDS + 1);
    }

    #[test]
    fn a_header_is_not_printed() {
        assert!(!format!("{:?}", tokens().current(0).unwrap().header()).contains("bearer"));
    }
}
