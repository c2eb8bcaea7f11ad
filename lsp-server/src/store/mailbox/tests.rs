use protocol::wake::WakeReason;
use storage::testing::Scratch;

use super::*;
use crate::store::wakes::{self, NewWake};
use crate::testing::{START, TestDatabase, public};

storage::on_both!(
    messages_wait_in_order_of_arrival_each_once,
    a_repeat_keeps_a_message_longer,
    each_bound_refuses_and_takes_nothing_away,
    bytes_are_bounded_too,
    room_comes_back,
    a_doubtful_delivery_is_repeated_a_few_times,
    recipients_come_in_pages,
);

const LIMITS: MailboxLimits = MailboxLimits {
    message_bytes_max: 100,
    recipient_max: Usage { messages: 4, bytes: 300 },
    sender_max: Usage { messages: 3, bytes: 250 },
    total_max: Usage { messages: 6, bytes: 1_000 },
    client_total_percent: 100,
    peer_lsp_total_percent: 100,
    strangers_total_percent: 100,
    peer_lsp_reserve_percent: 25,
};

fn message(recipient: u8, previous_hop: Option<u8>, text: &str) -> NewMessage {
    NewMessage {
        recipient: public(recipient),
        previous_hop: previous_hop.map(public),
        sender: Sender::PeerLsp,
        message: text.as_bytes().to_vec(),
        received_at: START,
        expires_at: START + 1_000,
    }
}

async fn put(db: &TestDatabase, new: NewMessage) -> Kept {
    db.database
        .submit("test", move |tx| Box::pin(async move { keep(tx, &new, &LIMITS).await }))
        .await
        .unwrap()
}

async fn waiting_for(db: &TestDatabase, recipient: u8) -> Vec<(i64, String)> {
    let rows =
        db.database.read("test", move |tx| Box::pin(waiting(tx, public(recipient), 0, 100))).await.unwrap();
    rows.messages.into_iter().map(|row| (row.id, String::from_utf8(row.message).unwrap())).collect()
}

async fn total(db: &TestDatabase) -> (i64, i64) {
    let messages = db.number("SELECT messages AS n FROM mailbox_total").await;
    (messages, db.number("SELECT bytes AS n FROM mailbox_total").await)
}

async fn messages_wait_in_order_of_arrival_each_once(scratch: Scratch) {
    let db = TestDatabase::on(scratch).await;
    for text in ["one", "two", "one", "three"] {
        put(&db, message(1, Some(9), text)).await;
    }
    assert_eq!(put(&db, message(1, Some(8), "two")).await, Kept::Again);
    assert_eq!(put(&db, message(2, Some(8), "two")).await, Kept::New, "for somebody else");
    let waiting = waiting_for(&db, 1).await;
    let texts: Vec<_> = waiting.iter().map(|(_, text)| text.as_str()).collect();
    assert_eq!(texts, ["one", "two", "three"]);
    assert_eq!(total(&db).await, (4, 14));

    let rows = db.database.read("test", |tx| Box::pin(list(tx, 10))).await.unwrap();
    assert_eq!(rows.len(), 4);
    assert_eq!((rows[0].previous_hop, rows[0].bytes), (Some(public(9)), 3));
}

async fn a_repeat_keeps_a_message_longer(scratch: Scratch) {
    let db = TestDatabase::on(scratch).await;
    put(&db, message(1, None, "one")).await;
    put(&db, NewMessage { expires_at: START + 5_000, ..message(1, None, "one") }).await;
    let expiry = db.database.read("test", |tx| Box::pin(last_expiry(tx, public(1)))).await.unwrap();
    assert_eq!(expiry, Some(START + 5_000));
    let nobody = db.database.read("test", |tx| Box::pin(last_expiry(tx, public(2)))).await.unwrap();
    assert_eq!(nobody, None);
}

async fn each_bound_refuses_and_takes_nothing_away(scratch: Scratch) {
    let db = TestDatabase::on(scratch).await;
    let refused = |reason| Kept::Refused(reason);
    let long = "x".repeat(101);
    assert_eq!(put(&db, message(1, Some(9), &long)).await, refused(RefuseReason::MessageTooLong));
    for text in ["a", "b", "c"] {
        assert_eq!(put(&db, message(1, Some(9), text)).await, Kept::New);
    }
    assert_eq!(put(&db, message(1, Some(9), "d")).await, refused(RefuseReason::SenderShare));
    let client = NewMessage { sender: Sender::Client, ..message(1, Some(8), "d") };
    assert_eq!(put(&db, client).await, refused(RefuseReason::RecipientFull), "the rest is for peer LSPs");
    assert_eq!(put(&db, message(1, None, "d")).await, Kept::New);
    assert_eq!(put(&db, message(1, Some(7), "e")).await, refused(RefuseReason::RecipientFull));
    assert_eq!(put(&db, message(1, Some(9), "a")).await, Kept::Again, "a repeat takes no room");
    for text in ["a", "b"] {
        assert_eq!(put(&db, message(2, Some(9), text)).await, Kept::New);
    }
    assert_eq!(put(&db, message(3, Some(9), "a")).await, refused(RefuseReason::MailboxFull));
    assert_eq!(waiting_for(&db, 1).await.len(), 4);
    assert_eq!(total(&db).await, (6, 6));
}

async fn bytes_are_bounded_too(scratch: Scratch) {
    let db = TestDatabase::on(scratch).await;
    let text = |c: &str| c.repeat(90);
    for c in ["a", "b"] {
        assert_eq!(put(&db, message(1, Some(9), &text(c))).await, Kept::New);
    }
    assert_eq!(put(&db, message(1, Some(9), &text("c"))).await, Kept::Refused(RefuseReason::SenderShare));
    assert_eq!(put(&db, message(1, None, &text("c"))).await, Kept::New);
    assert_eq!(put(&db, message(1, Some(8), &text("d"))).await, Kept::Refused(RefuseReason::RecipientFull));
}

async fn room_comes_back(scratch: Scratch) {
    let db = TestDatabase::on(scratch).await;
    for text in ["a", "bb", "ccc"] {
        put(&db, message(1, Some(9), text)).await;
    }
    put(&db, NewMessage { expires_at: START + 5_000, ..message(2, None, "dddd") }).await;
    let ids: Vec<_> = waiting_for(&db, 1).await.into_iter().map(|(id, _)| id).collect();
    let first = ids[..1].to_vec();
    for _ in 0..2 {
        let first = first.clone();
        db.database
            .submit("test", move |tx| Box::pin(async move { delivered(tx, &first).await }))
            .await
            .unwrap();
    }
    assert_eq!(total(&db).await, (3, 9), "twice is once");

    let dropped = |now| db.database.submit("test", move |tx| Box::pin(tidy(tx, now)));
    assert_eq!(dropped(START + 999).await.unwrap(), 0);
    assert_eq!(dropped(START + 1_000).await.unwrap(), 2);
    assert_eq!(total(&db).await, (1, 4));
    let put_again = put(&db, message(3, None, "e")).await;
    assert_eq!(put_again, Kept::New);
    assert!(waiting_for(&db, 3).await[0].0 > ids[2], "no id is given twice");
}

async fn a_doubtful_delivery_is_repeated_a_few_times(scratch: Scratch) {
    let db = TestDatabase::on(scratch).await;
    put(&db, message(1, None, "one")).await;
    let ids: Vec<_> = waiting_for(&db, 1).await.into_iter().map(|(id, _)| id).collect();
    for tries_left in [2, 1, 0] {
        let ids = ids.clone();
        db.database
            .submit("test", move |tx| Box::pin(async move { in_doubt(tx, &ids).await }))
            .await
            .unwrap();
        assert_eq!(waiting_for(&db, 1).await.is_empty(), tries_left == 0);
    }
    assert_eq!(total(&db).await, (0, 0));
}

async fn recipients_come_in_pages(scratch: Scratch) {
    let db = TestDatabase::on(scratch).await;
    for recipient in 1..=5 {
        put(&db, message(recipient, None, "one")).await;
    }
    put(&db, message(1, None, "two")).await;
    // One whose wake is over, one who is woken for something else, and one who is woken.
    for (node, group, expires_at_unix) in
        [(1, [0; 32], START), (3, [1; 32], START + 9), (2, [0; 32], START + 9)]
    {
        let wake = NewWake {
            node_id: public(node),
            reason: WakeReason::OnionMessage,
            group,
            expires_at_unix,
            now_unix: START - 1,
        };
        let opened =
            db.database.submit("test", move |tx| Box::pin(async move { wakes::open(tx, &wake).await }));
        opened.await.unwrap();
    }
    let (mut seen, mut after) = (Vec::new(), Vec::new());
    loop {
        let page =
            db.database.read("test", |tx| Box::pin(recipients(tx, after, 2, [0; 32], START))).await.unwrap();
        seen.extend(page.found);
        let Some(next) = page.next else { break };
        after = next;
    }
    let mut all: Vec<_> = (1..=5).map(public).collect();
    all.sort_by_key(PublicKey::serialize);
    assert_eq!(seen.iter().map(|recipient| recipient.node_id).collect::<Vec<_>>(), all);
    let woken = seen.iter().filter(|recipient| recipient.is_woken).map(|recipient| recipient.node_id);
    assert_eq!(woken.collect::<Vec<_>>(), [public(2)]);
}
