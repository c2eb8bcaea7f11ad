//! What ordinary and unusual payments come to, event by event.

use super::run::{
    END_FAILED, END_SETTLED, END_SOON, Run, WAKE_EXPIRY, WAKE_FAILED, WAKE_SETTLED, carriable, fail, forward,
    off_channel,
};
use crate::hold::model::{DEADLINE, START, channel, id, part, terms};
use crate::hold::{Effect, FailCause, Hold, HoldEvent, HoldOutcome, HoldStateTag, Part, StepError, step};
use crate::wire::HoldStateCode;

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
