use std::collections::HashSet;

use lightning::types::payment::PaymentHash;

use crate::hold::model::{part, terms};
use crate::hold::{FailCause, Hold, HoldStateTag, HoldTerms, PartState, PartStateTag, RowError};

#[test]
fn rows_that_contradict_each_other_are_refused() {
    let live = vec![part(0)];
    assert_eq!(
        Hold::from_row(terms(), HoldStateTag::Settled, None, live.clone()),
        Err(RowError::PartUnderHold { part: PartStateTag::Held, hold: HoldStateTag::Settled })
    );
    assert_eq!(
        Hold::from_row(terms(), HoldStateTag::Failing, None, Vec::new()),
        Err(RowError::HoldCause { tag: HoldStateTag::Failing, cause: None })
    );
    let mut no_hashes = terms();
    no_hashes.payment_hashes.clear();
    assert_eq!(Hold::from_row(no_hashes, HoldStateTag::Waiting, None, Vec::new()), Err(RowError::NoHashes));
    let one_hash = HoldTerms { payment_hashes: vec![PaymentHash([1; 32])], ..terms() };
    let foreign = part(4);
    assert_eq!(
        Hold::from_row(one_hash, HoldStateTag::Waiting, None, vec![foreign.clone()]),
        Err(RowError::ForeignPart(foreign.payment_hash))
    );
    assert!(PartState::from_row(PartStateTag::Failed, None).is_err());
    assert!(PartState::from_row(PartStateTag::Held, Some(FailCause::Expired)).is_err());
}

#[test]
fn codes_are_distinct_and_read_back() {
    fn check<T: Copy + PartialEq + std::fmt::Debug + std::str::FromStr>(
        all: &[T],
        text: fn(T) -> &'static str,
    ) {
        let codes: HashSet<_> = all.iter().map(|&value| text(value)).collect();
        assert_eq!(codes.len(), all.len());
        assert!(all.iter().all(|&value| text(value).parse::<T>().ok() == Some(value)));
    }
    check(FailCause::ALL, FailCause::as_str);
    check(HoldStateTag::ALL, HoldStateTag::as_str);
    check(PartStateTag::ALL, PartStateTag::as_str);
    assert_eq!("hold".parse::<FailCause>().unwrap_err().to_string(), "unknown fail cause \"hold\"");
}
