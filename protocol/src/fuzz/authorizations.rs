use lightning::util::message_signing;

use crate::api::owner::{Authorization, OwnerAction, owner_text};
use crate::signature;
use crate::testing::{public, secret};

/// The key byte of the LSP that is asked.
const LSP: u8 = 1;
/// The key byte of the phone that asks.
const PHONE: u8 = 2;

/// An `Authorization` header: what is read is written to text that reads the same, and its signature is good for what LDK says it is
/// good for, at most one action. A header that a phone makes for any challenge is good for its own action.
pub fn authorization(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(read) = text.parse::<Authorization>() {
        assert_eq!(read.to_string().parse(), Ok(read.clone()));
        assert!(good_for(&read).len() <= 1, "{read}");
    }
    honest(text);
}

/// What is a device's id, and the challenge: whatever stands before the first line break, and the rest.
fn honest(text: &str) {
    let (subject, challenge) = text.split_once('\n').unwrap_or((text, "c4a1"));
    let action = OwnerAction::ALL[subject.len() % OwnerAction::ALL.len()];
    let said = owner_text(&public(LSP), challenge, action, subject);
    let signature = message_signing::sign(said.as_bytes(), &secret(PHONE));
    assert!(signature::verify(said.as_bytes(), &signature, &public(PHONE)));
    assert!(!signature::verify(said.as_bytes(), &signature, &public(LSP)));
    let sent = Authorization { node_id: public(PHONE), challenge: challenge.to_owned(), signature };
    // A challenge is the LSP's own, in hex: one with a dot in it is none.
    assert_eq!(sent.to_string().parse::<Authorization>().is_ok(), !challenge.contains('.'));
    if subject.is_empty() {
        assert_eq!(good_for(&sent), [action]);
    }
}

/// The actions, of those with no subject, that this is good for.
fn good_for(read: &Authorization) -> Vec<OwnerAction> {
    let is_good = |action: &&OwnerAction| {
        let said = owner_text(&public(LSP), &read.challenge, **action, "");
        let ours = signature::verify(said.as_bytes(), &read.signature, &read.node_id);
        let theirs = message_signing::verify(said.as_bytes(), &read.signature, &read.node_id);
        assert_eq!(ours, theirs, "{read}");
        ours
    };
    OwnerAction::ALL.iter().filter(is_good).copied().collect()
}

/// Or fuzzing would begin without one signature that verifies.
#[cfg(test)]
#[test]
fn the_corpus_has_headers_that_are_good() {
    let good_for = |text: &str| good_for(&text.parse().unwrap());
    let listing = include_str!("../../../fuzz/corpus/authorization/list_devices");
    assert_eq!(good_for(listing), [OwnerAction::ListDevices]);
    assert_eq!(
        good_for(include_str!("../../../fuzz/corpus/authorization/list_wakes")),
        [OwnerAction::ListWakes]
    );
    assert_eq!(good_for(include_str!("../../../fuzz/corpus/authorization/of_another")), []);
}
