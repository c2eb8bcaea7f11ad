//! The payment hashes of live holds as this process knows them, apart from the database: an HTLC under a hash whose row was deleted
//! since is not taken for one without a hold.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use bitcoin::secp256k1::PublicKey;
use lightning_types::payment::PaymentHash;
use protocol::hold::HoldTerms;

use crate::store::holds::{Blind, HoldRow};

type Hashes = HashMap<PaymentHash, Vec<Blind>>;

/// What was promised to hold. As many hashes as live holds have, and those that were granted since the last look at all of them.
#[derive(Default)]
pub(super) struct Promised {
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    /// Of the holds that were live at the last look at all of them.
    looked: Hashes,
    /// Granted before the look that is under way, which may see them or not.
    before: Hashes,
    /// Granted since.
    since: Hashes,
}

impl Promised {
    /// A hold is granted, and on disk.
    pub(super) fn grant(&self, terms: &HoldTerms) {
        self.with(|known| add(&mut known.since, terms));
    }

    /// A look at all live holds begins.
    pub(super) fn begin_look(&self) {
        self.with(|known| {
            for (hash, holds) in std::mem::take(&mut known.since) {
                known.before.entry(hash).or_default().extend(holds);
            }
        });
    }

    /// The look that began last has found these.
    pub(super) fn looked<'a>(&self, rows: impl IntoIterator<Item = &'a HoldRow>) {
        let mut looked = Hashes::new();
        for row in rows {
            add(&mut looked, &row.hold.group().terms);
        }
        self.with(|known| {
            known.looked = looked;
            known.before.clear();
        });
    }

    /// Whose live holds named this hash, but for payers of whom the database still has a hold that does.
    pub(super) fn forgotten(&self, payment_hash: PaymentHash, found: &[HoldRow]) -> Vec<Blind> {
        let is_found = |payer: PublicKey| found.iter().any(|row| row.hold.group().terms.payer == payer);
        self.with(|known| {
            let all = [&known.looked, &known.before, &known.since];
            let promised = all.into_iter().filter_map(|hashes| hashes.get(&payment_hash)).flatten();
            promised.filter(|hold| !is_found(hold.payer)).copied().collect()
        })
    }

    fn with<T>(&self, act: impl FnOnce(&mut Known) -> T) -> T {
        act(&mut self.known.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn add(hashes: &mut Hashes, terms: &HoldTerms) {
    for payment_hash in &terms.payment_hashes {
        let hold = Blind { payer: terms.payer, deadline: terms.deadline };
        hashes.entry(*payment_hash).or_default().push(hold);
    }
}

#[cfg(test)]
mod tests {
    use protocol::hold::Hold;
    use protocol::ids::PidHash;
    use protocol::units::BlockHeight;

    use super::*;
    use crate::testing::public;

    fn terms(payer: u8, hash: u8) -> HoldTerms {
        HoldTerms {
            payer: public(payer),
            pid_hash: PidHash([hash; 32]),
            payment_hashes: vec![PaymentHash([hash; 32])],
            deadline: BlockHeight(200),
        }
    }

    fn row(payer: u8, hash: u8) -> HoldRow {
        let (hold, requested_deadline) = (Hold::new(terms(payer, hash)), BlockHeight(200));
        HoldRow { hold_id: 1, hold, requested_deadline, created_at: 1, updated_at: 1 }
    }

    fn forgotten(promised: &Promised, hash: u8, found: &[HoldRow]) -> Vec<PublicKey> {
        let holds = promised.forgotten(PaymentHash([hash; 32]), found);
        holds.into_iter().map(|hold| hold.payer).collect()
    }

    #[test]
    fn what_was_granted_during_a_look_outlives_it() {
        let promised = Promised::default();
        promised.grant(&terms(1, 1));
        promised.begin_look();
        promised.grant(&terms(2, 2));
        assert_eq!(
            (forgotten(&promised, 1, &[]), forgotten(&promised, 2, &[])),
            (vec![public(1)], vec![public(2)])
        );
        promised.looked(&[row(3, 3)]);
        assert_eq!(forgotten(&promised, 1, &[]), [], "it has ended");
        assert_eq!(
            (forgotten(&promised, 2, &[]), forgotten(&promised, 3, &[])),
            (vec![public(2)], vec![public(3)])
        );
        // A look that fails takes nothing away.
        promised.begin_look();
        promised.begin_look();
        assert_eq!(forgotten(&promised, 2, &[]), [public(2)]);
        promised.looked(&[]);
        assert_eq!((forgotten(&promised, 2, &[]), forgotten(&promised, 3, &[])), (vec![], vec![]));
    }

    #[test]
    fn a_payer_whose_hold_is_found_has_lost_nothing() {
        let promised = Promised::default();
        promised.looked(&[row(1, 1), row(2, 1)]);
        assert_eq!(forgotten(&promised, 1, &[row(2, 1)]), [public(1)]);
        assert_eq!(forgotten(&promised, 2, &[]), []);
    }
}
