use lightning::ln::channelmanager::PaymentId;
use lightning_types::payment::{PaymentHash, PaymentPreimage};
use protocol::ids::PidHash;
use protocol::units::{BlockHeight, Msat};
use storage::testing::{Scratch, assert_migrations_listed, schema};
use storage::{BoxFuture, Database, StorageError, Tx};

use super::invoices::{self, Invoice};
use super::payments::{self, Begun, Payment, PaymentKind, PaymentState};
use super::pending::{self, PENDING_PER_INVOICE_MAX, Pending, PendingState};
use super::*;

storage::on_both!(
    a_payment_goes_through_its_states_and_ends_once,
    a_failed_payment_is_tried_again_with_another_pid,
    what_was_not_sent_is_sent_while_its_hold_waits,
    what_came_back_before_it_was_held_gives_its_hold_back,
    a_payment_that_came_back_after_its_deadline_says_so,
    a_cancellation_that_came_too_late_is_forgotten,
    a_payee_that_was_told_of_a_payment_is_told_that_it_was_cancelled_a_few_times,
    an_invoice_is_paid_once,
    what_is_kept_of_payers_is_bounded,
    a_refusal_is_for_the_first_payment_that_comes_until_it_is_said_again,
    a_payment_that_arrived_stays_so,
);

const HASH: PaymentHash = PaymentHash([7; 32]);
const HEIGHT: BlockHeight = BlockHeight(200);

struct Store {
    database: Database,
    _scratch: Scratch,
}

impl Store {
    async fn new(scratch: Scratch) -> Self {
        Self { database: scratch.open(&[MIGRATIONS]).await, _scratch: scratch }
    }

    async fn run<T: Send + 'static>(
        &self,
        body: impl for<'a> FnOnce(&'a mut Tx) -> BoxFuture<'a, Result<T, StorageError>> + Send + 'static,
    ) -> T {
        self.database.submit("test", body).await.unwrap()
    }

    async fn payment(&self) -> Payment {
        self.run(|tx| Box::pin(payments::get(tx, HASH))).await.unwrap()
    }

    async fn begin(&self) -> Begun {
        self.run(|tx| Box::pin(payments::begin(tx, payment()))).await
    }
}

fn payment() -> Payment {
    Payment {
        payment_hash: HASH,
        attempt: 0,
        kind: PaymentKind::Asynchronous,
        bolt11: "lnbcrt1".to_owned(),
        amount: Msat(5_000),
        state: PaymentState::Blocking,
        requested_deadline: Some(BlockHeight(250)),
        deadline: None,
        preimage: None,
        fee: None,
        reason: None,
        created_at: 1_000,
    }
}

fn invoice() -> Invoice {
    Invoice {
        payment_hash: HASH,
        bolt11: "lnbcrt1".to_owned(),
        amount: Msat(5_000),
        description: "tea".to_owned(),
        created_at: 1_000,
        expires_at: 2_000,
        paid: None,
    }
}

fn pending(pid: u8, state: PendingState) -> Pending {
    Pending {
        payment_hash: HASH,
        pid_hash: PidHash([pid; 32]),
        deadline: BlockHeight(250),
        state,
        reply_to: vec![1, 2, 3],
        received_at: 1_500,
        refused_payment: None,
    }
}

async fn a_payment_goes_through_its_states_and_ends_once(scratch: Scratch) {
    let store = Store::new(scratch).await;
    assert_eq!(store.begin().await, Begun::Fresh(payment()));
    assert_eq!(store.begin().await, Begun::Known(payment()), "it runs");
    assert!(store.run(|tx| Box::pin(payments::set_granted(tx, HASH, BlockHeight(240)))).await);
    let advance = |from, to| store.run(move |tx| Box::pin(payments::advance(tx, HASH, from, to)));
    assert!(advance(PaymentState::Blocked, PaymentState::Paying).await);
    assert!(!advance(PaymentState::Blocked, PaymentState::Paying).await, "only once");
    assert_eq!(store.run(|tx| Box::pin(payments::open(tx))).await.len(), 1);

    let preimage = PaymentPreimage([9; 32]);
    let settle = || store.run(move |tx| Box::pin(payments::set_settled(tx, HASH, preimage, Some(Msat(3)))));
    assert!(settle().await);
    assert!(!settle().await, "LDK may say it twice");
    assert_eq!(store.run(|tx| Box::pin(payments::set_failed_by_ldk(tx, HASH, "late", HEIGHT))).await, None);
    assert!(!store.run(|tx| Box::pin(payments::set_cancelling(tx, HASH, "late"))).await);
    let paid = store.payment().await;
    assert_eq!(
        (paid.state, paid.preimage, paid.fee, paid.deadline),
        (PaymentState::Settled, Some(preimage), Some(Msat(3)), Some(BlockHeight(240)))
    );
    assert!(matches!(store.begin().await, Begun::Known(_)), "nothing is paid twice");
    assert!(store.run(|tx| Box::pin(payments::open(tx))).await.is_empty());
    assert!(!format!("{paid:?}").contains("0909"), "a preimage is never shown");
}

async fn a_failed_payment_is_tried_again_with_another_pid(scratch: Scratch) {
    let store = Store::new(scratch).await;
    store.begin().await;
    // What is being blocked was not handed to LDK: the event is about an earlier attempt.
    assert_eq!(store.run(|tx| Box::pin(payments::set_failed_by_ldk(tx, HASH, "old", HEIGHT))).await, None);
    store.run(|tx| Box::pin(payments::set_granted(tx, HASH, BlockHeight(240)))).await;
    store.run(|tx| Box::pin(payments::note_reason(tx, HASH, "refused by the payee"))).await;
    let reason =
        store.run(|tx| Box::pin(payments::set_failed_by_ldk(tx, HASH, "RetriesExhausted", HEIGHT))).await;
    assert_eq!(reason.as_deref(), Some("refused by the payee"), "what the payee said says more");

    let Begun::Fresh(again) = store.begin().await else { panic!("it may be tried again") };
    assert_eq!((again.attempt, again.state), (1, PaymentState::Blocking));
    assert_eq!(store.payment().await, again, "nothing of the first attempt is left");
    store.run(|tx| Box::pin(payments::set_next_attempt(tx, HASH))).await;
    assert_eq!(store.payment().await.attempt, 2);
}

async fn what_was_not_sent_is_sent_while_its_hold_waits(scratch: Scratch) {
    let store = Store::new(scratch).await;
    store.begin().await;
    let waits = |height| store.run(move |tx| Box::pin(payments::waits_to_be_sent(tx, HASH, height)));
    assert!(!waits(HEIGHT).await, "it was not handed to LDK");
    store.run(|tx| Box::pin(payments::set_granted(tx, HASH, BlockHeight(240)))).await;
    let paying = payments::advance;
    assert!(
        store.run(move |tx| Box::pin(paying(tx, HASH, PaymentState::Blocked, PaymentState::Paying))).await
    );
    assert!(waits(BlockHeight(239)).await);
    assert!(!waits(BlockHeight(240)).await, "its hold is over");
    assert!(store.run(|tx| Box::pin(payments::set_cancelling(tx, HASH, "cancelled"))).await);
    assert!(!waits(HEIGHT).await);
}

async fn what_came_back_before_it_was_held_gives_its_hold_back(scratch: Scratch) {
    let store = Store::new(scratch).await;
    store.begin().await;
    store.run(|tx| Box::pin(payments::set_granted(tx, HASH, BlockHeight(240)))).await;
    let paying = payments::advance;
    store.run(move |tx| Box::pin(paying(tx, HASH, PaymentState::Blocked, PaymentState::Paying))).await;
    let fail = || store.run(|tx| Box::pin(payments::set_failed_by_ldk(tx, HASH, "RetriesExhausted", HEIGHT)));
    assert_eq!(fail().await, None, "its hold may still wait");
    let payment = store.payment().await;
    assert_eq!(
        (payment.state, payment.reason.as_deref()),
        (PaymentState::Cancelling, Some("RetriesExhausted"))
    );
    assert_eq!(fail().await.as_deref(), Some("RetriesExhausted"), "LDK may say it twice");
    assert_eq!(store.payment().await.state, PaymentState::Failed);
}

async fn a_payment_that_came_back_after_its_deadline_says_so(scratch: Scratch) {
    let store = Store::new(scratch).await;
    store.begin().await;
    store.run(|tx| Box::pin(payments::set_granted(tx, HASH, BlockHeight(240)))).await;
    let at = BlockHeight(240);
    let reason = store.run(move |tx| Box::pin(payments::set_failed_by_ldk(tx, HASH, "Ldk", at))).await;
    assert_eq!(reason.as_deref(), Some("nobody took it before its deadline"));
}

async fn a_cancellation_that_came_too_late_is_forgotten(scratch: Scratch) {
    let store = Store::new(scratch).await;
    store.begin().await;
    assert!(store.run(|tx| Box::pin(payments::set_cancelling(tx, HASH, "cancelled"))).await);
    assert!(!store.run(|tx| Box::pin(payments::set_cancelling(tx, HASH, "again"))).await);
    assert!(store.run(|tx| Box::pin(payments::set_uncancelled(tx, HASH))).await);
    let payment = store.payment().await;
    assert_eq!((payment.state, payment.reason), (PaymentState::InCare, None));
}

async fn a_payee_that_was_told_of_a_payment_is_told_that_it_was_cancelled_a_few_times(scratch: Scratch) {
    let store = Store::new(scratch).await;
    let due_at = |now_unix| store.run(move |tx| Box::pin(payments::withdrawals_due(tx, now_unix)));
    let due = || due_at(1_000);
    let cancel = || store.run(|tx| Box::pin(payments::set_cancelling(tx, HASH, "cancelled")));
    let fail = || store.run(|tx| Box::pin(payments::set_failed(tx, HASH, "cancelled")));
    store.begin().await;
    cancel().await;
    fail().await;
    assert!(due().await.is_empty(), "nobody was told of the first attempt");

    for state in [PaymentState::Held, PaymentState::InCare] {
        store.begin().await;
        store.run(move |tx| Box::pin(payments::advance(tx, HASH, PaymentState::Blocking, state))).await;
        cancel().await;
        assert!(due().await.is_empty(), "the payee may still be quicker");
        cancel().await;
        fail().await;
        let [payment] = due().await.try_into().unwrap();
        let attempt = payment.attempt;
        store.run(move |tx| Box::pin(payments::set_withdrawn(tx, HASH, attempt + 1, 1_000))).await;
        assert_eq!(due().await, [payment], "another attempt's payee");
        for told_at in [1_000, 1_005, 1_010] {
            assert!(due_at(told_at - 1).await.len() <= usize::from(told_at == 1_000), "not so soon again");
            assert_eq!(due_at(told_at).await.len(), 1, "the message before may be lost");
            store.run(move |tx| Box::pin(payments::set_withdrawn(tx, HASH, attempt, told_at))).await;
        }
        assert!(due_at(2_000).await.is_empty());
    }

    store.begin().await;
    store.run(|tx| Box::pin(payments::advance(tx, HASH, PaymentState::Blocking, PaymentState::InCare))).await;
    cancel().await;
    store.run(|tx| Box::pin(payments::set_uncancelled(tx, HASH))).await;
    fail().await;
    assert!(due().await.is_empty(), "the payee was quicker, and has answered");
}

async fn an_invoice_is_paid_once(scratch: Scratch) {
    let store = Store::new(scratch).await;
    store.run(|tx| Box::pin(async move { invoices::insert(tx, &invoice()).await })).await;
    assert_eq!(store.run(|tx| Box::pin(invoices::get(tx, HASH))).await, Some(invoice()));
    let pay = |msat, at| store.run(move |tx| Box::pin(invoices::set_paid(tx, HASH, Msat(msat), at)));
    assert!(pay(5_000, 1_600).await);
    assert!(!pay(6_000, 1_700).await);
    let paid = store.run(|tx| Box::pin(invoices::list(tx))).await;
    assert_eq!(paid, [Invoice { paid: Some((Msat(5_000), 1_600)), ..invoice() }]);
}

async fn what_is_kept_of_payers_is_bounded(scratch: Scratch) {
    let store = Store::new(scratch).await;
    store.run(|tx| Box::pin(async move { invoices::insert(tx, &invoice()).await })).await;
    let put = |pid, state| {
        store.run(move |tx| Box::pin(async move { pending::put(tx, &pending(pid, state)).await }))
    };
    for pid in 0..u8::try_from(PENDING_PER_INVOICE_MAX).unwrap() {
        assert!(put(pid, PendingState::Refused).await);
    }
    assert!(!put(99, PendingState::Refused).await, "one payer too many");
    assert!(put(0, PendingState::Unblocking).await, "a payer that is known may say it again");
    assert_eq!(
        store.run(|tx| Box::pin(pending::unblocking(tx))).await,
        [pending(0, PendingState::Unblocking)]
    );
}

async fn a_refusal_is_for_the_first_payment_that_comes_until_it_is_said_again(scratch: Scratch) {
    let store = Store::new(scratch).await;
    store.run(|tx| Box::pin(async move { invoices::insert(tx, &invoice()).await })).await;
    let put = |pid, state| {
        store.run(move |tx| Box::pin(async move { pending::put(tx, &pending(pid, state)).await }))
    };
    assert!(put(1, PendingState::Refused).await);
    assert!(put(2, PendingState::Unblocking).await);
    let payment_came = async |id| {
        store.run(move |tx| Box::pin(pending::set_refused_payment(tx, HASH, PaymentId([id; 32])))).await;
        let mut all = store.run(|tx| Box::pin(pending::of_invoice(tx, HASH))).await;
        all.sort_by_key(|pending| pending.pid_hash.0);
        all.iter().map(|pending| pending.refused_payment).collect::<Vec<_>>()
    };
    assert_eq!(payment_came(7).await, [Some(PaymentId([7; 32])), None]);
    assert_eq!(payment_came(8).await, [Some(PaymentId([7; 32])), None], "it stays the first one's");
    assert!(put(1, PendingState::Refused).await);
    assert_eq!(payment_came(8).await, [Some(PaymentId([8; 32])), None], "the payer was refused anew");
}

async fn a_payment_that_arrived_stays_so(scratch: Scratch) {
    let store = Store::new(scratch).await;
    store.run(|tx| Box::pin(async move { invoices::insert(tx, &invoice()).await })).await;
    let put =
        |state| store.run(move |tx| Box::pin(async move { pending::put(tx, &pending(1, state)).await }));
    let state = || async {
        let known = store.run(|tx| Box::pin(pending::get(tx, HASH, PidHash([1; 32])))).await;
        known.map(|known| known.state)
    };
    assert_eq!(state().await, None);
    put(PendingState::Unblocking).await;
    store.run(|tx| Box::pin(pending::set_arrived(tx, HASH))).await;
    put(PendingState::Refused).await;
    store.run(|tx| Box::pin(pending::set_expired(tx, HASH, PidHash([1; 32])))).await;
    assert_eq!(state().await, Some(PendingState::Arrived));
}

#[test]
fn every_migration_is_listed() {
    assert_migrations_listed(&MIGRATIONS);
}

#[tokio::test]
async fn both_kinds_of_database_have_the_same_tables() {
    let Some(postgres) = Scratch::postgres() else { return };
    let sqlite = Scratch::sqlite();
    let (ours, theirs) = (sqlite.open(&[MIGRATIONS]).await, postgres.open(&[MIGRATIONS]).await);
    assert_eq!(schema(&ours, false).await, schema(&theirs, true).await);
}
