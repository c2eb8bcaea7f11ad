use notifier::Notification;
use serde_json::Value;

use crate::notify::template::{read, waits_for_reply, with_reply_url};

/// What stands between the body and the query's `app_data`.
const SEPARATOR: u8 = 0;

/// Where the phone's answer is waited for.
const REPLY_URL: &str = "https://lsp.example/api/v1/response/00";

/// Longer than any notification that a push service takes.
const TEXT_BYTES_MAX: usize = 16 * 1_024;

/// The body of a notification that a caller asks for, and the `app_data` of its query: what is taken is kept as text that reads the same,
/// and who waits for the phone's answer waits at one place.
pub fn notify_request(data: &[u8]) {
    let (body, app_data) = match data.iter().position(|byte| *byte == SEPARATOR) {
        Some(place) => (&data[..place], std::str::from_utf8(&data[place + 1..]).ok().map(str::to_owned)),
        None => (data, None),
    };
    let Ok(body) = serde_json::from_slice::<Value>(body) else { return };
    let waits = waits_for_reply(&body);
    if waits {
        let answered = with_reply_url(&body, REPLY_URL.to_owned());
        assert!(!waits_for_reply(&answered), "{answered}");
        keep(&answered, app_data.clone());
    }
    // Of a caller that waits, nothing is kept that does not say where.
    assert!(!(keep(&body, app_data) && waits), "{body}");
}

/// Whether there is a notification in it.
fn keep(body: &Value, app_data: Option<String>) -> bool {
    let Ok((notification, seconds)) = read(body, app_data) else { return false };
    let text = notification.to_text();
    assert!(seconds > 0 && text.len() <= TEXT_BYTES_MAX);
    assert_eq!(Notification::from_text(&text).as_ref(), Some(&notification));
    true
}
