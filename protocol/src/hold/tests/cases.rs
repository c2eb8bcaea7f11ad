use lightning::types::payment::PaymentHash;

use crate::hold::model::{DEADLINE, START, channel, id, part, terms};
use crate::hold::{
    Effect, FailCause, Hold, HoldEvent, HoldOutcome, HoldStateTag, HoldTerms, Part, PartState, StepError,
    step,
};
use crate::units::BlockHeight;
use crate::wake::WakeReason;
use crate::wire::HoldStateCode;

/// A hold of one hash.
fn simple_hold() -> Hold {
    Hold::new(HoldTerms { payment_hashes: vec![PaymentHash([1; 32])], ..terms() })
}

/// Steps through events, keeping the last step's effects.
struct Run {
    hold: Hold,
    effects: Vec<Effect>,
    now: BlockHeight,
}

impl Run {
    fn new() -> Self {
        Self { hold: simple_hold(), effects: Vec::new(), now: START }
    }

    fn with_parts(count: u8) -> Self {
        (0..count).fold(Self::new(), |run, number| run.on(HoldEvent::PartIntercepted(part(number))))
    }

    fn at(self, now: BlockHeight) -> Self {
        Self { now, ..self }
    }

    fn on(self, event: HoldEvent) -> Self {
        let stepped = step(self.hold, event, self.now).unwrap();
        Self { hold: stepped.hold, effects: stepped.effects, now: self.now }
    }

    fn refuses(&self, event: HoldEvent) -> StepError {
        step(self.hold.clone(), event, self.now).unwrap_err()
    }

    fn does(self, effects: &[Effect]) -> Self {
        assert_eq!(self.effects, effects);
        self
    }

    fn is(self, code: HoldStateCode) -> Self {
        assert_eq!(self.hold.status_code(), code);
        self
    }

    fn states(&self) -> Vec<PartState> {
        self.hold.group().parts.iter().map(|part| part.state).collect()
    }
}

fn carriable(numbers: impl IntoIterator<Item = u8>) -> HoldEvent {
    HoldEvent::Carriable { parts: numbers.into_iter().map(id).collect() }
}

fn forward(numbers: impl IntoIterator<Item = u8>) -> Effect {
    Effect::Forward { parts: numbers.into_iter().map(id).collect() }
}

fn fail(number: u8, cause: FailCause) -> Effect {
    Effect::Fail { part: id(number), cause }
}

fn off_channel(number: u8) -> HoldEvent {
    HoldEvent::PartOffChannel { id: id(number), settled: false }
}

const WAKE_SETTLED: Effect = Effect::Wake { reason: WakeReason::PaymentSettled };
const WAKE_FAILED: Effect = Effect::Wake { reason: WakeReason::PaymentFailed };
const WAKE_EXPIRY: Effect = Effect::Wake { reason: WakeReason::ExpirySoon };
const END_SOON: Effect = Effect::EndWakes { reason: WakeReason::ExpirySoon };
const END_SETTLED: Effect = Effect::EndWakes { reason: WakeReason::PaymentSettled };
const END_FAILED: Effect = Effect::EndWakes { reason: WakeReason::PaymentFailed };

#[test]
fn a_payment_of_three_parts() {
    Run::new()
        .is(HoldStateCode::Waiting)
        .on(HoldEvent::PartIntercepted(part(0)))
        .does(&[])
        .is(HoldStateCode::Held)
        .on(HoldEvent::PartIntercepted(part(1)))
        .on(HoldEvent::PartIntercepted(part(2)))
        .on(HoldEvent::Unblocked)
        .does(&[Effect::DropPending, Effect::CheckRoutes])
        .is(HoldStateCode::Unblocked)
        .on(carriable([0, 2]))
        .does(&[])
        .on(HoldEvent::HeightAdvanced)
        .does(&[Effect::CheckRoutes])
        .on(carriable([0, 1, 2]))
        .does(&[forward([0, 1, 2])])
        .is(HoldStateCode::Released)
        .on(HoldEvent::PartClaimed(id(1)))
        .does(&[WAKE_SETTLED])
        .is(HoldStateCode::Claimed)
        .on(HoldEvent::PartClaimed(id(0)))
        .does(&[])
        .on(HoldEvent::PartClaimed(id(2)))
        .on(HoldEvent::PartClaimed(id(2)))
        .does(&[])
        .on(off_channel(0))
        .on(off_channel(1))
        .does(&[])
        .on(off_channel(2))
        .does(&[END_SETTLED, Effect::Ended(HoldOutcome::Settled)])
        .is(HoldStateCode::Settled);
}

#[test]
fn an_unblock_before_the_parts_releases_them_on_arrival() {
    Run::new()
        .on(HoldEvent::Unblocked)
        .does(&[Effect::DropPending])
        .on(HoldEvent::Unblocked)
        .does(&[])
        .on(HoldEvent::PartIntercepted(part(0)))
        .does(&[Effect::CheckRoutes])
        .on(carriable([0]))
        .does(&[forward([0])])
        .on(HoldEvent::PartIntercepted(part(1)))
        .does(&[Effect::CheckRoutes])
        .on(carriable([0, 1]))
        .does(&[forward([1])]);
}

#[test]
fn cancel_wins_before_the_release_and_loses_after_it() {
    let cancelled = Run::with_parts(2)
        .on(HoldEvent::Cancelled)
        .does(&[
            Effect::DropPending,
            fail(0, FailCause::Cancelled),
            fail(1, FailCause::Cancelled),
            WAKE_FAILED,
        ])
        .is(HoldStateCode::Cancelled)
        .on(HoldEvent::Unblocked)
        .does(&[])
        .on(carriable([0, 1]))
        .does(&[])
        .on(HoldEvent::Cancelled)
        .does(&[])
        .on(HoldEvent::PartIntercepted(part(2)))
        .does(&[fail(2, FailCause::Cancelled)]);
    let ended = [0, 1, 2].into_iter().fold(cancelled, |run, number| run.on(off_channel(number)));
    ended
        .does(&[END_FAILED, Effect::Ended(HoldOutcome::Failed(FailCause::Cancelled))])
        .on(HoldEvent::Cancelled)
        .does(&[]);

    // Unblocked, but the route was not ready: the payer may still change its mind.
    Run::with_parts(1)
        .on(HoldEvent::Unblocked)
        .on(HoldEvent::Cancelled)
        .does(&[fail(0, FailCause::Cancelled), WAKE_FAILED])
        .on(carriable([0]))
        .does(&[]);

    let released = Run::with_parts(1).on(HoldEvent::Unblocked).on(carriable([0]));
    assert_eq!(released.refuses(HoldEvent::Cancelled), StepError::CancelTooLate);
    let settled = released.on(HoldEvent::PartClaimed(id(0))).on(off_channel(0));
    assert_eq!(settled.refuses(HoldEvent::Cancelled), StepError::CancelTooLate);
}

#[test]
fn a_cancelled_hold_without_parts_ends_and_still_refuses_them() {
    Run::new()
        .on(HoldEvent::Cancelled)
        .does(&[Effect::DropPending, Effect::Ended(HoldOutcome::Failed(FailCause::Cancelled))])
        .on(HoldEvent::PartIntercepted(part(0)))
        .does(&[fail(0, FailCause::Cancelled), WAKE_FAILED])
        .on(HoldEvent::PartFailedBack(id(0)))
        .on(off_channel(0))
        .does(&[END_FAILED, Effect::Ended(HoldOutcome::Failed(FailCause::Cancelled))]);
}

#[test]
fn the_deadline_fails_what_is_held_and_lets_run_what_is_released() {
    Run::with_parts(1)
        .at(DEADLINE.minus(3))
        .on(HoldEvent::HeightAdvanced)
        .does(&[])
        .at(DEADLINE.minus(2))
        .on(HoldEvent::HeightAdvanced)
        .does(&[WAKE_EXPIRY])
        .at(DEADLINE)
        .on(HoldEvent::HeightAdvanced)
        .does(&[Effect::DropPending, fail(0, FailCause::Expired), WAKE_FAILED, END_SOON])
        .is(HoldStateCode::Expired);

    Run::new()
        .at(DEADLINE)
        .on(HoldEvent::HeightAdvanced)
        .does(&[Effect::DropPending, Effect::Ended(HoldOutcome::Unused)])
        .on(HoldEvent::PartIntercepted(part(0)))
        .does(&[fail(0, FailCause::Expired), WAKE_FAILED]);

    let released = Run::with_parts(1)
        .on(HoldEvent::Unblocked)
        .on(carriable([0]))
        .at(DEADLINE)
        .on(HoldEvent::HeightAdvanced)
        .does(&[])
        .is(HoldStateCode::Released)
        .on(HoldEvent::PartIntercepted(part(1)))
        .does(&[fail(1, FailCause::Expired), WAKE_FAILED]);
    let claimed = released.on(HoldEvent::PartClaimed(id(0)));
    claimed.on(off_channel(1)).on(off_channel(0)).does(&[END_SETTLED, Effect::Ended(HoldOutcome::Settled)]);
}

#[test]
fn an_unblock_at_the_deadline_comes_too_late() {
    Run::with_parts(1)
        .at(DEADLINE)
        .on(HoldEvent::Unblocked)
        .does(&[Effect::DropPending, fail(0, FailCause::Expired), WAKE_FAILED, END_SOON])
        .on(carriable([0]))
        .does(&[]);
}

/// The whole group goes back, before anybody can release a part of it.
#[test]
fn a_part_that_is_not_what_it_was_fails_its_group() {
    let failed = Run::with_parts(2)
        .on(HoldEvent::PartContradicted(id(1)))
        .does(&[
            Effect::DropPending,
            fail(0, FailCause::Contradicted),
            fail(1, FailCause::Contradicted),
            WAKE_FAILED,
        ])
        .is(HoldStateCode::Failed);
    failed.on(HoldEvent::Unblocked).does(&[]);
    let run = Run::with_parts(1);
    assert_eq!(run.refuses(HoldEvent::PartContradicted(id(5))), StepError::UnknownPart(id(5)));
}

/// The next hop left between the decision and the forward.
#[test]
fn a_release_that_is_withdrawn_is_decided_anew_with_the_whole_group() {
    let withdrawn =
        |parts: &[u8]| HoldEvent::ReleaseWithdrawn { parts: parts.iter().copied().map(id).collect() };
    let released = || Run::with_parts(2).on(HoldEvent::Unblocked).on(carriable([0, 1]));
    released()
        .on(withdrawn(&[0, 1]))
        .does(&[Effect::CheckRoutes])
        .is(HoldStateCode::Unblocked)
        .on(carriable([0]))
        .does(&[])
        .on(carriable([0, 1]))
        .does(&[Effect::Forward { parts: vec![id(0), id(1)] }]);
    // A cancel is heard again, since the payee can have nothing.
    released().on(withdrawn(&[0, 1])).on(HoldEvent::Cancelled).is(HoldStateCode::Cancelled);
    released().at(DEADLINE).on(withdrawn(&[0, 1])).does(&[
        fail(0, FailCause::Expired),
        fail(1, FailCause::Expired),
        WAKE_FAILED,
    ]);
    // What became of a part since outranks it.
    let claimed = released().on(HoldEvent::PartClaimed(id(0))).on(withdrawn(&[0, 1]));
    assert_eq!(claimed.states(), [PartState::Claimed, PartState::Held]);
    let failed = released().on(HoldEvent::PartFailedBack(id(1))).on(withdrawn(&[1]));
    assert_eq!(failed.states(), [PartState::Releasing, PartState::FailedBack(FailCause::Downstream)]);
}

#[test]
fn a_release_that_a_crash_undid_is_decided_anew() {
    let released = || Run::with_parts(2).on(HoldEvent::Unblocked).on(carriable([0, 1]));
    // LDK has taken it: nothing is told again, nothing is done again.
    released().on(HoldEvent::Restarted).does(&[]).on(carriable([0, 1])).does(&[]);

    let retold = |now| {
        released()
            .at(now)
            .on(HoldEvent::Restarted)
            .on(HoldEvent::PartIntercepted(part(0)))
            .on(HoldEvent::PartIntercepted(part(1)))
    };
    retold(START).does(&[Effect::CheckRoutes]).on(carriable([0, 1])).does(&[forward([0, 1])]);
    let late = retold(DEADLINE).does(&[fail(1, FailCause::Expired)]);
    assert_eq!(late.states(), [PartState::Failing(FailCause::Expired); 2]);
}

#[test]
fn a_failure_that_a_crash_undid_is_told_again() {
    Run::with_parts(1)
        .on(HoldEvent::Cancelled)
        .on(HoldEvent::Restarted)
        .does(&[fail(0, FailCause::Cancelled), WAKE_FAILED])
        .on(HoldEvent::PartIntercepted(part(0)))
        .does(&[fail(0, FailCause::Cancelled)]);
}

#[test]
fn a_part_that_cannot_wait_until_the_deadline_fails_alone() {
    let late = Part { outgoing_expiry: DEADLINE.plus(46), ..part(1) };
    let run = Run::with_parts(1)
        .on(HoldEvent::PartIntercepted(late))
        .does(&[fail(1, FailCause::TooLate), WAKE_FAILED])
        .is(HoldStateCode::Held);
    let status = run.hold.status(false);
    assert_eq!(
        (status.hashes[0].held_parts, status.hashes[0].held.0),
        (1, 10_010),
        "the payer sees it missing"
    );
    run.on(HoldEvent::PartRefused { part: part(2), cause: FailCause::OverLimit })
        .does(&[fail(2, FailCause::OverLimit)])
        // A limit does not touch what was accepted before.
        .on(HoldEvent::PartRefused { part: part(0), cause: FailCause::OverLimit })
        .does(&[])
        .on(HoldEvent::Unblocked)
        .on(carriable([0]))
        .does(&[forward([0])]);
}

#[test]
fn a_closing_channel_under_a_held_part_fails_the_group() {
    Run::with_parts(1).on(HoldEvent::PayerChannelClosing(channel(1))).does(&[]).is(HoldStateCode::Held);
    Run::with_parts(2)
        .on(HoldEvent::Unblocked)
        .on(HoldEvent::PayerChannelClosing(channel(1)))
        .does(&[
            fail(0, FailCause::PayerChannelClosing),
            fail(1, FailCause::PayerChannelClosing),
            WAKE_FAILED,
        ])
        .on(carriable([0, 1]))
        .does(&[]);
    Run::with_parts(2)
        .on(HoldEvent::Unblocked)
        .on(carriable([0, 1]))
        .on(HoldEvent::PayerChannelClosing(channel(1)))
        .does(&[])
        .is(HoldStateCode::Released);
}

#[test]
fn a_refusal_that_is_seen_fails_what_is_held() {
    Run::with_parts(1).on(HoldEvent::Refused).does(&[
        Effect::DropPending,
        fail(0, FailCause::Refused),
        WAKE_FAILED,
    ]);
    Run::with_parts(1).on(HoldEvent::Unblocked).on(carriable([0])).on(HoldEvent::Refused).does(&[]);
}

#[test]
fn a_payment_that_the_payee_fails_waits_for_the_payer_too() {
    Run::with_parts(1)
        .on(HoldEvent::Unblocked)
        .on(carriable([0]))
        .on(HoldEvent::PartFailedBack(id(0)))
        .does(&[WAKE_FAILED])
        .is(HoldStateCode::Failed)
        .on(off_channel(0))
        .does(&[END_FAILED, Effect::Ended(HoldOutcome::Failed(FailCause::Downstream))]);
}

#[test]
fn a_claim_outranks_what_was_decided_or_reported() {
    let claimed_late = Run::with_parts(1)
        .on(HoldEvent::Cancelled)
        .on(HoldEvent::PartClaimed(id(0)))
        .does(&[WAKE_SETTLED, END_FAILED])
        .is(HoldStateCode::Claimed)
        .on(HoldEvent::PartFailedBack(id(0)))
        .is(HoldStateCode::Claimed)
        .on(HoldEvent::PartIntercepted(part(0)))
        .does(&[]);
    claimed_late.on(off_channel(0)).does(&[END_SETTLED, Effect::Ended(HoldOutcome::Settled)]);

    Run::with_parts(1)
        .on(HoldEvent::Unblocked)
        .on(carriable([0]))
        .on(HoldEvent::PartUnknownToLdk(id(0)))
        .does(&[Effect::Ended(HoldOutcome::Failed(FailCause::Downstream))])
        .on(HoldEvent::PartClaimed(id(0)))
        .does(&[Effect::Ended(HoldOutcome::Settled)]);
}

#[test]
fn a_part_that_was_missing_and_comes_back_is_held_again() {
    let run = Run::with_parts(1).on(HoldEvent::PartUnknownToLdk(id(0)));
    assert_eq!(run.states(), [PartState::Failed(FailCause::Vanished)]);
    let run = run.on(HoldEvent::PartIntercepted(part(0)));
    assert_eq!(run.states(), [PartState::Held]);
}

#[test]
fn an_htlc_near_its_expiry_is_urgent() {
    let inbound_expiry = part(0).inbound_expiry.unwrap();
    Run::with_parts(1)
        .on(HoldEvent::Unblocked)
        .on(carriable([0]))
        .on(HoldEvent::PartClaimed(id(0)))
        .at(inbound_expiry.minus(36 + 55))
        .on(HoldEvent::HeightAdvanced)
        .does(&[])
        .at(inbound_expiry.minus(36 + 54))
        .on(HoldEvent::HeightAdvanced)
        .does(&[WAKE_EXPIRY])
        .on(HoldEvent::Restarted)
        .does(&[WAKE_SETTLED, WAKE_EXPIRY])
        .on(off_channel(0))
        .does(&[END_SETTLED, END_SOON, Effect::Ended(HoldOutcome::Settled)]);
}

#[test]
fn two_hashes_under_one_unblock() {
    let stepped = |hold, event| step(hold, event, START).unwrap();
    let mut hold = Hold::new(terms());
    for event in [
        HoldEvent::PartIntercepted(part(0)),
        HoldEvent::Unblocked,
        carriable([0]),
        HoldEvent::PartClaimed(id(0)),
        off_channel(0),
    ] {
        hold = stepped(hold, event).hold;
    }
    assert_eq!(hold.tag(), HoldStateTag::Unblocked, "the other hash may still come");
    hold = stepped(hold, HoldEvent::PartIntercepted(part(4))).hold;
    assert_eq!(stepped(hold, carriable([4])).effects, [forward([4])]);
}

#[test]
fn events_that_do_not_apply_are_refused() {
    let run = Run::with_parts(1);
    assert_eq!(run.refuses(HoldEvent::PartClaimed(id(3))), StepError::UnknownPart(id(3)));
    let (foreign, hash) = (part(4), part(4).payment_hash);
    assert_eq!(run.refuses(HoldEvent::PartIntercepted(foreign)), StepError::HashNotHeld(hash));
}
