//! What the database and LDK did not agree on.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::hash::Hash;

use protocol::api::admin::{DifferenceCount, DifferenceView};

use crate::metrics::names;

/// How many of the newest differences are kept to be looked at.
const DIFFERENCES_MAX: usize = 1_000;

/// What can differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum DifferenceKind {
    /// A part is held, and LDK has no such HTLC on a channel that is open. The part is written off.
    PartWithoutHtlc,
    /// LDK holds an intercepted HTLC that no live hold has. It is failed back.
    HtlcWithoutPart,
    /// LDK's HTLC has another hash, amount or expiry than the part. What is held is failed back.
    ContentsDiffer,
    /// LDK failed an HTLC back that the database says is held.
    FailedUnasked,
    /// LDK has the preimage of an HTLC that was never released.
    ClaimedUnreleased,
    /// A payer should be woken, and no wake is open. It is opened.
    ReasonWithoutWake,
    /// A wake is open for a live hold that has no such reason. It is ended.
    WakeWithoutReason,
    /// The rows of a hold contradict each other. It is left alone, and its HTLCs are failed back.
    UnreadableHold,
}

impl DifferenceKind {
    const ALL: [Self; 8] = [
        Self::PartWithoutHtlc,
        Self::HtlcWithoutPart,
        Self::ContentsDiffer,
        Self::FailedUnasked,
        Self::ClaimedUnreleased,
        Self::ReasonWithoutWake,
        Self::WakeWithoutReason,
        Self::UnreadableHold,
    ];

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::PartWithoutHtlc => "part_without_htlc",
            Self::HtlcWithoutPart => "htlc_without_part",
            Self::ContentsDiffer => "contents_differ",
            Self::FailedUnasked => "failed_unasked",
            Self::ClaimedUnreleased => "claimed_unreleased",
            Self::ReasonWithoutWake => "reason_without_wake",
            Self::WakeWithoutReason => "wake_without_reason",
            Self::UnreadableHold => "unreadable_hold",
        }
    }
}

/// The newest differences, and how many there were since the start.
#[derive(Debug, Default)]
pub(super) struct Differences {
    newest: VecDeque<DifferenceView>,
    known: HashSet<(DifferenceKind, String)>,
    counts: BTreeMap<DifferenceKind, u64>,
}

impl Differences {
    /// Notes a difference, and logs and counts it unless it is known. `id` is what it is about: an intercept id, a hold's row, a
    /// payer and its payment.
    pub(super) fn note(&mut self, kind: DifferenceKind, id: String, detail: String, now_unix: u64) {
        if !self.known.insert((kind, id.clone())) {
            return;
        }
        tracing::error!(kind = kind.as_str(), id, detail, "the database and LDK do not agree");
        names::RECONCILE_DIFFERENCES.add(1, &[("kind", kind.as_str())]);
        *self.counts.entry(kind).or_default() += 1;
        if self.newest.len() >= DIFFERENCES_MAX
            && let Some(oldest) = self.newest.pop_front()
        {
            self.known.retain(|(kind, id)| kind.as_str() != oldest.kind || *id != oldest.id);
        }
        self.newest.push_back(DifferenceView {
            kind: kind.as_str().to_owned(),
            id,
            detail,
            seen_at: now_unix,
        });
    }

    pub(super) fn newest(&self) -> Vec<DifferenceView> {
        self.newest.iter().rev().cloned().collect()
    }

    pub(super) fn counts(&self) -> Vec<DifferenceCount> {
        let count = |kind: DifferenceKind| DifferenceCount {
            kind: kind.as_str().to_owned(),
            since_start: self.counts.get(&kind).copied().unwrap_or(0),
        };
        DifferenceKind::ALL.into_iter().map(count).collect()
    }
}

/// What looks odd at one moment may be under way. It is a difference if it looks so for a while, however many passes that takes:
/// with blocks that come in one go they are milliseconds apart.
#[derive(Debug)]
pub(super) struct Suspicions<K> {
    since_unix: HashMap<K, u64>,
}

impl<K> Default for Suspicions<K> {
    fn default() -> Self {
        Self { since_unix: HashMap::new() }
    }
}

impl<K: Clone + Eq + Hash> Suspicions<K> {
    /// Those of `odd` that have been odd in every pass of the last `secs` seconds.
    pub(super) fn confirm(&mut self, odd: impl IntoIterator<Item = K>, secs: u64, now_unix: u64) -> Vec<K> {
        let mut since_unix = HashMap::new();
        for key in odd {
            let since = self.since_unix.get(&key).copied().unwrap_or(now_unix);
            since_unix.insert(key, since);
        }
        self.since_unix = since_unix;
        let lasts = |since: u64| now_unix.saturating_sub(since) >= secs;
        self.since_unix.iter().filter(|(_, since)| lasts(**since)).map(|(key, _)| key.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_is_noted_once_and_counted_once() {
        let mut differences = Differences::default();
        for _ in 0..3 {
            differences.note(DifferenceKind::ContentsDiffer, "a".to_owned(), String::new(), 5);
        }
        differences.note(DifferenceKind::ContentsDiffer, "b".to_owned(), String::new(), 6);
        let ids: Vec<_> = differences.newest().into_iter().map(|difference| difference.id).collect();
        assert_eq!(ids, ["b", "a"]);
        let counts = differences.counts();
        assert_eq!(counts.len(), DifferenceKind::ALL.len());
        assert_eq!(counts.iter().map(|count| count.since_start).sum::<u64>(), 2);
    }

    #[test]
    fn only_what_stays_odd_is_a_difference() {
        let mut suspicions = Suspicions::default();
        assert!(suspicions.confirm([1, 2], 5, 100).is_empty());
        assert!(suspicions.confirm([1, 2], 5, 104).is_empty(), "however often it is looked at");
        assert_eq!(suspicions.confirm([2, 3], 5, 105), [2]);
        assert!(suspicions.confirm([1], 5, 106).is_empty(), "it was in order in between");
        assert_eq!(suspicions.confirm([1], 5, 111), [1]);
    }
}
