//! Stepping through named events.

use lightning::types::payment::PaymentHash;

use crate::hold::model::{START, id, part, terms};
use crate::hold::{Effect, FailCause, Hold, HoldEvent, HoldTerms, PartState, StepError, step};
use crate::units::BlockHeight;
use crate::wake::WakeReason;
use crate::wire::HoldStateCode;

/// A hold of one hash.
pub(super) fn simple_hold() -> Hold {
    Hold::new(HoldTerms { payment_hashes: vec![PaymentHash([1; 32])], ..terms() })
}

/// Steps through events, keeping the last step's effects.
pub(super) struct Run {
    pub(super) hold: Hold,
    pub(super) effects: Vec<Effect>,
    pub(super) now: BlockHeight,
}

impl Run {
    pub(super) fn new() -> Self {
        Self { hold: simple_hold(), effects: Vec::new(), now: START }
    }

    pub(super) fn with_parts(count: u8) -> Self {
        (0..count).fold(Self::new(), |run, number| run.on(HoldEvent::PartIntercepted(part(number))))
    }

    pub(super) fn at(self, now: BlockHeight) -> Self {
        Self { now, ..self }
    }

    pub(super) fn on(self, event: HoldEvent) -> Self {
        let stepped = step(self.hold, event, self.now).unwrap();
        Self { hold: stepped.hold, effects: stepped.effects, now: self.now }
    }

    pub(super) fn refuses(&self, event: HoldEvent) -> StepError {
        step(self.hold.clone(), event, self.now).unwrap_err()
    }

    pub(super) fn does(self, effects: &[Effect]) -> Self {
        assert_eq!(self.effects, effects);
        self
    }

    pub(super) fn is(self, code: HoldStateCode) -> Self {
        assert_eq!(self.hold.status_code(), code);
        self
    }

    pub(super) fn states(&self) -> Vec<PartState> {
        self.hold.group().parts.iter().map(|part| part.state).collect()
    }
}

pub(super) fn carriable(numbers: impl IntoIterator<Item = u8>) -> HoldEvent {
    HoldEvent::Carriable { parts: numbers.into_iter().map(id).collect() }
}

pub(super) fn forward(numbers: impl IntoIterator<Item = u8>) -> Effect {
    Effect::Forward { parts: numbers.into_iter().map(id).collect() }
}

pub(super) fn fail(number: u8, cause: FailCause) -> Effect {
    Effect::Fail { part: id(number), cause }
}

pub(super) fn off_channel(number: u8) -> HoldEvent {
    HoldEvent::PartOffChannel { id: id(number), settled: false }
}

pub(super) const WAKE_SETTLED: Effect = Effect::Wake { reason: WakeReason::PaymentSettled };
pub(super) const WAKE_FAILED: Effect = Effect::Wake { reason: WakeReason::PaymentFailed };
pub(super) const WAKE_EXPIRY: Effect = Effect::Wake { reason: WakeReason::ExpirySoon };
pub(super) const END_SOON: Effect = Effect::EndWakes { reason: WakeReason::ExpirySoon };
pub(super) const END_SETTLED: Effect = Effect::EndWakes { reason: WakeReason::PaymentSettled };
pub(super) const END_FAILED: Effect = Effect::EndWakes { reason: WakeReason::PaymentFailed };
