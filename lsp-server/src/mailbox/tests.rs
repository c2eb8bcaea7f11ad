use std::sync::atomic::Ordering;
use std::time::Duration;

use notifier::PushGateway;

use super::*;
use crate::testing::{FakeNode, START, TestClock, TestDatabase, public, token_keys};

const PHONE: u8 = 1;
const OTHER_PHONE: u8 = 2;
const STRANGER: u8 = 3;
const LSP: u8 = 4;

const PATIENCE: Duration = Duration::from_secs(30);

struct Stage {
    db: TestDatabase,
    node: Arc<FakeNode>,
    clock: Arc<TestClock>,
    mailbox: Arc<Mailbox>,
}

impl Stage {
    /// Two phones with channels, and an LSP that announced its address.
    async fn new() -> Self {
        Self::with_limits(MailboxLimits::default()).await
    }

    async fn with_limits(limits: MailboxLimits) -> Self {
        let (db, node, clock) = (TestDatabase::new().await, FakeNode::new(), TestClock::new());
        node.add_client(PHONE);
        node.add_client(OTHER_PHONE);
        node.announce(LSP);
        let gateways: Vec<Arc<dyn PushGateway>> = Vec::new();
        let waker = Waker::new(db.database.clone(), node.clone(), gateways, token_keys(), clock.clone());
        let mailbox =
            Mailbox::new(db.database.clone(), node.clone(), waker, limits, clock.clone(), Tasks::default());
        Self { db, node, clock, mailbox }
    }

    fn intercept(&self, from: u8, to: u8, text: &str) {
        self.mailbox.on_intercepted(Some(public(from)), public(to), text.as_bytes().to_vec()).unwrap();
    }

    async fn kept(&self) -> i64 {
        self.db.number("SELECT COUNT(*) AS n FROM mailbox_message").await
    }

    async fn open_wakes(&self) -> i64 {
        self.db
            .number("SELECT COUNT(*) AS n FROM wake WHERE state = 'open' AND reason = 'onion_message'")
            .await
    }

    async fn serve(&self, peer: u8) {
        self.mailbox.serve(public(peer)).await.unwrap();
    }

    async fn until(&self, condition: impl AsyncFn() -> bool) {
        let wait = async {
            while !condition().await {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(PATIENCE, wait).await.unwrap();
    }
}

#[tokio::test]
async fn a_message_for_a_sleeping_phone_is_kept_with_its_wake_and_delivered_in_order() {
    let stage = Stage::new().await;
    for text in ["one", "two", "three"] {
        stage.intercept(LSP, PHONE, text);
    }
    stage.db.run("UPDATE wake SET under_way = 1").await;
    stage.intercept(LSP, PHONE, "two");
    assert_eq!((stage.kept().await, stage.open_wakes().await), (3, 1));
    assert_eq!(stage.db.number("SELECT under_way AS n FROM wake").await, 1, "a repeat hurries nothing");
    let listed = stage.mailbox.list(10).await.unwrap();
    assert_eq!((listed[0].recipient, listed[0].received_at), (public(PHONE), START));

    stage.serve(PHONE).await;
    assert_eq!(stage.kept().await, 3, "it is not here");
    stage.node.connect(PHONE);
    stage.serve(PHONE).await;
    assert_eq!(stage.node.messages_of(PHONE), [b"one".to_vec(), b"two".to_vec(), b"three".to_vec()]);
    assert_eq!((stage.kept().await, stage.open_wakes().await), (0, 0));
}

#[tokio::test]
async fn a_long_queue_is_delivered_whole() {
    let limits = MailboxLimits::default();
    let stage = Stage::with_limits(MailboxLimits { sender_max: limits.recipient_max, ..limits }).await;
    let texts: Vec<_> = (0..120).map(|n| format!("message {n}")).collect();
    for text in &texts {
        stage.mailbox.on_intercepted(None, public(PHONE), text.as_bytes().to_vec()).unwrap();
    }
    stage.node.connect(PHONE);
    stage.serve(PHONE).await;
    let delivered = stage.node.messages_of(PHONE);
    assert!(delivered.iter().map(Vec::as_slice).eq(texts.iter().map(String::as_bytes)));
    assert_eq!(stage.kept().await, 0);
}

#[tokio::test]
async fn a_recipient_that_leaves_in_the_middle_gets_it_again() {
    let stage = Stage::new().await;
    stage.intercept(LSP, PHONE, "one");
    stage.intercept(LSP, PHONE, "two");
    stage.node.leaves_after.store(1, Ordering::Relaxed);
    stage.node.connect(PHONE);
    stage.serve(PHONE).await;
    assert_eq!(stage.kept().await, 2, "nobody knows whether it has the first");
    stage.node.leaves_after.store(u64::MAX, Ordering::Relaxed);
    stage.node.connect(PHONE);
    stage.serve(PHONE).await;
    assert_eq!(stage.node.messages_of(PHONE), [b"one".to_vec(), b"one".to_vec(), b"two".to_vec()]);
    assert_eq!(stage.kept().await, 0);
}

#[tokio::test]
async fn a_connection_that_was_replaced_proves_nothing() {
    let stage = Stage::new().await;
    stage.intercept(LSP, PHONE, "one");
    stage.node.connect(PHONE);
    stage.mailbox.round.ask(public(PHONE));
    stage.mailbox.round.take(1);
    let delivery = stage.mailbox.serve(public(PHONE));
    let reconnection = async {
        stage.until(async || !stage.node.messages_of(PHONE).is_empty()).await;
        stage.mailbox.on_peer_connected(public(PHONE));
    };
    let (delivered, ()) = tokio::join!(delivery, reconnection);
    delivered.unwrap();
    assert_eq!(stage.node.messages_of(PHONE), [b"one".to_vec(), b"one".to_vec()]);
    assert_eq!(stage.kept().await, 0);
}

#[tokio::test]
async fn a_full_buffer_is_tried_again() {
    let stage = Stage::new().await;
    stage.intercept(LSP, PHONE, "one");
    stage.node.connect(PHONE);
    stage.node.full.store(true, Ordering::Relaxed);
    let room = async {
        stage.kept().await;
        stage.node.full.store(false, Ordering::Relaxed);
    };
    tokio::join!(stage.serve(PHONE), room);
    assert_eq!(stage.node.messages_of(PHONE).len(), 1);
    assert_eq!(stage.kept().await, 0);
}

#[tokio::test]
async fn a_registered_device_makes_a_client() {
    let stage = Stage::new().await;
    stage.intercept(PHONE, STRANGER, "one");
    assert_eq!(stage.kept().await, 0);
    stage.db.register(STRANGER, "https://push.example.com/").await;
    stage.intercept(PHONE, STRANGER, "two");
    assert_eq!((stage.kept().await, stage.open_wakes().await), (1, 1));
}

#[tokio::test]
async fn a_clients_message_is_taken_to_an_announced_node() {
    let stage = Stage::new().await;
    stage.intercept(PHONE, LSP, "one");
    stage.until(async || !stage.node.messages_of(LSP).is_empty()).await;
    assert_eq!(stage.kept().await, 0);
    stage.mailbox.relay(public(1), public(LSP), b"two".to_vec());
    stage.until(async || stage.node.messages_of(LSP).len() == 2).await;

    stage.node.disconnect(LSP);
    stage.intercept(STRANGER, LSP, "three");
    stage.intercept(LSP, LSP, "four");
    stage.intercept(PHONE, STRANGER, "five");
    let all_decided = IN_QUESTION_MAX;
    stage.until(async || stage.mailbox.in_question.available_permits() == all_decided).await;
    assert_eq!(stage.node.calls.load(Ordering::Relaxed), 2, "nobody is called for a stranger");
    assert_eq!(stage.kept().await, 0);
}

#[tokio::test]
async fn a_peer_lsp_is_called_and_not_woken() {
    let stage = Stage::new().await;
    stage.node.add_client(LSP);
    stage.intercept(PHONE, LSP, "one");
    assert_eq!((stage.kept().await, stage.open_wakes().await), (1, 0));
    stage.until(async || stage.node.calls.load(Ordering::Relaxed) == 1).await;
    stage.mailbox.rescan().await.unwrap();
    assert_eq!(stage.open_wakes().await, 0);
}

#[tokio::test]
async fn strangers_in_question_are_bounded() {
    let stage = Stage::new().await;
    let places = stage.mailbox.in_question.clone().acquire_many_owned(IN_QUESTION_MAX as u32).await.unwrap();
    let to_stranger = || stage.mailbox.on_intercepted(Some(public(PHONE)), public(STRANGER), b"one".to_vec());
    assert_eq!(to_stranger(), Err(Replay));
    stage.intercept(LSP, PHONE, "a client's message needs no place");
    drop(places);
    assert_eq!(to_stranger(), Ok(()));
}

#[tokio::test]
async fn one_sender_cannot_fill_the_box() {
    let limits = MailboxLimits::default();
    let sender_max = protocol::mailbox::Usage { messages: 2, ..limits.sender_max };
    let stage = Stage::with_limits(MailboxLimits { sender_max, ..limits }).await;
    for text in ["one", "two"] {
        stage.intercept(OTHER_PHONE, PHONE, text);
    }
    stage.db.run("UPDATE wake SET under_way = 1").await;
    stage.intercept(OTHER_PHONE, PHONE, "three");
    assert_eq!(stage.kept().await, 2);
    assert_eq!(stage.db.number("SELECT under_way AS n FROM wake").await, 1, "what is refused wakes nobody");
    stage.intercept(LSP, PHONE, "three");
    assert_eq!(stage.kept().await, 3);
    assert_eq!(
        stage.db.number("SELECT under_way AS n FROM wake").await,
        2,
        "and what is kept does, once more"
    );
}

#[tokio::test]
async fn what_is_not_delivered_wakes_again() {
    let stage = Stage::new().await;
    stage.intercept(LSP, PHONE, "one");
    let now = stage.clock.now_unix();
    let acknowledged = stage
        .db
        .database
        .submit("test", move |tx| Box::pin(async move { wakes::acknowledge(tx, public(PHONE), now).await }));
    acknowledged.await.unwrap();
    assert_eq!(stage.open_wakes().await, 0);
    stage.mailbox.rescan().await.unwrap();
    stage.mailbox.rescan().await.unwrap();
    assert_eq!(stage.open_wakes().await, 1);

    stage.clock.advance(KEPT_SECONDS);
    stage.mailbox.rescan().await.unwrap();
    assert_eq!(stage.kept().await, 0, "nothing is kept for ever");
}

#[tokio::test]
async fn who_came_and_left_without_it_is_woken_by_the_next_rescan() {
    let stage = Stage::new().await;
    stage.mailbox.rescan().await.unwrap();
    // The walk is far from everybody.
    let elsewhere = async || *stage.mailbox.walk.lock().await = Walk::beyond_all();
    stage.intercept(LSP, PHONE, "one");
    stage.node.full.store(true, Ordering::Relaxed);
    stage.node.connect(PHONE);
    stage.mailbox.waker.on_peer_connected(public(PHONE));
    stage.mailbox.on_peer_connected(public(PHONE));
    assert_eq!(stage.open_wakes().await, 0, "it is here");
    elsewhere().await;
    stage.mailbox.rescan().await.unwrap();
    assert_eq!(stage.open_wakes().await, 0, "who is here is not woken");
    stage.node.disconnect(PHONE);
    elsewhere().await;
    stage.mailbox.rescan().await.unwrap();
    assert_eq!(stage.open_wakes().await, 1);

    // What ends its wake may come as late as this.
    stage.mailbox.waker.on_peer_connected(public(PHONE));
    assert_eq!(stage.open_wakes().await, 0);
    elsewhere().await;
    stage.mailbox.rescan().await.unwrap();
    assert_eq!(stage.open_wakes().await, 1);

    // Who got everything is looked at no more.
    stage.node.full.store(false, Ordering::Relaxed);
    stage.node.connect(PHONE);
    stage.mailbox.on_peer_connected(public(PHONE));
    stage.mailbox.serve_asked().await;
    assert_eq!((stage.kept().await, stage.open_wakes().await), (0, 0));
    assert_eq!(stage.mailbox.round.look_at_unsettled(|_| true), (Vec::new(), Vec::new()));
}

#[tokio::test]
async fn the_walk_comes_to_everybody() {
    let stage = Stage::new().await;
    let recipients: Vec<u8> = (10..250).collect();
    assert!(recipients.len() > courier::RESCANNED_MAX as usize, "more than one page");
    for recipient in &recipients {
        stage.node.add_client(*recipient);
        stage.intercept(LSP, *recipient, "one");
    }
    let acknowledged = |nodes: Vec<u8>| {
        stage.db.database.submit("test", move |tx| {
            Box::pin(async move {
                for node in nodes {
                    wakes::acknowledge(tx, public(node), START).await?;
                }
                Ok::<_, StorageError>(())
            })
        })
    };
    acknowledged(recipients.clone()).await.unwrap();
    assert_eq!(stage.open_wakes().await, 0);
    stage.mailbox.rescan().await.unwrap();
    assert_eq!(stage.open_wakes().await, 240, "all the way at the first time");

    acknowledged(recipients).await.unwrap();
    stage.mailbox.walk.lock().await.walked_max = 1;
    stage.mailbox.rescan().await.unwrap();
    let page = i64::from(courier::RESCANNED_MAX);
    assert_eq!(stage.open_wakes().await, page, "a part of it then");
    stage.mailbox.rescan().await.unwrap();
    assert_eq!(stage.open_wakes().await, 240, "and on from there");
}

#[tokio::test]
async fn the_task_delivers_to_who_comes_and_to_who_is_here() {
    let stage = Stage::new().await;
    stage.intercept(LSP, PHONE, "before the start");
    stage.node.connect(PHONE);
    let task = tokio::spawn(stage.mailbox.clone().run());
    stage.until(async || stage.kept().await == 0).await;

    stage.intercept(LSP, OTHER_PHONE, "one");
    assert_eq!(stage.kept().await, 1);
    stage.node.connect(OTHER_PHONE);
    stage.mailbox.on_peer_connected(public(OTHER_PHONE));
    stage.until(async || stage.kept().await == 0).await;

    // It came while the message was on its way: nobody says so again.
    stage.intercept(LSP, OTHER_PHONE, "two");
    stage.until(async || stage.kept().await == 0).await;
    assert_eq!(stage.node.messages_of(OTHER_PHONE), [b"one".to_vec(), b"two".to_vec()]);
    task.abort();
}
