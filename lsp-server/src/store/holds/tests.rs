use lightning::ln::channelmanager::InterceptId;
use lightning::ln::types::ChannelId;
use protocol::hold::{HoldEvent, Part, PartState, step};
use protocol::units::Msat;
use storage::Database;
use storage::testing::Scratch;

use super::*;
use crate::store;
use crate::testing::public;

storage::on_both!(a_damaged_hold_keeps_no_other_from_being_read);

/// Each makes the rows of hold 1 contradict each other, or hold what no version wrote.
const DAMAGE: [&str; 9] = [
    "UPDATE hold SET payer = x'00' WHERE id = 1",
    "UPDATE hold SET pid_hash = x'0102' WHERE id = 1",
    "UPDATE hold SET cause = 'moonlight' WHERE id = 1",
    "UPDATE hold SET deadline = -1 WHERE id = 1",
    "UPDATE hold_hash SET payment_hash = x'01' WHERE hold_id = 1",
    "UPDATE hold_part SET state = 'moonlight' WHERE hold_id = 1",
    "UPDATE hold_part SET state = 'releasing' WHERE hold_id = 1",
    "UPDATE hold_part SET next_hop_scid = x'01' WHERE hold_id = 1",
    "UPDATE hold_part SET inbound_amount_msat = -5 WHERE hold_id = 1",
];

fn part(byte: u8) -> Part {
    Part {
        intercept_id: InterceptId([byte; 32]),
        payment_hash: PaymentHash([byte; 32]),
        inbound_channel_id: ChannelId([byte; 32]),
        inbound_htlc_id: 1,
        inbound_amount: Msat(10_000),
        outbound_amount: Msat(9_000),
        inbound_expiry: Some(BlockHeight(900)),
        outgoing_expiry: BlockHeight(800),
        next_hop_scid: 7,
        state: PartState::Held,
    }
}

/// A hold with one part.
async fn hold(db: &Database, byte: u8) {
    let terms = HoldTerms {
        payer: public(1),
        pid_hash: PidHash([byte; 32]),
        payment_hashes: vec![PaymentHash([byte; 32])],
        deadline: BlockHeight(200),
    };
    db.submit("hold", move |tx| {
        Box::pin(async move {
            insert(tx, &terms, BlockHeight(200), 1).await?;
            let before = find(tx, terms.payer, terms.pid_hash).await?.unwrap();
            let event = HoldEvent::PartIntercepted(part(byte));
            let after = step(before.hold.clone(), event, BlockHeight(100)).unwrap().hold;
            save(tx, &before, &after, 2).await?;
            Ok::<_, StoreError>(())
        })
    })
    .await
    .unwrap();
}

/// The statement as each kind of database writes bytes.
fn dialect(scratch: &Scratch, damage: &'static str) -> &'static str {
    if scratch.is_postgres() { damage.replace("x'", "'\\x").leak() } else { damage }
}

async fn a_damaged_hold_keeps_no_other_from_being_read(kind: Scratch) {
    for damage in DAMAGE {
        let scratch = kind.another();
        let db = scratch.open(&[store::MIGRATIONS]).await;
        let damage = dialect(&scratch, damage);
        hold(&db, 1).await;
        hold(&db, 2).await;
        let damaged = db.submit("damage", move |tx| {
            Box::pin(async move { Ok::<_, StoreError>(tx.execute(damage, &[]).await?) })
        });
        let changed = damaged.await.unwrap();
        assert_eq!(changed, 1, "{damage}");

        let loaded = db.read("live", |tx| Box::pin(live(tx))).await.unwrap();
        let readable: Vec<i64> = loaded.rows.iter().map(|row| row.hold_id).collect();
        let unreadable: Vec<i64> = loaded.unreadable.iter().map(|hold| hold.hold_id).collect();
        assert_eq!((readable, unreadable), (vec![2], vec![1]), "{damage}");
        let newest = db.read("newest", |tx| Box::pin(newest(tx, 10))).await.unwrap();
        assert_eq!(newest.iter().map(|row| row.hold_id).collect::<Vec<_>>(), [2], "{damage}");
        let alone = db.read("load", |tx| Box::pin(load(tx, 1))).await;
        assert!(alone.is_err_and(|error| error.is_of_a_row()), "{damage}");
        db.close().await;
    }
}
