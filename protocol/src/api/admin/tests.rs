use lightning::ln::channelmanager::InterceptId;
use lightning::types::payment::PaymentHash;

use super::*;
use crate::hold::{FailCause, Hold, HoldStateTag, HoldTerms, Part, PartState};
use crate::ids::{Pid, PidHash};

fn hold() -> Hold {
    let payer = "0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798".parse().unwrap();
    let terms = HoldTerms {
        payer,
        pid_hash: PidHash([7; 32]),
        payment_hashes: vec![PaymentHash([1; 32]), PaymentHash([2; 32])],
        deadline: BlockHeight(900),
    };
    let part = |id: u8, state| Part {
        intercept_id: InterceptId([id; 32]),
        payment_hash: PaymentHash([1; 32]),
        inbound_channel_id: ChannelId([9; 32]),
        inbound_htlc_id: u64::from(id),
        inbound_amount: Msat(1_100),
        outbound_amount: Msat(1_000),
        inbound_expiry: None,
        outgoing_expiry: BlockHeight(1_000),
        next_hop_scid: 42,
        state,
    };
    let parts = vec![
        part(1, PartState::Held),
        part(2, PartState::Held),
        part(3, PartState::Failed(FailCause::TooLate)),
    ];
    Hold::from_row(terms, HoldStateTag::Waiting, None, parts).unwrap()
}

#[test]
fn a_hold_is_summed_up() {
    let detail = HoldDetail::new(&hold(), 5, true);
    assert_eq!((detail.summary.parts, detail.summary.held_parts), (3, 2));
    assert_eq!(detail.summary.held_msat, Msat(2_200));
    assert_eq!(detail.parts[2].cause, Some(FailCause::TooLate));
}

#[test]
fn json_is_stable_and_comes_back() {
    let detail = HoldDetail::new(&hold(), 5, false);
    let json = serde_json::to_value(&detail).unwrap();
    assert_eq!(json["summary"]["state"], "waiting");
    assert_eq!(json["summary"]["payment_hashes"][0], "01".repeat(32));
    assert_eq!(json["parts"][2]["cause"], "too_late");
    assert_eq!(json["parts"][0]["inbound_channel_id"], "09".repeat(32));
    assert_eq!(serde_json::from_value::<HoldDetail>(json).unwrap(), detail);
}

#[test]
fn the_pid_is_never_shown() {
    let request = ReleaseHoldRequest { pid: Pid([0xab; 32]) };
    assert!(!format!("{request:?}").contains("ab"), "{request:?}");
    let error = serde_json::from_str::<ReleaseHoldRequest>(r#"{"pid":"abababab"}"#).unwrap_err();
    assert!(!error.to_string().contains("abab"), "{error}");
}
