use super::bytes::Bytes;
use crate::hold::model::world::{HTLCS, Op, World};
use crate::hold::model::{channel, id, part, strays};
use crate::hold::{FailCause, HoldEvent, Part};

/// What one input may make happen.
const EVENTS_MAX: usize = 400;

/// A driver, its database and an LDK that crash: the invariants of the property tests.
pub fn hold_world(data: &[u8]) {
    let mut bytes = Bytes::new(data);
    let payee_claims = bytes.byte().is_multiple_of(2);
    let mut world = World::new();
    for _ in 0..EVENTS_MAX {
        if bytes.is_empty() {
            break;
        }
        world.run(&op(&mut bytes));
    }
    world.finish(payee_claims);
}

/// Events that need not agree with each other.
pub fn hold_strays(data: &[u8]) {
    let mut bytes = Bytes::new(data);
    let events = std::iter::from_fn(|| (!bytes.is_empty()).then(|| event(&mut bytes)));
    strays::run(events.take(EVENTS_MAX));
}

fn op(bytes: &mut Bytes) -> Op {
    let (which, argument) = (bytes.byte(), bytes.byte());
    let htlc = argument % HTLCS;
    let count = usize::from(argument % 4);
    match which % 19 {
        0 => Op::Arrive(htlc),
        1 => Op::ArriveLate(htlc),
        2 => Op::ArriveOverLimit(htlc),
        3 => Op::Unblock,
        4 => Op::Cancel,
        5 => Op::Refuse,
        6 => Op::Blocks(argument.into()),
        7 => Op::Look(argument),
        8 => Op::Look(u8::MAX),
        9 => Op::RunEffects(count),
        10 => Op::NextHop(argument.is_multiple_of(2)),
        11 => Op::Claim(htlc),
        12 => Op::FailDownstream(htlc),
        13 => Op::FailByLdk(htlc),
        14 => Op::PayerComes,
        15 => Op::Reconcile,
        16 => Op::CloseChannel(argument % 2),
        17 => Op::PersistLdk,
        _ if argument.is_multiple_of(3) => Op::Crash,
        _ => Op::Retell(count),
    }
}

fn event(bytes: &mut Bytes) -> (HoldEvent, u32) {
    let (which, argument, blocks) = (bytes.byte(), bytes.byte(), bytes.byte() % 16);
    let number = argument % HTLCS;
    // One HTLC in eight comes with any expiry, late ones among them.
    let comes = |bytes: &mut Bytes| match argument {
        32.. => part(number),
        _ => Part { outgoing_expiry: crate::units::BlockHeight(u32::from(bytes.byte()) * 8), ..part(number) },
    };
    let event = match which % 13 {
        0 => HoldEvent::PartIntercepted(comes(bytes)),
        1 => HoldEvent::PartRefused { part: comes(bytes), cause: FailCause::TooSmall },
        2 => HoldEvent::Unblocked,
        3 => HoldEvent::Refused,
        4 => HoldEvent::Cancelled,
        5 => HoldEvent::HeightAdvanced,
        6 => {
            HoldEvent::Carriable { parts: (0..HTLCS).filter(|n| argument & (1 << n) == 0).map(id).collect() }
        }
        7 => HoldEvent::PartClaimed(id(number)),
        8 => HoldEvent::PartFailedBack(id(number)),
        9 => HoldEvent::PartOffChannel { id: id(number), settled: argument.is_multiple_of(2) },
        10 => HoldEvent::PartUnknownToLdk(id(number)),
        11 => HoldEvent::PayerChannelClosing(channel(argument % 2)),
        _ if argument >= 128 => {
            let parts = (0..HTLCS).filter(|n| argument & (1 << n) == 0).map(id).collect();
            HoldEvent::ReleaseWithdrawn { parts }
        }
        _ => HoldEvent::Restarted,
    };
    (event, blocks.into())
}
