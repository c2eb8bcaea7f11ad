//! `[notify]`: notifications that other services ask for.

use super::read::{at_least_one, in_range};
use super::setting::Settings;

/// Characters of the secret, at least: what can be tried for ever must not be guessed.
const SECRET_CHARS_MIN: usize = 32;

/// More could not be pushed in their time.
const WAITING_BOUND: u64 = 1_000_000;

/// `[notify]`
#[derive(Clone, PartialEq, Eq)]
pub struct NotifyConfig {
    /// Whether the interface is there.
    pub enabled: bool,
    /// What callers have to know.
    pub secret: String,
    /// Where phones reach this server, without a path: the answers that callers wait for come there. None if no caller is kept
    /// waiting.
    pub reply_url: Option<String>,
    /// The app of iPhones' own tokens; needed if the server pushes to several.
    pub apns_topic: Option<String>,
    /// Notifications for one phone in an hour.
    pub pushes_per_token_per_hour_max: u32,
    /// Requests of all callers in a minute.
    pub requests_per_minute_max: u32,
    /// Notifications that wait at once.
    pub waiting_max: u32,
}

impl Default for NotifyConfig {
    fn default() -> Self {
        Self {
            enabled: false,
            secret: String::new(),
            reply_url: None,
            apns_topic: None,
            pushes_per_token_per_hour_max: 60,
            requests_per_minute_max: 6_000,
            waiting_max: 20_000,
        }
    }
}

impl std::fmt::Debug for NotifyConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NotifyConfig").field("enabled", &self.enabled).finish_non_exhaustive()
    }
}

pub(super) fn read(settings: &mut Settings, has_provider: bool) -> NotifyConfig {
    let default = NotifyConfig::default();
    let config = NotifyConfig {
        enabled: settings.or("notify.enabled", default.enabled),
        secret: settings.or("notify.secret", default.secret),
        reply_url: settings.optional("notify.reply_url"),
        apns_topic: settings.optional("notify.apns_topic"),
        pushes_per_token_per_hour_max: settings
            .or("notify.pushes_per_token_per_hour_max", default.pushes_per_token_per_hour_max),
        requests_per_minute_max: settings
            .or("notify.requests_per_minute_max", default.requests_per_minute_max),
        waiting_max: settings.or("notify.waiting_max", default.waiting_max),
    };
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~');
    let is_secret = config.secret.len() >= SECRET_CHARS_MIN && config.secret.bytes().all(is_plain);
    settings.check("notify.secret", is_secret || !config.enabled, || {
        format!(
            "expected at least {SECRET_CHARS_MIN} letters, digits, `-`, `_`, `.` or `~`, such as `openssl rand -hex 32` \
             gives"
        )
    });
    settings.check("notify.enabled", has_provider || !config.enabled, || {
        "there is nothing to notify by: set push.fcm.service_account_file or push.apns.apps".to_owned()
    });
    settings.check("notify.reply_url", config.reply_url.as_deref().is_none_or(is_origin), || {
        "expected where phones reach this server, such as https://lsp.example.com".to_owned()
    });
    at_least_one(
        settings,
        "notify.pushes_per_token_per_hour_max",
        config.pushes_per_token_per_hour_max.into(),
    );
    at_least_one(settings, "notify.requests_per_minute_max", config.requests_per_minute_max.into());
    in_range(settings, "notify.waiting_max", config.waiting_max.into(), (1, WAITING_BOUND));
    config
}

/// Scheme and host, perhaps a port, and nothing behind it.
fn is_origin(text: &str) -> bool {
    let Ok(url) = text.parse::<notifier::Url>() else { return false };
    let is_bare = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
    matches!(url.scheme(), "http" | "https") && url.has_host() && url.username().is_empty() && is_bare
}
