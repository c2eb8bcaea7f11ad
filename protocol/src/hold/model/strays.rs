//! Events that need not agree with each other, as from an LDK gone mad.

use super::{DEADLINE, START, terms};
use crate::hold::{Effect, Hold, HoldEvent, PartState, step};

/// Steps a hold through `events`, each so many blocks after the one before.
///
/// # Panics
/// When something is released that must not be, a part is held at the deadline, or rows do not give the hold back.
pub(crate) fn run(events: impl IntoIterator<Item = (HoldEvent, u32)>) {
    let (mut hold, mut now) = (Hold::new(terms()), START);
    let (mut unblocked, mut given_up) = (false, false);
    let mut failed = Vec::new();
    for (event, blocks) in events {
        now = now.plus(blocks);
        let Ok(stepped) = step(hold.clone(), event.clone(), now) else { continue };
        unblocked |= event == HoldEvent::Unblocked && now < DEADLINE;
        given_up |= event == HoldEvent::Cancelled;
        for effect in &stepped.effects {
            match effect {
                Effect::Forward { parts } => {
                    assert!(unblocked && !given_up && now < DEADLINE);
                    assert!(parts.iter().all(|id| !failed.contains(id)));
                }
                Effect::Fail { part, .. } => failed.push(*part),
                _ => {}
            }
        }
        hold = stepped.hold;
        let group = hold.group();
        let rebuilt = Hold::from_row(group.terms.clone(), hold.tag(), hold.cause(), group.parts.clone());
        assert_eq!(rebuilt.as_ref(), Ok(&hold));
        assert!(now < DEADLINE || group.parts.iter().all(|part| part.state != PartState::Held));
    }
}
