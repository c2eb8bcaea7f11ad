use protocol::mailbox::{MailboxLimits, RefuseReason};
use storage::testing::Scratch;

use super::*;
use crate::store::mailbox::{Kept, delivered, in_doubt, keep, tidy, waiting};
use crate::testing::{START, TestDatabase, public};

storage::on_both!(
    each_senders_part_of_the_whole_is_kept_at_below_and_above_it,
    bytes_are_bounded_too,
    room_comes_back,
    a_sum_that_cannot_be_true_is_counted_anew,
    a_lost_sum_stops_nothing,
    a_damaged_length_stops_nothing,
    a_lost_number_of_the_last_message_is_found_anew,
);

const CLIENT: u8 = 201;
const OTHER_CLIENT: u8 = 202;
const LSP: u8 = 203;

/// Six messages of one client, twenty of an LSP, ten of all strangers.
const LIMITS: MailboxLimits = MailboxLimits {
    message_bytes_max: 1_500,
    recipient_max: Usage { messages: 8, bytes: 8_000 },
    sender_max: Usage { messages: 2, bytes: 1_500 },
    total_max: Usage { messages: 40, bytes: 40_000 },
    client_total_percent: 20,
    peer_lsp_total_percent: 50,
    strangers_total_percent: 25,
    peer_lsp_reserve_percent: 25,
};

const REFUSED: Kept = Kept::Refused(RefuseReason::SenderTotal);

fn from(sender: Sender, previous_hop: u8, recipient: u8, bytes: usize) -> NewMessage {
    NewMessage {
        recipient: public(recipient),
        previous_hop: (sender != Sender::Own).then(|| public(previous_hop)),
        sender,
        message: vec![previous_hop; bytes],
        received_at: START,
        expires_at: START + 1_000,
    }
}

fn of_client(recipient: u8) -> NewMessage {
    from(Sender::Client, CLIENT, recipient, 10)
}

/// The id of the nth message, if it came for the nth recipient.
fn nth(number: u8) -> i64 {
    place::id(public(number), number.into())
}

async fn put(db: &TestDatabase, new: NewMessage) -> Kept {
    db.database
        .submit("test", move |tx| Box::pin(async move { keep(tx, &new, &LIMITS).await }))
        .await
        .unwrap()
}

/// Every sum is of the rows that there are.
async fn sums_are_right(db: &TestDatabase) {
    let wrong = "SELECT (SELECT COUNT(*) FROM mailbox_sender WHERE messages <> (SELECT COUNT(*) FROM mailbox_message \
         WHERE mailbox_message.counts_for = mailbox_sender.counts_for) OR bytes <> (SELECT COALESCE(SUM(message_bytes), 0) \
         FROM mailbox_message WHERE mailbox_message.counts_for = mailbox_sender.counts_for)) \
         + (SELECT COUNT(*) FROM mailbox_message WHERE counts_for IS NOT NULL \
         AND counts_for NOT IN (SELECT counts_for FROM mailbox_sender)) AS n";
    assert_eq!(db.number(wrong).await, 0);
}

async fn each_senders_part_of_the_whole_is_kept_at_below_and_above_it(scratch: Scratch) {
    let db = TestDatabase::on(scratch).await;
    for recipient in 1..=6 {
        assert_eq!(put(&db, of_client(recipient)).await, Kept::New, "{recipient}");
    }
    for recipient in 7..=9 {
        assert_eq!(put(&db, of_client(recipient)).await, REFUSED, "{recipient}");
    }
    assert_eq!(put(&db, of_client(1)).await, Kept::Again, "a repeat takes no room");
    assert_eq!(
        put(&db, from(Sender::Client, OTHER_CLIENT, 7, 10)).await,
        Kept::New,
        "another's is another's"
    );
    // Every stranger has a key of its own; together they count as one.
    for stranger in 100..110 {
        assert_eq!(
            put(&db, from(Sender::Stranger, stranger, 8, 10)).await,
            match stranger {
                // The box is full before.
                106.. => Kept::Refused(RefuseReason::RecipientFull),
                _ => Kept::New,
            }
        );
    }
    for stranger in 110..114 {
        assert_eq!(put(&db, from(Sender::Stranger, stranger, 9, 10)).await, Kept::New);
    }
    assert_eq!(put(&db, from(Sender::Stranger, 114, 10, 10)).await, REFUSED);
    assert_eq!(put(&db, from(Sender::Stranger, 100, 10, 10)).await, REFUSED);
    for recipient in 20..40 {
        assert_eq!(put(&db, from(Sender::PeerLsp, LSP, recipient, 10)).await, Kept::New, "{recipient}");
    }
    assert_eq!(put(&db, from(Sender::PeerLsp, LSP, 40, 10)).await, REFUSED);
    // This server's own have no part; they stop at the whole.
    for recipient in 41..=43 {
        assert_eq!(put(&db, from(Sender::Own, 0, recipient, 10)).await, Kept::New);
    }
    assert_eq!(put(&db, from(Sender::Own, 0, 44, 10)).await, Kept::Refused(RefuseReason::MailboxFull));
    sums_are_right(&db).await;
    assert_eq!(db.number("SELECT COUNT(*) AS n FROM mailbox_sender").await, 4);
}

async fn bytes_are_bounded_too(scratch: Scratch) {
    let db = TestDatabase::on(scratch).await;
    // A client has 6,000.
    for recipient in 1..=3 {
        assert_eq!(put(&db, from(Sender::Client, CLIENT, recipient, 1_500)).await, Kept::New);
    }
    assert_eq!(put(&db, from(Sender::Client, CLIENT, 4, 1_499)).await, Kept::New);
    assert_eq!(put(&db, from(Sender::Client, CLIENT, 5, 2)).await, REFUSED);
    assert_eq!(put(&db, from(Sender::Client, CLIENT, 5, 1)).await, Kept::New, "to the last byte");
    assert_eq!(put(&db, from(Sender::Client, CLIENT, 6, 1)).await, REFUSED);
    sums_are_right(&db).await;
}

async fn room_comes_back(scratch: Scratch) {
    let db = TestDatabase::on(scratch).await;
    for recipient in 1..=6 {
        assert_eq!(put(&db, of_client(recipient)).await, Kept::New);
    }
    assert_eq!(put(&db, of_client(7)).await, REFUSED);
    // Delivered, and told twice.
    for _ in 0..2 {
        let told = db.database.submit("test", |tx| Box::pin(async move { delivered(tx, &[nth(1)]).await }));
        told.await.unwrap();
    }
    assert_eq!(put(&db, of_client(7)).await, Kept::New);
    assert_eq!(put(&db, of_client(8)).await, REFUSED, "one came back, not two");
    // Handed over in doubt, until it is given up.
    for tries in 1..=3 {
        let told = db.database.submit("test", |tx| Box::pin(async move { in_doubt(tx, &[nth(2)]).await }));
        told.await.unwrap();
        let kept = put(&db, of_client(8)).await;
        assert_eq!(kept, if tries < 3 { REFUSED } else { Kept::New });
    }
    sums_are_right(&db).await;
    // Expired.
    let dropped = |now| db.database.submit("test", move |tx| Box::pin(tidy(tx, now)));
    assert_eq!(dropped(START + 999).await.unwrap(), 0);
    assert_eq!(put(&db, of_client(9)).await, REFUSED);
    assert_eq!(dropped(START + 1_000).await.unwrap(), 6);
    assert_eq!(
        db.number("SELECT COUNT(*) AS n FROM mailbox_sender").await,
        0,
        "who has nothing waiting has no row"
    );
    assert_eq!(put(&db, of_client(9)).await, Kept::New);
}

async fn a_sum_that_cannot_be_true_is_counted_anew(scratch: Scratch) {
    let db = TestDatabase::on(scratch).await;
    for recipient in 1..=6 {
        assert_eq!(put(&db, of_client(recipient)).await, Kept::New);
    }
    for damage in [
        "UPDATE mailbox_sender SET messages = -1",
        "UPDATE mailbox_sender SET bytes = -9",
        "UPDATE mailbox_sender SET messages = 9223372036854775807, bytes = 9223372036854775807",
        "UPDATE mailbox_sender SET messages = 41",
    ] {
        assert_eq!(db.run(damage).await, 1);
        assert_eq!(put(&db, of_client(7)).await, REFUSED, "{damage}");
        sums_are_right(&db).await;
    }
    // The whole's is wrong too: both are mended, and not looked for again.
    db.run("UPDATE mailbox_total SET messages = 1, bytes = 1").await;
    assert_eq!(put(&db, of_client(7)).await, REFUSED);
    assert_eq!(db.number("SELECT messages * 1000 + bytes AS n FROM mailbox_total").await, 6_060);
}

async fn a_lost_sum_stops_nothing(scratch: Scratch) {
    let db = TestDatabase::on(scratch).await;
    for recipient in 1..=6 {
        assert_eq!(put(&db, of_client(recipient)).await, Kept::New);
    }
    assert_eq!(db.run("DELETE FROM mailbox_sender").await, 1);
    assert_eq!(put(&db, of_client(7)).await, Kept::New, "the whole is bounded all the same");
    let told =
        db.database.submit("test", |tx| Box::pin(async move { delivered(tx, &[1, 2, 3, 4].map(nth)).await }));
    told.await.unwrap();
    assert_eq!(put(&db, of_client(8)).await, Kept::New);
    let dropped = db.database.submit("test", move |tx| Box::pin(tidy(tx, START + 1_000)));
    assert_eq!(dropped.await.unwrap(), 4);
    assert_eq!(db.number("SELECT messages + bytes AS n FROM mailbox_total").await, 0);
}

async fn a_damaged_length_stops_nothing(scratch: Scratch) {
    let db = TestDatabase::on(scratch).await;
    for recipient in 1..=3 {
        assert_eq!(put(&db, of_client(recipient)).await, Kept::New);
    }
    db.run("UPDATE mailbox_message SET message_bytes = 9223372036854775807 WHERE id % 1099511627776 = 1")
        .await;
    db.run("UPDATE mailbox_message SET message_bytes = -1 WHERE id % 1099511627776 = 2").await;
    db.run("UPDATE mailbox_message SET message_bytes = 60000 WHERE id % 1099511627776 = 3").await;
    for id in 1..=3 {
        let told =
            db.database.submit("test", move |tx| Box::pin(async move { delivered(tx, &[nth(id)]).await }));
        told.await.unwrap();
        assert_eq!(put(&db, of_client(10 + id)).await, Kept::New);
    }
    assert_eq!(db.number("SELECT messages AS n FROM mailbox_sender").await, 3);
}

async fn a_lost_number_of_the_last_message_is_found_anew(scratch: Scratch) {
    let db = TestDatabase::on(scratch).await;
    let nth = |number: u8| from(Sender::PeerLsp, 100 + number, 1, number.into());
    for number in 1..=3 {
        assert_eq!(put(&db, nth(number)).await, Kept::New);
    }
    for (damage, number) in [
        "UPDATE mailbox_total SET last_arrival = 0",
        "UPDATE mailbox_total SET last_arrival = 2",
        "UPDATE mailbox_total SET last_arrival = 9223372036854775807",
        "UPDATE mailbox_total SET last_arrival = 1099511627774",
        "DELETE FROM mailbox_total",
    ]
    .into_iter()
    .zip(4..)
    {
        assert_eq!(db.run(damage).await, 1);
        assert_eq!(put(&db, nth(number)).await, Kept::New, "{damage}");
        let found = db.database.read("test", |tx| Box::pin(waiting(tx, public(1), 0, 10))).await.unwrap();
        let lengths: Vec<_> = found.messages.iter().map(|message| message.message.len() as u8).collect();
        assert_eq!(lengths, (1..=number).collect::<Vec<_>>(), "in order of arrival after {damage}");
        let last = db.number("SELECT last_arrival AS n FROM mailbox_total").await;
        assert_eq!(found.messages.last().map(|message| message.id), Some(place::id(public(1), last)));
    }
    // One whose number is as large as none holds up nobody.
    for damage in [
        "UPDATE mailbox_message SET id = id + 549755813888 WHERE message_bytes = 3",
        "DELETE FROM mailbox_message WHERE message_bytes = 1",
        "UPDATE mailbox_total SET last_arrival = -9",
    ] {
        assert_eq!(db.run(damage).await, 1);
    }
    for recipient in [1, 2] {
        assert_eq!(put(&db, from(Sender::PeerLsp, 120, recipient, 1)).await, Kept::New);
    }
    assert!(db.number("SELECT last_arrival AS n FROM mailbox_total").await < 549_755_813_888);
}
