//! Where a message lies in its table.
//!
//! SQLite keeps a table in the order of its ids. A phone fetches all that waits for it, so messages for one recipient lie next to each
//! other, in order of arrival, and not wherever the table ended when each of them came.

use bitcoin::secp256k1::PublicKey;
use storage::{StorageError, Tx};

/// Room for numbers of arrivals in an id: 40 bits.
const PLACE_ROOM: i64 = 1 << 40;

/// The same, for statements.
macro_rules! place_room {
    () => {
        "1099511627776"
    };
}

/// No number of an arrival is so large that this program counted to it: at a thousand a second that takes 17 years. Whatever says so is
/// damaged, and there is room to go on behind all that is not.
const ARRIVALS_MAX: i64 = 1 << 39;

/// The same, for statements.
macro_rules! arrivals_max {
    () => {
        "549755813888"
    };
}

/// The recipient's bits in an id: what is left of a positive number. Node ids are as good as random; two that begin alike share a place.
const PLACE_BITS: u32 = 23;

/// The row's id: where its recipient's messages lie, then the number of its arrival among all that came. So of two for one recipient
/// the later one has the larger id, and no id is given twice.
pub(in crate::store) fn id(recipient: PublicKey, arrival: i64) -> i64 {
    let [_, a, b, c, ..] = recipient.serialize();
    let place = i64::from(u32::from_be_bytes([0, a, b, c]) >> (24 - PLACE_BITS));
    place * PLACE_ROOM + arrival
}

/// The number of the arrival in a row's id.
pub(super) const fn arrival(id: i64) -> i64 {
    id % PLACE_ROOM
}

/// Whether a message with this number would come before one that its recipient has: then the number was lost, and another one is there
/// in its place.
pub(super) fn is_behind(recipient: PublicKey, number: i64, last_id: Option<i64>) -> bool {
    last_id.is_some_and(|last| arrival(last) < ARRIVALS_MAX && last >= id(recipient, number))
}

/// The order of arrival, for statements. The seconds have an index; what came within one is sorted.
macro_rules! by_arrival {
    () => {
        concat!("received_at, id % ", place_room!())
    };
}

/// What `last_arrival` is after one more, for statements. -1 if it is lost.
macro_rules! next_arrival {
    () => {
        concat!(
            "CASE WHEN last_arrival >= 0 AND last_arrival < ",
            arrivals_max!(),
            " THEN last_arrival + 1 ELSE -1 END"
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
                "UPDATE mailbox_total SET last_arrival = 1000000 + COALESCE((SELECT MAX(id % ",
                place_room!(),
                ") FROM mailbox_message WHERE id % ",
                place_room!(),
                " < ",
                arrivals_max!(),
                "), 0) WHERE id = 1 RETURNING last_arrival"
            ),
            &[],
        )
        .await?;
    row.get_i64("last_arrival")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::public;

    #[test]
    fn ids_are_in_order_of_arrival_for_each_recipient() {
        for recipient in (1..=200).map(public) {
            let ids = [1, 2, 1 << 20, ARRIVALS_MAX].map(|arrival| id(recipient, arrival));
            assert!(ids[0] > 0 && ids.is_sorted(), "{ids:?}");
            assert_eq!(ids.map(arrival), [1, 2, 1 << 20, ARRIVALS_MAX]);
            assert!(ids[3] - ids[0] < PLACE_ROOM, "next to each other");
        }
        assert_eq!(arrivals_max!().parse(), Ok(ARRIVALS_MAX));
        assert_eq!(place_room!().parse(), Ok(PLACE_ROOM));
    }
}
