//! Where a message lies in its table.
//!
//! SQLite keeps a table in the order of its ids. A phone fetches all that waits for it, so messages for one recipient lie next to each
//! other, in order of arrival, and not wherever the table ended when each of them came.

use bitcoin::secp256k1::PublicKey;
use storage::{StorageError, Tx};

/// Arrivals that have an id of their own. At a thousand a second they last for 34 years.
const ARRIVALS_MAX: i64 = 1 << 40;

/// The same, for statements.
macro_rules! arrivals_max {
    () => {
        "1099511627776"
    };
}

/// The recipient's bits in an id, which is positive. Node ids are as good as random; two that begin alike share a place.
const PLACE_BITS: u32 = 23;

/// The row's id: where its recipient's messages lie, then the number of its arrival among all that came. So of two for one recipient
/// the later one has the larger id, and no id is given twice.
pub(in crate::store) fn id(recipient: PublicKey, arrival: i64) -> i64 {
    let [_, a, b, c, ..] = recipient.serialize();
    let place = i64::from(u32::from_be_bytes([0, a, b, c]) >> (24 - PLACE_BITS));
    place * ARRIVALS_MAX + arrival
}

/// The number of the arrival in a row's id.
pub(super) const fn arrival(id: i64) -> i64 {
    id % ARRIVALS_MAX
}

/// The order of arrival, for statements. The seconds have an index; what came within one is sorted.
macro_rules! by_arrival {
    () => {
        concat!("received_at, id % ", arrivals_max!())
    };
}

/// What `last_arrival` is after one more, for statements. -1 if it is lost.
macro_rules! next_arrival {
    () => {
        concat!(
            "CASE WHEN last_arrival >= 0 AND last_arrival < ",
            arrivals_max!(),
            " - 1 THEN last_arrival + 1 ELSE -1 END"
        )
    };
}

/// The number of the last arrival is lost: goes on well beyond all that are here, since some may be gone that had later ones. Answers
/// the next one's.
pub(super) async fn renumber(tx: &mut Tx) -> Result<i64, StorageError> {
    tracing::error!("the number of the mailbox's last message could not be read: it is found anew");
    let row = tx
        .fetch_one(
            concat!(
                "UPDATE mailbox_total SET last_arrival = 1000000 + \
                 COALESCE((SELECT MAX(id % ",
                arrivals_max!(),
                ") FROM mailbox_message), 0) WHERE id = 1 RETURNING last_arrival"
            ),
            &[],
        )
        .await?;
    match row.get_i64("last_arrival")? {
        arrival @ 1..ARRIVALS_MAX => Ok(arrival),
        _ => Err(StorageError::ValueRange),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::public;

    #[test]
    fn ids_are_in_order_of_arrival_for_each_recipient() {
        for recipient in (1..=200).map(public) {
            let ids = [1, 2, 1 << 20, ARRIVALS_MAX - 1].map(|arrival| id(recipient, arrival));
            assert!(ids[0] > 0 && ids.is_sorted(), "{ids:?}");
            assert_eq!(ids.map(arrival), [1, 2, 1 << 20, ARRIVALS_MAX - 1]);
            assert!(ids[3] - ids[0] < ARRIVALS_MAX, "next to each other");
        }
        assert_eq!(arrivals_max!().parse(), Ok(ARRIVALS_MAX));
    }
}
