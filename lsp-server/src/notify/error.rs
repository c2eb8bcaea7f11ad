//! Why a notification is not taken.

use notifier::TargetError;
use storage::StorageError;

use super::TemplateError;

/// Why a request is refused. Nothing of it is kept.
#[derive(Debug, thiserror::Error)]
pub enum NotifyError {
    /// `[notify]` is off.
    #[error("this server takes no notifications: notify.enabled is off in its config")]
    Off,
    /// Not the secret of the config.
    #[error("expected `Authorization: Bearer <notify.secret>`, or the secret as the last part of the path")]
    Secret,
    /// No platform of this interface.
    #[error("platform: expected ios or android")]
    Platform,
    /// No token that any of the server's push services has.
    #[error("{0}")]
    Token(#[from] TargetError),
    /// No notification that there is.
    #[error("{0}")]
    Template(#[from] TemplateError),
    /// `notify.pushes_per_token_per_hour_max`
    #[error("this phone has had all the notifications of the hour: {0}")]
    TooManyForToken(u32),
    /// `notify.requests_per_minute_max`
    #[error("too many requests: {0} in a minute are taken")]
    TooManyRequests(u32),
    /// The caller wants the phone's answer, which has no way here.
    #[error(
        "data.reply_url of invoice_request is missing, and this server waits for phones' answers only if notify.reply_url is \
         set in its config"
    )]
    NoReplyUrl,
    /// As many callers wait for an answer as may.
    #[error("too many callers wait for a phone's answer: try again in a minute")]
    TooManyWait,
    /// `notify.waiting_max`
    #[error("too many notifications wait for the push services: try again in a minute")]
    Full,
    /// The database failed.
    #[error("the database failed")]
    Storage(#[from] StorageError),
}
