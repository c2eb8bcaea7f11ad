//! HTLCs of payers whose rows are damaged: kept, and nobody is paid by guess. On SQLite, whose columns take any value.

use ::node::InterceptedHtlc;
use lightning::util::message_signing;
use protocol::wire::{PaymentBlock, PaymentStatus};
use storage::testing::Scratch;

use super::driving::{driver_of, intercepted, offered};
use super::*;
use crate::store::damage::{Place, look};
use crate::testing::secret;

const PAYER: u8 = 1;
const HOLD_HASH: u8 = 1;

/// As a tool leaves it that does not look after what refers to what.
async fn damage(db: &TestDatabase, sql: &'static str) {
    let damaged = db.database.submit("damage", move |tx| {
        Box::pin(async move {
            for table in [
                [
                    "CREATE TABLE c AS SELECT * FROM hold_hash",
                    "DROP TABLE hold_hash",
                    "ALTER TABLE c RENAME TO hold_hash",
                ],
                [
                    "CREATE TABLE c AS SELECT * FROM hold_part",
                    "DROP TABLE hold_part",
                    "ALTER TABLE c RENAME TO hold_part",
                ],
            ] {
                for sql in table {
                    tx.execute(sql, &[]).await?;
                }
            }
            tx.execute(sql, &[]).await
        })
    });
    assert_eq!(damaged.await.unwrap(), 1, "{sql}");
}

async fn is_forwarded(payments: &Arc<Payments>, node: &BareNode, htlc: InterceptedHtlc) -> bool {
    let id = htlc.intercept_id;
    payments.on_intercepted(htlc).await.unwrap();
    payments.tasks.running().wait_for(|running| *running == 0).await.unwrap();
    lock(&node.forwarded).contains(&id)
}

/// No look at all the holds was made since the damage.
#[tokio::test]
async fn what_may_be_under_a_hold_that_cannot_be_read_is_not_forwarded() {
    for sql in [
        "UPDATE hold_hash SET payment_hash = x'0102' WHERE hold_id = 1",
        "UPDATE hold_hash SET payment_hash = 'thirty-two-characters-of-no-hash' WHERE hold_id = 1",
        "UPDATE hold_hash SET payment_hash = 7 WHERE hold_id = 1",
        "UPDATE hold_hash SET hold_id = 1.5 WHERE hold_id = 1",
        "UPDATE hold_hash SET hold_id = 77 WHERE hold_id = 1",
        "UPDATE hold SET payer = x'00' WHERE id = 1",
        "UPDATE hold SET state = 'moonlight' WHERE id = 1",
        "UPDATE hold SET deadline = -1 WHERE id = 1",
    ] {
        let db = TestDatabase::on(Scratch::sqlite()).await;
        let limits = PaymentLimits::default();
        grant(&db, &limits, PAYER, HOLD_HASH).await.unwrap();
        grant(&db, &limits, 2, 2).await.unwrap();
        let node = offered(&[(PAYER, 11, HOLD_HASH), (3, 13, 3)]);
        let payments = driver_of(&db, limits, node.clone());
        damage(&db, sql).await;
        assert!(!is_forwarded(&payments, &node, intercepted(11, HOLD_HASH)).await, "{sql}");
        assert_eq!(
            lock(&payments.differences).counts().iter().map(|count| count.since_start).sum::<u64>(),
            1,
            "{sql}"
        );
        assert!(is_forwarded(&payments, &node, intercepted(13, 3)).await, "nobody else is harmed: {sql}");
        db.database.close().await;
    }
}

/// What is lost leaves no trace in the database, or none that an HTLC's own look could find.
const LOST: [&str; 2] = [
    "DELETE FROM hold_hash WHERE hold_id = 1 AND position = 0",
    "UPDATE hold_hash SET payment_hash = x'7777777777777777777777777777777777777777777777777777777777777777' \
     WHERE hold_id = 1 AND position = 0",
];

async fn grant_hashes(payments: &Payments, payer: u8, hashes: &[u8]) {
    let payment_hashes = hashes.iter().map(|hash| PaymentHash([*hash; 32])).collect();
    let sign = |text: &[u8]| Ok(message_signing::sign(text, &secret(payer)));
    let pid_hash = PidHash([payer; 32]);
    let block =
        PaymentBlock::sign(public(payer), pid_hash, payment_hashes, DEADLINE, &public(99), sign).unwrap();
    assert_eq!(payments.store_block(&block, DEADLINE).await.unwrap(), Ok(DEADLINE));
}

/// Whoever granted it knows of it without a look at all the holds, and so does whoever has looked since it was granted; a look since the
/// damage finds that the hold has lost a hash.
#[tokio::test]
async fn what_was_promised_to_be_held_is_not_forwarded_when_its_row_is_lost() {
    for sql in LOST {
        for looks in [[false, false], [true, false], [false, true], [true, true]] {
            let db = TestDatabase::on(Scratch::sqlite()).await;
            let node = offered(&[(PAYER, 11, HOLD_HASH), (PAYER, 12, 12), (3, 14, HOLD_HASH)]);
            let granted = driver_of(&db, PaymentLimits::default(), node.clone());
            grant_hashes(&granted, PAYER, &[HOLD_HASH, 12]).await;
            grant_hashes(&granted, 2, &[22]).await;
            let payments = if looks[0] {
                let payments = driver_of(&db, PaymentLimits::default(), node.clone());
                payments.reconcile().await.unwrap();
                payments
            } else {
                granted
            };
            damage(&db, sql).await;
            if looks[1] {
                payments.reconcile().await.unwrap();
            }
            let case = format!("{sql}, {looks:?}");
            assert!(!is_forwarded(&payments, &node, intercepted(11, HOLD_HASH)).await, "{case}");
            assert!(!is_forwarded(&payments, &node, intercepted(12, 12)).await, "{case}");
            assert!(is_forwarded(&payments, &node, intercepted(14, HOLD_HASH)).await, "another's: {case}");
            db.database.close().await;
        }
    }
}

#[tokio::test]
async fn a_part_whose_hold_is_gone_is_not_forwarded_when_it_is_told_of_again() {
    let db = TestDatabase::on(Scratch::sqlite()).await;
    let limits = PaymentLimits { hold_part_min: Msat(1_000), ..PaymentLimits::default() };
    grant(&db, &limits, PAYER, HOLD_HASH).await.unwrap();
    intercept(&db, &limits, htlc(11, PAYER, HOLD_HASH, 5_000_000)).await;
    damage(&db, "DELETE FROM hold_hash WHERE hold_id = 1").await;
    damage(&db, "DELETE FROM hold WHERE id = 1").await;
    let node = offered(&[(PAYER, 11, HOLD_HASH)]);
    let payments = driver_of(&db, limits, node.clone());
    assert!(!is_forwarded(&payments, &node, intercepted(11, HOLD_HASH)).await);
}

#[tokio::test]
async fn a_payer_with_a_damaged_row_hears_of_its_other_payments() {
    for sql in [
        "UPDATE hold SET pid_hash = x'0102' WHERE id = 1",
        "UPDATE hold SET state = 'moonlight' WHERE id = 1",
        "UPDATE hold SET deadline = -1 WHERE id = 1",
        "UPDATE hold_hash SET payment_hash = x'0102' WHERE hold_id = 1",
        "UPDATE hold_part SET state = 'moonlight' WHERE hold_id = 1",
        "UPDATE hold_part SET inbound_amount_msat = -5 WHERE hold_id = 1",
    ] {
        let db = TestDatabase::on(Scratch::sqlite()).await;
        let limits = PaymentLimits { hold_part_min: Msat(1_000), ..PaymentLimits::default() };
        for pid in [1, 2] {
            grant(&db, &limits, PAYER, pid).await.unwrap();
            intercept(&db, &limits, htlc(10 + pid, PAYER, pid, 5_000)).await;
        }
        damage(&db, sql).await;
        let payments = driver_of(&db, limits, Arc::default());
        for pid_hash in [None, Some(PidHash([2; 32]))] {
            let sign = |text: &[u8]| Ok(message_signing::sign(text, &secret(PAYER)));
            let status = PaymentStatus::sign(public(PAYER), pid_hash, &public(99), sign).unwrap();
            let reply = payments.status(&status).await;
            let Some(Message::PaymentStatusReply(reply)) = reply else { panic!("{sql}: {reply:?}") };
            let told: Vec<_> = reply.holds.iter().map(|hold| hold.pid_hash).collect();
            assert_eq!(told, [PidHash([2; 32])], "{sql}");
        }
    }
}

#[tokio::test]
async fn a_look_at_all_rows_goes_past_a_hold_id_that_is_no_number_of_a_row() {
    let db = TestDatabase::on(Scratch::sqlite()).await;
    let limits = PaymentLimits { hold_part_min: Msat(1_000), ..PaymentLimits::default() };
    for pid in [1, 2, 3] {
        grant(&db, &limits, PAYER, pid).await.unwrap();
        intercept(&db, &limits, htlc(10 + pid, PAYER, pid, 5_000)).await;
    }
    damage(&db, "UPDATE hold_hash SET hold_id = 1.5 WHERE hold_id = 1").await;
    damage(&db, "UPDATE hold_part SET hold_id = 2.5 WHERE hold_id = 2").await;
    let mut found = Vec::new();
    let mut place = Some(Place::default());
    while let Some(from) = place {
        let looked = db.database.read("look", |tx| Box::pin(async move { look(tx, &from).await }));
        let (rows, next) = looked.await.unwrap();
        found.extend(rows.into_iter().map(|row| (row.table, row.id)));
        place = next;
    }
    let part = "0c".repeat(32);
    let named = [("hold", "1"), ("hold_part", part.as_str()), ("hold_hash", "unreadable hold_id/0")];
    assert_eq!(found, named.map(|(table, id)| (table, id.to_owned())));
    let live = in_writer(&db, |tx| Box::pin(holds::live(tx))).await;
    assert_eq!(live.rows.iter().map(|row| row.hold_id).collect::<Vec<_>>(), [2, 3]);
}
