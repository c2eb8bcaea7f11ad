//! A driver, its database and an LDK that crash: what is true about the money is what this LDK says.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use lightning::ln::channelmanager::InterceptId;

use super::{DEADLINE, START, channel, id, part, terms};
use crate::hold::{Effect, FailCause, Hold, HoldEvent, HoldOutcome, Part, PartState, StepError, step};
use crate::units::BlockHeight;
use crate::wake::WakeReason;

pub(crate) const HTLCS: u8 = 6;

/// What LDK knows of an HTLC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Htlc {
    Intercepted,
    Forwarded,
    Claimed,
    FailedBack,
    Gone { settled: bool },
}

/// What happens next.
#[derive(Clone, Debug)]
pub(crate) enum Op {
    Arrive(u8),
    ArriveLate(u8),
    ArriveOverLimit(u8),
    Unblock,
    Cancel,
    Refuse,
    Blocks(u32),
    /// The routes of these HTLCs (a bit mask) can carry them, and the driver looks.
    Look(u8),
    RunEffects(usize),
    /// The channel to the next hop goes down or comes up.
    NextHop(bool),
    Claim(u8),
    FailDownstream(u8),
    /// LDK fails an intercepted HTLC by itself: it was too near its expiry, or its channel closed.
    FailByLdk(u8),
    PayerComes,
    Reconcile,
    CloseChannel(u8),
    PersistLdk,
    Crash,
    /// LDK tells again of so many of the HTLCs that it has.
    Retell(usize),
}

pub(crate) struct World {
    pub(crate) hold: Hold,
    pub(crate) now: BlockHeight,
    memory: BTreeMap<u8, Htlc>,
    disk: BTreeMap<u8, Htlc>,
    effects: VecDeque<Effect>,
    retellings: VecDeque<u8>,
    /// Told of since the last start.
    told: BTreeSet<u8>,
    next_hop: bool,
    unblocked: bool,
    cancelled: bool,
    looked: BTreeSet<u8>,
    wakes: BTreeSet<WakeReason>,
    pending_dropped: bool,
    failed: BTreeSet<u8>,
    forwarding: BTreeSet<u8>,
}

impl World {
    pub(crate) fn new() -> Self {
        Self {
            hold: Hold::new(terms()),
            now: START,
            memory: BTreeMap::new(),
            disk: BTreeMap::new(),
            effects: VecDeque::new(),
            retellings: VecDeque::new(),
            told: BTreeSet::new(),
            next_hop: true,
            unblocked: false,
            cancelled: false,
            looked: BTreeSet::new(),
            wakes: BTreeSet::new(),
            pending_dropped: false,
            failed: BTreeSet::new(),
            forwarding: BTreeSet::new(),
        }
    }

    pub(crate) fn run(&mut self, op: &Op) {
        match *op {
            Op::Arrive(htlc) => self.arrive(htlc, HoldEvent::PartIntercepted(part(htlc))),
            Op::ArriveLate(htlc) => {
                let late = Part { outgoing_expiry: DEADLINE.plus(40), ..part(htlc) };
                self.arrive(htlc, HoldEvent::PartIntercepted(late));
            }
            Op::ArriveOverLimit(htlc) => {
                self.arrive(htlc, HoldEvent::PartRefused { part: part(htlc), cause: FailCause::OverLimit });
            }
            Op::Unblock => {
                self.unblocked |= self.now < DEADLINE;
                self.step(HoldEvent::Unblocked);
            }
            Op::Cancel => self.cancel(),
            Op::Refuse => self.step(HoldEvent::Refused),
            Op::Blocks(blocks) => {
                self.now = self.now.plus(blocks);
                self.step(HoldEvent::HeightAdvanced);
                if self.now >= DEADLINE {
                    assert_eq!(self.hold.group().held().count(), 0, "held past the deadline");
                }
            }
            Op::Look(mask) => {
                self.looked =
                    (0..HTLCS).filter(|htlc| mask & (1 << htlc) != 0 && self.told.contains(htlc)).collect();
                self.step(HoldEvent::Carriable { parts: self.looked.iter().copied().map(id).collect() });
                self.looked.clear();
            }
            Op::RunEffects(count) => self.run_effects(count),
            Op::NextHop(up) => self.next_hop = up,
            Op::Claim(htlc) => self.resolve(htlc, Htlc::Claimed),
            Op::FailDownstream(htlc) => self.resolve(htlc, Htlc::FailedBack),
            Op::FailByLdk(htlc) => self.fail(htlc),
            Op::PayerComes => self.payer_comes(),
            Op::Reconcile => self.reconcile(),
            Op::CloseChannel(number) => self.step(HoldEvent::PayerChannelClosing(channel(number))),
            Op::PersistLdk => self.disk = self.memory.clone(),
            Op::Crash => self.crash(),
            Op::Retell(count) => self.retell(count),
        }
    }

    /// Lets everything that can still happen happen: the hold must end as LDK says.
    pub(crate) fn finish(&mut self, payee_claims: bool) {
        self.now = self.now.max(DEADLINE);
        self.step(HoldEvent::HeightAdvanced);
        for _ in 0..3 {
            self.retell(usize::MAX);
            self.run_effects(usize::MAX);
            for htlc in 0..HTLCS {
                self.resolve(htlc, if payee_claims { Htlc::Claimed } else { Htlc::FailedBack });
            }
            self.payer_comes();
            self.reconcile();
        }
        let settled = self.memory.values().any(|htlc| *htlc == Htlc::Gone { settled: true });
        assert!(self.memory.values().all(|htlc| matches!(htlc, Htlc::Gone { .. })), "{:?}", self.memory);
        match self.hold.outcome() {
            Some(HoldOutcome::Settled) => assert!(settled),
            Some(HoldOutcome::Failed(_)) => assert!(!settled),
            Some(HoldOutcome::Unused) => assert!(self.memory.is_empty()),
            None => panic!("never ends: {:?}", self.hold),
        }
        assert!(self.wakes.is_empty() && self.pending_dropped);
    }

    fn arrive(&mut self, htlc: u8, event: HoldEvent) {
        if self.memory.contains_key(&htlc) {
            return;
        }
        self.memory.insert(htlc, Htlc::Intercepted);
        // The HTLC itself is LDK's from before the event: a crash does not lose it.
        self.disk.insert(htlc, Htlc::Intercepted);
        self.told.insert(htlc);
        self.step(event);
    }

    fn cancel(&mut self) {
        match step(self.hold.clone(), HoldEvent::Cancelled, self.now) {
            Ok(stepped) => {
                self.cancelled = true;
                let paid = |htlc: &Htlc| {
                    matches!(htlc, Htlc::Forwarded | Htlc::Claimed | Htlc::Gone { settled: true })
                };
                assert!(!self.memory.values().any(paid), "cancelled what is released: {:?}", self.memory);
                self.commit(stepped.hold, stepped.effects);
            }
            Err(error) => assert_eq!(error, StepError::CancelTooLate),
        }
    }

    fn step(&mut self, event: HoldEvent) {
        let stepped = step(self.hold.clone(), event.clone(), self.now).unwrap();
        assert_eq!(Ok(&stepped), step(self.hold.clone(), event, self.now).as_ref(), "a step is pure");
        self.commit(stepped.hold, stepped.effects);
    }

    /// Checks the step, and stores the hold as rows.
    fn commit(&mut self, hold: Hold, effects: Vec<Effect>) {
        for effect in &effects {
            match effect {
                Effect::Forward { parts } => self.check_forward(parts.iter().map(|id| id.0[0]).collect()),
                Effect::Fail { part, .. } => {
                    assert!(!self.forwarding.contains(&part.0[0]), "failed what is being forwarded");
                    self.failed.insert(part.0[0]);
                }
                Effect::Wake { reason } => drop(self.wakes.insert(*reason)),
                Effect::EndWakes { reason } => {
                    // The deadline may come before the wake that is sent shortly before it.
                    let was_on = self.wakes.remove(reason);
                    assert!(was_on || *reason == WakeReason::ExpirySoon, "ended a wake that was not on");
                }
                Effect::DropPending => assert!(!std::mem::replace(&mut self.pending_dropped, true)),
                Effect::CheckRoutes => {
                    assert!(matches!(&hold, Hold::Unblocked(group) if group.held().count() > 0))
                }
                Effect::Ended(outcome) => assert_eq!(hold.outcome(), Some(*outcome)),
            }
        }
        assert_eq!(self.wakes, hold.group().wakes(self.now).into_iter().collect());
        let group = hold.group().clone();
        let parts = group.parts.into_iter().map(|part| {
            let state = PartState::from_row(
                part.state.tag().as_str().parse().unwrap(),
                part.state.cause().map(|cause| cause.as_str().parse().unwrap()),
            );
            Part { state: state.unwrap(), ..part }
        });
        let read =
            Hold::from_row(group.terms, hold.state_name().parse().unwrap(), hold.cause(), parts.collect());
        self.hold = read.unwrap();
        assert_eq!(self.hold, hold, "rows give the hold back");
        self.effects.extend(effects);
    }

    fn check_forward(&mut self, parts: BTreeSet<u8>) {
        assert!(self.unblocked, "released without the pid");
        assert!(!self.cancelled, "released after a cancel");
        assert!(self.now < DEADLINE, "released at the deadline");
        assert!(!parts.is_empty() && parts.is_subset(&self.looked), "released what cannot be carried");
        assert!(self.failed.is_disjoint(&parts), "released what was failed");
        assert!(self.forwarding.is_disjoint(&parts), "released twice");
        let left_behind = self.hold.group().held().filter(|part| !parts.contains(&part.intercept_id.0[0]));
        assert_eq!(left_behind.count(), 0, "released a part of the group");
        self.forwarding.extend(parts);
    }

    fn run_effects(&mut self, count: usize) {
        for _ in 0..count {
            match self.effects.pop_front() {
                // A single part is what LDK refuses, so that both ways back are taken.
                Some(Effect::Forward { parts }) if parts.len() > 1 && !self.next_hop => self.withdraw(parts),
                Some(Effect::Forward { parts }) => parts.iter().for_each(|part| self.forward(part.0[0])),
                Some(Effect::Fail { part, .. }) => self.fail(part.0[0]),
                Some(_) => {}
                None => return,
            }
        }
    }

    fn fail(&mut self, htlc: u8) {
        if self.memory.get(&htlc) == Some(&Htlc::Intercepted) {
            self.memory.insert(htlc, Htlc::FailedBack);
        }
    }

    fn forward(&mut self, htlc: u8) {
        match self.memory[&htlc] {
            Htlc::Intercepted if self.next_hop => drop(self.memory.insert(htlc, Htlc::Forwarded)),
            // LDK refuses, and keeps the HTLC.
            Htlc::Intercepted => self.tell(htlc),
            Htlc::FailedBack | Htlc::Gone { settled: false } => {}
            taken => panic!("released an HTLC that is {taken:?}"),
        }
    }

    /// The driver sees that the way out has closed, and does not ask LDK.
    fn withdraw(&mut self, parts: Vec<InterceptId>) {
        let is_kept = |part: &InterceptId| self.memory[&part.0[0]] == Htlc::Intercepted;
        let parts: Vec<_> = parts.into_iter().filter(is_kept).collect();
        self.forwarding.retain(|htlc| !parts.contains(&id(*htlc)));
        self.step(HoldEvent::ReleaseWithdrawn { parts });
    }

    /// LDK has it, so whatever was decided did not happen.
    fn tell(&mut self, htlc: u8) {
        self.forwarding.remove(&htlc);
        self.told.insert(htlc);
        self.step(HoldEvent::PartIntercepted(part(htlc)));
    }

    /// A forward reaches the next hop only once LDK has written it.
    fn resolve(&mut self, htlc: u8, outcome: Htlc) {
        if self.memory.get(&htlc) == Some(&Htlc::Forwarded) {
            self.memory.insert(htlc, outcome);
            self.disk = self.memory.clone();
            match outcome {
                Htlc::Claimed => self.step(HoldEvent::PartClaimed(id(htlc))),
                _ => self.step(HoldEvent::PartFailedBack(id(htlc))),
            }
        }
    }

    fn payer_comes(&mut self) {
        for (&htlc, state) in &mut self.memory {
            match state {
                Htlc::Claimed => *state = Htlc::Gone { settled: true },
                Htlc::FailedBack => *state = Htlc::Gone { settled: false },
                _ => continue,
            }
            self.disk.insert(htlc, *state);
        }
    }

    /// The driver compares LDK's channels with its rows.
    fn reconcile(&mut self) {
        for (htlc, state) in self.memory.clone() {
            match state {
                Htlc::FailedBack => self.step(HoldEvent::PartFailedBack(id(htlc))),
                Htlc::Gone { settled: true } => {
                    // LDK tells of a claim before it forgets the HTLC.
                    self.step(HoldEvent::PartClaimed(id(htlc)));
                    self.step(HoldEvent::PartOffChannel { id: id(htlc), settled: false });
                }
                Htlc::Gone { settled: false } => self.step(HoldEvent::PartUnknownToLdk(id(htlc))),
                Htlc::Intercepted | Htlc::Forwarded | Htlc::Claimed => {}
            }
        }
    }

    fn crash(&mut self) {
        let before = self.hold.clone();
        self.effects.clear();
        self.told.clear();
        self.memory = self.disk.clone();
        self.retellings = self
            .memory
            .iter()
            .filter(|(_, state)| **state == Htlc::Intercepted)
            .map(|(&htlc, _)| htlc)
            .collect();
        self.step(HoldEvent::Restarted);
        assert!(self.now >= DEADLINE || self.hold == before, "a restart decides nothing");
    }

    fn retell(&mut self, count: usize) {
        for _ in 0..count {
            let Some(htlc) = self.retellings.pop_front() else { return };
            let before = self.state_of(htlc);
            // What was failed since the start is LDK's no longer, and was told all the same.
            self.tell(htlc);
            let after = self.state_of(htlc);
            match before {
                PartState::Failing(cause) => {
                    assert_eq!(after, PartState::Failing(cause), "a failure was undone")
                }
                PartState::Claimed | PartState::Settled => assert_eq!(after, before),
                _ if self.now < DEADLINE => assert!(matches!(after, PartState::Held | PartState::Failing(_))),
                _ => assert!(matches!(after, PartState::Failing(_))),
            }
        }
    }

    fn state_of(&self, htlc: u8) -> PartState {
        self.hold.group().parts.iter().find(|part| part.intercept_id == id(htlc)).unwrap().state
    }
}
