//! The ledger of wakes: what was tried to wake a phone, and what came of it. For operators, and for the phone's owner.

use bitcoin::secp256k1::PublicKey;
use serde::{Deserialize, Serialize};

use super::text::own;
use crate::codes::coded_enum;
use crate::wake::WakeReason;

coded_enum! {
    /// Where a wake is.
    pub enum WakeState ("state of a wake") {
        /// The phone is to be woken.
        Open = "open",
        /// The phone came.
        Acknowledged = "acknowledged",
        /// The reason is gone.
        Ended = "ended",
        /// The phone did not come in time.
        Expired = "expired",
    }
}

coded_enum! {
    /// Why a wake that was due was not pushed.
    pub enum PutOff ("reason to put a wake off") {
        /// The node has no device.
        NoDevice = "no_device",
        /// The phone is connected: it need not be woken.
        Connected = "connected",
        /// The provider asked for a pause, or its settings here are wrong.
        Paused = "paused",
        /// The provider has as many pushes under way as it may.
        Lane = "lane",
        /// Another wake with the same reason was pushed a moment ago.
        Cooldown = "cooldown",
        /// The device has had all the pushes of the hour for this reason.
        Budget = "budget",
    }
}

/// `GET /v1/wakes/{id}` of the admin API, and `GET /v1/wakes` of the public one: one wake, and every push that was tried for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct WakeRecord {
    /// The opaque id that its pushes carry; none before the first one.
    pub wake_id: Option<String>,
    /// Who is woken.
    #[serde(with = "own")]
    #[cfg_attr(feature = "openapi", schema(value_type = String, pattern = "^0[23][0-9a-f]{64}$"))]
    pub node_id: PublicKey,
    /// Why.
    #[serde(with = "own")]
    pub reason: WakeReason,
    /// Where it is.
    #[serde(with = "own")]
    pub state: WakeState,
    /// When it was asked for, in seconds since 1970, as all times here.
    pub opened_at: u64,
    /// When it becomes pointless.
    pub expires_at: u64,
    /// When it is looked at next; none if it is over.
    pub due_at: Option<u64>,
    /// Rounds of pushes so far, each to every device.
    pub attempts: u32,
    /// Why it was not pushed when it was due last; none if it was.
    #[serde(with = "super::text::own_option", default)]
    pub put_off: Option<PutOff>,
    /// What it comes to, in words: why the phone did not ring, if it did not.
    pub explanation: String,
    /// The pushes, the first one first. Of a wake with very many only the newest are told.
    pub pushes: Vec<PushRecord>,
}

/// One push to one device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct PushRecord {
    /// The server's name for the device, which may be gone.
    pub device_id: String,
    /// The provider.
    pub platform: Option<String>,
    /// When it left.
    pub sent_at: u64,
    /// What the provider's answer means: `accepted`, `retry`, `token_dead`, `configuration`, `bad_payload`. None while it is
    /// under way, and if the server ended before the answer.
    pub verdict: Option<String>,
    /// More about it.
    pub why: Option<String>,
    /// How long the provider took, in milliseconds.
    pub answered_ms: Option<u64>,
    /// How long after it the phone was here, in seconds.
    pub connected_after_seconds: Option<u64>,
}

/// Why the phone did or did not ring, in words, from all that the ledger has.
pub fn explain(state: WakeState, put_off: Option<PutOff>, pushes: &[PushRecord]) -> String {
    if let Some(seconds) = pushes.iter().rev().find_map(|push| push.connected_after_seconds) {
        return format!("the phone came {seconds} s after the last push before it");
    }
    let Some(last) = pushes.last() else { return unsent(state, put_off).to_owned() };
    let why = last.why.as_deref().map(|why| format!(" ({why})")).unwrap_or_default();
    let text = match last.verdict.as_deref() {
        Some("accepted") => {
            "the provider accepted the push, and the phone has not come since: it is off or out of coverage, or its \
             system held the push back (notifications, battery saver, the app's notification extension)"
        }
        Some("retry") => "the provider could not take the push; it is sent again",
        Some("token_dead") => {
            "the provider says that the device is gone; it was forgotten, and the phone must register again"
        }
        Some("configuration") => {
            "the provider refuses the server's credentials: the operator must mend the settings"
        }
        Some("bad_payload") => "the provider refuses this push for this device",
        Some(_) => "the provider's answer is of a kind that this version does not know",
        None => "a push is under way, or its answer was lost with the process that sent it",
    };
    let more = match put_off {
        Some(put_off) if state == WakeState::Open => format!("; now {}", unsent(state, Some(put_off))),
        _ => String::new(),
    };
    format!("{text}{why}{more}")
}

fn unsent(state: WakeState, put_off: Option<PutOff>) -> &'static str {
    match (state, put_off) {
        (_, Some(PutOff::NoDevice)) => {
            "the node has no device to push to: it is pushed as soon as it registers one"
        }
        (WakeState::Open, Some(PutOff::Connected)) => "the phone is connected and need not be woken",
        (_, Some(PutOff::Connected)) => "the phone was connected",
        (WakeState::Open, Some(PutOff::Paused)) => {
            "it waits: the provider asked for a pause, or refused the server's credentials"
        }
        (WakeState::Open, Some(PutOff::Lane)) => {
            "it waits: the provider has as many pushes under way as it may"
        }
        (WakeState::Open, Some(PutOff::Cooldown)) => {
            "it waits: the device was pushed for the same reason a moment ago"
        }
        (WakeState::Open, Some(PutOff::Budget)) => {
            "it waits: the device has had all the pushes of the hour for this reason"
        }
        (WakeState::Open, None) => "it is about to be pushed",
        (WakeState::Acknowledged, _) => "the phone came before the first push",
        (WakeState::Ended, _) => "the reason was gone before the first push",
        (WakeState::Expired, _) => "its time was over before the first push",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn push(verdict: Option<&str>, came: Option<u64>) -> PushRecord {
        PushRecord {
            device_id: "d".into(),
            platform: Some("apns".into()),
            sent_at: 1,
            verdict: verdict.map(str::to_owned),
            why: None,
            answered_ms: None,
            connected_after_seconds: came,
        }
    }

    #[test]
    fn every_silence_has_a_reason() {
        let says = |state, put_off, pushes: &[PushRecord], words: &str| {
            let text = explain(state, put_off, pushes);
            assert!(text.contains(words), "{text}");
        };
        says(WakeState::Open, Some(PutOff::NoDevice), &[], "no device");
        says(WakeState::Expired, Some(PutOff::NoDevice), &[], "no device");
        says(WakeState::Open, Some(PutOff::Budget), &[], "pushes of the hour");
        says(WakeState::Open, None, &[push(Some("accepted"), None)], "has not come since");
        says(WakeState::Acknowledged, None, &[push(Some("accepted"), Some(3))], "3 s after");
        says(
            WakeState::Open,
            None,
            &[push(Some("accepted"), None), push(Some("token_dead"), None)],
            "register again",
        );
        says(WakeState::Open, Some(PutOff::Paused), &[push(Some("configuration"), None)], "credentials");
        says(WakeState::Open, None, &[push(None, None)], "under way");
    }
}
