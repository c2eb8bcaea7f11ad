//! What was decided or reported, and is not what happened.

use super::run::{
    END_FAILED, END_SETTLED, Run, WAKE_FAILED, WAKE_SETTLED, carriable, fail, forward, off_channel,
};
use crate::hold::model::{DEADLINE, START, id, part};
use crate::hold::{Effect, FailCause, HoldEvent, HoldOutcome, PartState};
use crate::wire::HoldStateCode;

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
