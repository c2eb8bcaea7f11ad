//! The request's body.

use serde_json::json;

use crate::Push;

/// The size of every body, in bytes. The longest content, with an empty padding, is 136.
pub(super) const BODY_BYTES: usize = 256;

/// The JSON of `push`, filled up to [`BODY_BYTES`].
pub(super) fn constant_size(push: &Push) -> String {
    let render = |padding: &str| {
        json!({
            "reason": push.reason(),
            "id": push.wake_id().to_string(),
            "expires_at": push.expires_at(),
            "padding": padding,
        })
        .to_string()
    };
    let missing = BODY_BYTES.saturating_sub(render("").len());
    render(&"0".repeat(missing))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::WakeId;

    #[test]
    fn every_body_has_the_same_size() {
        for (reason, expires_at) in
            [("x", 0), ("payment_incoming", 1_790_000_000), (&"z".repeat(32), u64::MAX)]
        {
            let body = constant_size(&Push::new(reason, WakeId([0xab; 16]), expires_at).unwrap());
            assert_eq!(body.len(), BODY_BYTES, "{body}");
            let read: serde_json::Value = serde_json::from_str(&body).unwrap();
            assert_eq!(read["reason"], reason);
            assert_eq!(read["id"], "ab".repeat(16));
            assert_eq!(read["expires_at"], expires_at);
            assert_eq!(read.as_object().unwrap().len(), 4, "nothing else is told: {body}");
        }
    }
}
