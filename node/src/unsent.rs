//! Payments of a phone that never left it.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use lightning::events::{Event, PathFailure};
use lightning_types::payment::PaymentHash;

/// Payments of which no first hop took a part, as far as LDK's events of this process say. LDK tells of each path that failed before it
/// tells that the payment did; whoever dies in between takes it for one that was under way, which is the safe side.
#[derive(Default)]
pub(crate) struct UnsentPayments(Mutex<HashSet<PaymentHash>>);

impl UnsentPayments {
    fn lock(&self) -> MutexGuard<'_, HashSet<PaymentHash>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn learn_from(&self, event: &Event) {
        match event {
            Event::PaymentPathFailed { payment_hash, failure: PathFailure::InitialSend { .. }, .. } => {
                self.lock().insert(*payment_hash);
            }
            Event::PaymentPathFailed { payment_hash, failure: PathFailure::OnPath { .. }, .. }
            | Event::PaymentSent { payment_hash, .. } => {
                self.lock().remove(payment_hash);
            }
            _ => {}
        }
    }

    /// Whether it is one. To be asked once: it has ended.
    pub(crate) fn take(&self, payment_hash: &PaymentHash) -> bool {
        self.lock().remove(payment_hash)
    }
}

#[cfg(test)]
mod tests {
    use lightning::ln::channelmanager::PaymentId;
    use lightning::routing::router::Path;
    use lightning::util::errors::APIError;

    use super::*;

    const HASH: PaymentHash = PaymentHash([7; 32]);

    fn path_failed(failure: PathFailure) -> Event {
        Event::PaymentPathFailed {
            payment_id: Some(PaymentId(HASH.0)),
            payment_hash: HASH,
            payment_failed_permanently: false,
            failure,
            path: Path { hops: Vec::new(), blinded_tail: None },
            short_channel_id: None,
            hold_times: Vec::new(),
        }
    }

    fn at_once() -> Event {
        path_failed(PathFailure::InitialSend { err: APIError::ChannelUnavailable { err: "gone".to_owned() } })
    }

    #[test]
    fn what_no_first_hop_took_is_unsent() {
        let payments = UnsentPayments::default();
        assert!(!payments.take(&HASH), "nothing is known of it");
        payments.learn_from(&at_once());
        payments.learn_from(&at_once());
        assert!(payments.take(&HASH));
        assert!(!payments.take(&HASH), "the next one with this hash is another");
    }

    #[test]
    fn what_came_back_from_further_on_was_sent() {
        let payments = UnsentPayments::default();
        payments.learn_from(&at_once());
        payments.learn_from(&path_failed(PathFailure::OnPath { network_update: None }));
        assert!(!payments.take(&HASH), "its other part was under way");
    }
}
