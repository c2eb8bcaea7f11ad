use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use crate::hold::model::world::{HTLCS, Op, World};
use crate::hold::model::{channel, id, part, strays};
use crate::hold::{FailCause, HoldEvent};

fn op() -> impl Strategy<Value = Op> {
    let htlc = || 0..HTLCS;
    prop_oneof![
        8 => htlc().prop_map(Op::Arrive),
        1 => htlc().prop_map(Op::ArriveLate),
        1 => htlc().prop_map(Op::ArriveOverLimit),
        3 => Just(Op::Unblock),
        1 => Just(Op::Cancel),
        1 => Just(Op::Refuse),
        2 => (1u32..60).prop_map(Op::Blocks),
        3 => any::<u8>().prop_map(Op::Look),
        3 => Just(Op::Look(u8::MAX)),
        6 => (1usize..4).prop_map(Op::RunEffects),
        2 => any::<bool>().prop_map(Op::NextHop),
        3 => htlc().prop_map(Op::Claim),
        2 => htlc().prop_map(Op::FailDownstream),
        1 => htlc().prop_map(Op::FailByLdk),
        2 => Just(Op::PayerComes),
        2 => Just(Op::Reconcile),
        1 => (0u8..2).prop_map(Op::CloseChannel),
        3 => Just(Op::PersistLdk),
        2 => Just(Op::Crash),
        4 => (1usize..4).prop_map(Op::Retell),
    ]
}

/// Events that need not agree with each other, as from an LDK gone mad.
fn event() -> impl Strategy<Value = HoldEvent> {
    let number = || 0..HTLCS;
    prop_oneof![
        6 => number().prop_map(|number| HoldEvent::PartIntercepted(part(number))),
        1 => number().prop_map(|number| HoldEvent::PartRefused { part: part(number), cause: FailCause::TooSmall }),
        3 => Just(HoldEvent::Unblocked),
        1 => Just(HoldEvent::Refused),
        1 => Just(HoldEvent::Cancelled),
        2 => Just(HoldEvent::HeightAdvanced),
        4 => Just(HoldEvent::Carriable { parts: (0..HTLCS).map(id).collect() }),
        2 => number().prop_map(|number| HoldEvent::PartClaimed(id(number))),
        2 => number().prop_map(|number| HoldEvent::PartFailedBack(id(number))),
        2 => (number(), any::<bool>())
            .prop_map(|(number, settled)| HoldEvent::PartOffChannel { id: id(number), settled }),
        1 => number().prop_map(|number| HoldEvent::PartUnknownToLdk(id(number))),
        1 => number().prop_map(|number| HoldEvent::PartContradicted(id(number))),
        1 => (0u8..2).prop_map(|number| HoldEvent::PayerChannelClosing(channel(number))),
        1 => prop::collection::vec(number().prop_map(id), 1..4).prop_map(|parts| HoldEvent::ReleaseWithdrawn { parts }),
        2 => Just(HoldEvent::Restarted),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, rng_seed: RngSeed::Fixed(2), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_the_money_goes_one_way(
        ops in prop::collection::vec(op(), 0..60),
        payee_claims: bool,
    ) {
        let mut world = World::new();
        for op in &ops {
            world.run(op);
        }
        world.finish(payee_claims);
    }

    #[test]
    fn no_sequence_of_events_releases_what_it_must_not(
        events in prop::collection::vec((event(), 0u32..8), 0..80),
    ) {
        strays::run(events);
    }
}
