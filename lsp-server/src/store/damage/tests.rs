mod wrong;

use bitcoin::secp256k1::PublicKey;
use lightning::ln::channelmanager::InterceptId;
use lightning::ln::types::ChannelId;
use lightning_types::payment::PaymentHash;
use notifier::{GatewayKind, PushTarget};
use protocol::hold::{HoldEvent, HoldTerms, Part, PartState, step};
use protocol::ids::PidHash;
use protocol::mailbox::{MailboxLimits, Sender, Usage};
use protocol::units::{BlockHeight, Msat};
use protocol::wake::WakeReason;
use storage::testing::Scratch;

use wrong::{DAMAGE, LOOSE, dialect};

use super::*;
use crate::store::ages;
use crate::store::devices::{self, DeviceLimits};
use crate::store::mailbox::{Kept, NewMessage};
use crate::store::notifications::{self, NewNotification, NotificationLimits};
use crate::store::parts;
use crate::store::wakes::{Claim, Claiming, NewWake, WakeLimits};
use crate::testing::{START, TestDatabase, new_device, public, token_keys};
use crate::tokens::TokenKeyId;

storage::on_both!(
    what_is_whole_is_not_called_damaged,
    one_damaged_value_is_found_named_and_harms_nobody_else,
    a_page_of_damaged_messages_is_not_the_end_of_the_mailbox,
    a_lost_total_of_the_mailbox_is_counted_anew,
    a_packet_whose_time_is_lost_is_told_and_left_as_it_is,
    a_device_whose_name_is_lost_registers_again,
    a_counter_at_its_end_stops_nothing,
);

const LIMITS: MailboxLimits = MailboxLimits {
    message_bytes_max: 100,
    recipient_max: Usage { messages: 4, bytes: 300 },
    sender_max: Usage { messages: 3, bytes: 250 },
    total_max: Usage { messages: 10, bytes: 1_000 },
    client_total_percent: 100,
    peer_lsp_total_percent: 100,
    strangers_total_percent: 100,
    peer_lsp_reserve_percent: 25,
};

const NOTIFICATION_LIMITS: NotificationLimits =
    NotificationLimits { per_token_per_hour_max: 10, open_max: 10 };

/// Everything twice: for node 1, whose rows are damaged, and for node 2.
async fn two_of_each(scratch: Scratch) -> TestDatabase {
    let db = TestDatabase::on(scratch).await;
    for byte in [1, 2] {
        let mut device = new_device(byte, ["one", "two"][usize::from(byte) - 1]);
        device.device_id.0 = [byte; 16];
        db.try_register(device, DeviceLimits::default()).await.unwrap();
        db.database
            .submit("test", move |tx| {
                Box::pin(async move {
                    let hold_id = hold(tx, byte).await?;
                    pending::keep(tx, hold_id, public(9), b"packet", START, START).await?;
                    assert_eq!(mailbox::keep(tx, &message(byte), &LIMITS).await?, Kept::New);
                    let kept = notifications::keep(tx, &notification(byte), &NOTIFICATION_LIMITS).await?;
                    assert_eq!(kept, notifications::Kept::New);
                    wakes::open(tx, &wake(byte)).await?;
                    claim_of_node(tx, public(byte), START).await?;
                    wakes::postpone(tx, i64::from(byte), START + 1, None).await?;
                    Ok::<_, StoreError>(())
                })
            })
            .await
            .unwrap();
    }
    db
}

fn message(byte: u8) -> NewMessage {
    NewMessage {
        recipient: public(byte),
        previous_hop: Some(public(9)),
        sender: Sender::PeerLsp,
        message: vec![byte; 20],
        received_at: START,
        expires_at: START + 1_000,
    }
}

fn notification(byte: u8) -> NewNotification {
    let (notification_id, target) = ([byte; 16], PushTarget::new(GatewayKind::Fcm, "t".repeat(64)));
    NewNotification {
        notification_id,
        template: "payment_received".to_owned(),
        kind: GatewayKind::Fcm,
        sealed: token_keys().seal_content(notification_id, &target, &byte.to_string()),
        now_unix: START,
        expires_at: START + 1_000,
    }
}

fn wake(byte: u8) -> NewWake {
    NewWake {
        node_id: public(byte),
        reason: WakeReason::PaymentSettled,
        group: [byte; 32],
        expires_at_unix: START + 1_000,
        now_unix: START,
    }
}

async fn hold(tx: &mut storage::Tx, byte: u8) -> Result<i64, StoreError> {
    let terms = HoldTerms {
        payer: public(byte),
        pid_hash: PidHash([byte; 32]),
        payment_hashes: vec![PaymentHash([byte; 32])],
        deadline: BlockHeight(200),
    };
    holds::insert(tx, &terms, BlockHeight(200), START).await?;
    let before = holds::find(tx, terms.payer, terms.pid_hash).await?.unwrap();
    let part = Part {
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
    };
    let after = step(before.hold.clone(), HoldEvent::PartIntercepted(part), BlockHeight(100)).unwrap().hold;
    holds::save(tx, &before, &after, START).await?;
    Ok(before.hold_id)
}

async fn look_at_all(db: &TestDatabase) -> Vec<DamagedRow> {
    let mut found = Vec::new();
    let mut place = Some(Place::default());
    while let Some(from) = place {
        let (rows, next) =
            db.database.read("look", |tx| Box::pin(async move { look(tx, &from).await })).await.unwrap();
        found.extend(rows);
        place = next;
    }
    found
}

/// Everything that runs in a server over many rows at once, and everything that is done for node 2.
async fn others_are_served(db: &TestDatabase, damage: &str) {
    let served = db.database.submit("test", move |tx| {
        Box::pin(async move {
            let live = holds::live(tx).await?;
            assert!(live.rows.iter().any(|row| row.hold_id == 2));
            let moving = holds::moving(tx, BlockHeight(300)).await?;
            assert!(moving.rows.iter().any(|row| row.hold_id == 2));
            assert!(holds::newest(tx, 10).await?.iter().any(|row| row.hold_id == 2));
            let usage = holds::usage(tx, public(2)).await?;
            assert_eq!((usage.holds, usage.held_htlcs, usage.held_msat), (1, 1, 10_000));
            holds::usage(tx, public(1)).await?;
            assert!(parts::held_in_all(tx).await?.msat <= 21_000);
            assert!(parts::ids_updated_since(tx, 0).await?.contains(&InterceptId([2; 32])));
            assert!(!ages::unfinished(tx).await?.is_empty());
            ages::nearest_deadline(tx, BlockHeight(1)).await?;

            let due = pending::due(tx, START + 10, 10).await?;
            assert!(due.messages.iter().any(|message| message.hold_id == 2));
            for hold_id in due.damaged {
                pending::put_off(tx, hold_id, START + 600).await?;
            }

            let recipients = mailbox::recipients(tx, Vec::new(), 10, [0; 32], START).await?;
            assert!(recipients.found.iter().any(|recipient| recipient.node_id == public(2)));
            mailbox::waiting(tx, public(1), 0, 10).await?;
            let waiting = mailbox::waiting(tx, public(2), 0, 10).await?;
            assert_eq!(waiting.messages.len(), 1);
            assert!(mailbox::list(tx, 10).await?.iter().any(|message| message.arrival == 2));
            mailbox::last_expiry(tx, public(1)).await?;
            let more = NewMessage { message: vec![3; 30], ..message(1) };
            assert_eq!(mailbox::keep(tx, &more, &LIMITS).await?, Kept::New);
            mailbox::delivered(tx, &[1, 2]).await?;
            mailbox::tidy(tx, START + 2_000).await?;

            assert_eq!(devices::of_node(tx, public(2)).await?.len(), 1);
            devices::of_node(tx, public(1)).await?;
            assert!(devices::list(tx, 10).await?.iter().any(|device| device.node_id == public(2)));

            assert!(wakes::list_open(tx, 10).await?.iter().any(|wake| wake.node_id == public(2)));
            let of_holds = wakes::open_of_live_holds(tx).await?;
            assert!(of_holds.contains(&(public(2), [2; 32], WakeReason::PaymentSettled)));
            wakes::open_without_hold(tx).await?;
            claim_of_node(tx, public(2), START + 10).await?;
            for which in [1, 2].map(|byte| wakes::ledger::Which::Node(public(byte))) {
                wakes::ledger::find(tx, which, 10).await?;
            }
            assert!(
                notifications::newest(tx, 10).await?.iter().any(|row| row.notification_id == "02".repeat(16))
            );
            notifications::next_due(tx).await?;
            notifications::unsealed(tx, TokenKeyId([0; 8]), None, 10).await?;
            let claimed = notifications::claim(tx, START + 10, 10, &[]).await?;
            assert!(claimed.iter().any(|row| row.id == 2));
            notifications::take_over(tx, START + 10).await?;
            notifications::tidy(tx, START + 10).await?;

            claim_of_node(tx, public(2), START + 100).await?;
            wakes::acknowledge(tx, public(1), START + 20).await?;
            wakes::acknowledge(tx, public(2), START + 20).await?;
            wakes::tidy(tx, START + 10, 1_000).await?;
            Ok::<_, StoreError>(())
        })
    });
    served.await.unwrap_or_else(|error| panic!("{damage}: {error} ({error:?})"));
}

async fn claim_of_node(tx: &mut storage::Tx, node: PublicKey, now_unix: u64) -> Result<(), StoreError> {
    let claiming = Claiming {
        now_unix,
        limits: &WakeLimits::default(),
        full: &[],
        seed: [9; 32],
        is_connected: &|_| false,
    };
    let claims = wakes::claim_due(tx, None, 10, &claiming).await?;
    let is_its_push = |claim: &Claim| matches!(claim, Claim::Push(wake) if wake.node_id == node);
    assert!(claims.iter().any(is_its_push), "{claims:?}");
    Ok(())
}

async fn damaged_by(scratch: Scratch, sql: &'static str) -> TestDatabase {
    let sql = dialect(&scratch, sql);
    let db = two_of_each(scratch).await;
    let changed = db.database.submit("damage", move |tx| {
        Box::pin(async move { Ok::<_, StoreError>(tx.execute(sql, &[]).await?) })
    });
    assert_eq!(changed.await.unwrap(), 1, "{sql}");
    db
}

async fn what_is_whole_is_not_called_damaged(scratch: Scratch) {
    let db = two_of_each(scratch).await;
    assert_eq!(look_at_all(&db).await, []);
    others_are_served(&db, "nothing").await;
}

async fn one_damaged_value_is_found_named_and_harms_nobody_else(kind: Scratch) {
    let loose: &[(&str, &str, &str)] = if kind.is_postgres() { &[] } else { LOOSE };
    for (table, sql, id) in DAMAGE.iter().chain(loose) {
        let db = damaged_by(kind.another(), sql).await;
        let found = look_at_all(&db).await;
        let named: Vec<_> = found.iter().map(|row| (row.table, row.id.as_str())).collect();
        assert_eq!(named, [(*table, *id)], "{sql}: {found:?}");
        assert!(!found[0].why.contains("moonlight"), "{sql}: {}", found[0].why);
        others_are_served(&db, sql).await;
        db.database.close().await;
    }
}

#[tokio::test]
async fn hashes_and_parts_of_no_hold_are_found() {
    // SQLite itself would refuse it, if it were asked to look.
    let folder = tempfile::tempdir().unwrap();
    let url = storage::DatabaseUrl::Sqlite(folder.path().join("lsp.db"));
    let other = storage::Database::open(&url, &[crate::store::MIGRATIONS]).await.unwrap();
    let strays = other.submit("strays", |tx| {
        Box::pin(async move {
            tx.execute("PRAGMA defer_foreign_keys = ON", &[]).await?;
            tx.execute("INSERT INTO hold_hash (hold_id, position, payment_hash) VALUES (7, 2, x'00')", &[])
                .await?;
            let found = strays(tx).await?;
            assert_eq!(
                found.iter().map(|row| (row.table, row.id.as_str())).collect::<Vec<_>>(),
                [("hold_hash", "7/2")]
            );
            Err::<(), _>(StorageError::Aborted)
        })
    });
    assert!(strays.await.is_err());
    other.close().await;
}

async fn a_page_of_damaged_messages_is_not_the_end_of_the_mailbox(scratch: Scratch) {
    let damage =
        dialect(&scratch, "UPDATE mailbox_message SET message = x'ff' WHERE id % 1099511627776 <= 2");
    let db = TestDatabase::on(scratch).await;
    let outcome = db.database.submit("test", move |tx| {
        Box::pin(async move {
            for byte in 1..=3 {
                mailbox::keep(tx, &NewMessage { message: vec![byte; 10], ..message(1) }, &LIMITS).await?;
            }
            let id = |arrival| mailbox::id(public(1), arrival);
            tx.execute(damage, &[]).await?;
            let found = mailbox::waiting(tx, public(1), 0, 2).await?;
            assert_eq!(found.messages, []);
            assert_eq!(found.damaged, [1, 2].map(id), "and not the end");
            mailbox::set_aside(tx, &found.damaged).await?;
            let found = mailbox::waiting(tx, public(1), 0, 2).await?;
            assert_eq!(found.messages.iter().map(|message| message.id).collect::<Vec<_>>(), [id(3)]);
            assert_eq!(mailbox::last_expiry(tx, public(1)).await?, Some(START + 1_000));
            mailbox::delivered(tx, &[id(3)]).await?;
            assert_eq!(
                mailbox::last_expiry(tx, public(1)).await?,
                None,
                "nobody is woken for what is damaged"
            );
            assert_eq!(mailbox::tidy(tx, START + 2_000).await?, 2, "it goes when its time is over");
            Ok::<_, StoreError>(())
        })
    });
    outcome.await.unwrap();
    assert_eq!(db.number("SELECT messages + bytes AS n FROM mailbox_total").await, 0);
}

async fn a_lost_total_of_the_mailbox_is_counted_anew(scratch: Scratch) {
    let db = two_of_each(scratch).await;
    let kept = db.database.submit("test", |tx| {
        Box::pin(async move {
            tx.execute("DELETE FROM mailbox_total", &[]).await?;
            let more = NewMessage { message: vec![3; 30], ..message(1) };
            mailbox::keep(tx, &more, &LIMITS).await
        })
    });
    assert_eq!(kept.await.unwrap(), Kept::New);
    assert_eq!(db.number("SELECT messages AS n FROM mailbox_total").await, 3);
    assert_eq!(db.number("SELECT bytes AS n FROM mailbox_total").await, 70);
}

async fn a_packet_whose_time_is_lost_is_told_and_left_as_it_is(scratch: Scratch) {
    let db = damaged_by(scratch, "UPDATE pending_message SET due_at = -1 WHERE hold_id = 1").await;
    let due = db.database.read("due", |tx| Box::pin(pending::due(tx, START + 10, 10))).await.unwrap();
    assert_eq!(due.messages.iter().map(|message| message.hold_id).collect::<Vec<_>>(), [2]);
    assert!(due.damaged.is_empty(), "nobody puts it off, which would mend it");
    let found = look_at_all(&db).await;
    assert_eq!(found.len(), 1, "{found:?}");
}

async fn a_device_whose_name_is_lost_registers_again(scratch: Scratch) {
    let damage = "UPDATE device SET device_id = x'01' WHERE node_id = (SELECT recipient FROM mailbox_message WHERE id % 1099511627776 = 1)";
    let db = damaged_by(scratch, damage).await;
    let again = db.register(1, "one").await;
    assert!(again.is_new);
    assert_eq!(look_at_all(&db).await, []);
    assert_eq!(db.number("SELECT COUNT(*) AS n FROM device").await, 2);
}

/// As a damaged file may have them: what comes next must not fail on them, nor take others along.
async fn a_counter_at_its_end_stops_nothing(scratch: Scratch) {
    let db = two_of_each(scratch).await;
    let counted = db.database.submit("test", move |tx| {
        Box::pin(async move {
            for sql in [
                "UPDATE device SET registrations = 9223372036854775807",
                "UPDATE mailbox_message SET deliveries = 9223372036854775807 WHERE id % 1099511627776 = 1",
                "UPDATE pending_message SET attempts = 9223372036854775807 WHERE hold_id = 1",
            ] {
                assert!(tx.execute(sql, &[]).await? > 0, "{sql}");
            }
            wakes::open(tx, &wake(1)).await?;
            mailbox::in_doubt(tx, &[mailbox::id(public(1), 1), mailbox::id(public(2), 2)]).await?;
            pending::sent(tx, 1, START + 5).await?;
            Ok::<_, StoreError>(())
        })
    });
    counted.await.unwrap();
    assert!(!db.register(1, "one").await.is_new);
    assert_eq!(db.number("SELECT registrations AS n FROM device WHERE registrations < 5").await, 0);
    assert_eq!(
        db.number("SELECT COUNT(*) AS n FROM mailbox_message").await,
        1,
        "the damaged one is given up"
    );
}
