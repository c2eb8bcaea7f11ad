//! The tokens that say who pushes: a JWT, good for an hour, that Apple wants to see renewed not more often than every
//! twenty minutes. Their times are those of the clock's half hours, and not of the first push: a server that starts again, once or ten
//! times, goes on with the same, as do several servers with one key.

use std::sync::{Arc, Mutex, PoisonError};

use reqwest::header::HeaderValue;
use serde_json::json;

use super::ApnsKey;
use crate::jwt::SigningKeyError;

/// The age at which a token is made anew, in seconds: between Apple's twenty minutes and its hour. Tokens are issued at multiples of it.
const RENEWED_AFTER_SECONDS: u64 = 30 * 60;

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
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    current: Option<ProviderToken>,
    /// When the latest one was issued that Apple found too old.
    too_old: Option<u64>,
}

impl ProviderTokens {
    pub(super) fn new(key: Arc<ApnsKey>) -> Self {
        Self { key, state: Mutex::default() }
    }

    pub(super) fn is_of(&self, key: &ApnsKey) -> bool {
        self.key.key_id == key.key_id && self.key.team_id == key.team_id
    }

    /// The token to use now.
    pub(super) fn current(&self, now_unix: u64) -> Result<ProviderToken, SigningKeyError> {
        // Held while one is made, which takes well below a millisecond: all use the same.
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(token) = state.current.as_ref().filter(|token| token.is_usable(now_unix)) {
            return Ok(token.clone());
        }
        let half_hour = now_unix - now_unix % RENEWED_AFTER_SECONDS;
        let is_too_old = state.too_old.is_some_and(|refused| half_hour <= refused && refused < now_unix);
        let issued_at = if is_too_old { now_unix } else { half_hour };
        let claims = json!({ "iss": self.key.team_id, "iat": issued_at });
        let jwt = self.key.signing.sign(&self.key.key_id, &claims)?;
        let mut header =
            HeaderValue::try_from(format!("bearer {jwt}")).map_err(|_| SigningKeyError::Entropy)?;
        header.set_sensitive(true);
        let token = ProviderToken { header, issued_at };
        state.current = Some(token.clone());
        Ok(token)
    }

    /// Apple says that this token is too old. One that was made since stays.
    pub(super) fn forget(&self, token: &ProviderToken) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.current.as_ref().is_some_and(|current| current.issued_at == token.issued_at) {
            *state = State { current: None, too_old: Some(token.issued_at) };
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
    fn a_server_that_starts_again_has_a_token_of_the_same_time() {
        let start = 1_790_000_000;
        let mut issued: Vec<_> =
            (0..240).map(|minute| tokens().current(start + minute * 60).unwrap().issued_at).collect();
        issued.dedup();
        assert!(issued.windows(2).all(|pair| pair[1] - pair[0] >= FRESH_SECONDS), "{issued:?}");
        assert!(issued.len() > 3);
    }

    #[test]
    fn a_token_of_a_clock_that_was_set_back_is_made_anew() {
        let tokens = tokens();
        assert_eq!(tokens.current(10_800).unwrap().issued_at, 10_800);
        assert_eq!(tokens.current(10_790).unwrap().issued_at, 10_800);
        assert_eq!(tokens.current(5_000).unwrap().issued_at, 3_600);
    }

    #[test]
    fn only_the_token_that_was_refused_is_forgotten() {
        let tokens = tokens();
        let old = tokens.current(0).unwrap();
        let new = tokens.current(RENEWED_AFTER_SECONDS).unwrap();
        tokens.forget(&old);
        assert_eq!(tokens.current(RENEWED_AFTER_SECONDS + 1).unwrap().issued_at, new.issued_at);
        tokens.forget(&new);
        // One of the same time would be refused again.
        assert_eq!(tokens.current(RENEWED_AFTER_SECONDS + 1).unwrap().issued_at, RENEWED_AFTER_SECONDS + 1);
    }

    #[test]
    fn a_header_is_not_printed() {
        assert!(!format!("{:?}", tokens().current(0).unwrap().header()).contains("bearer"));
    }
}
