use std::sync::Arc;

use storage::testing::Scratch;
use storage::{Commit, Database, StorageError, values};
use tokio::sync::Notify;

use crate::{add_note, close_gate, note_ids, notes, open};

storage::on_both!(
    the_order_of_the_calls_is_the_order_of_the_writes,
    a_transaction_sees_what_was_queued_before_it,
    a_refused_transaction_takes_nothing_else_with_it,
    refused_kept_and_key_value_writes_mix_in_one_batch,
    what_sqlite_undoes_by_itself_is_done_again,
    a_failed_statement_that_is_ignored_still_aborts_its_transaction,
    a_panic_rolls_back_its_own_transaction_only,
    a_transaction_whose_commit_is_dropped_is_made,
    closing_writes_what_is_queued,
    dropping_the_last_handle_writes_what_is_queued,
    what_is_queued_together_is_committed_together,
);
storage::on_both!(threads:
    what_comes_during_a_batch_shares_it_or_the_next_one,
    a_read_does_not_wait_for_the_writer,
);

/// A refusal of the application's own.
#[derive(Debug, thiserror::Error)]
enum NoteError {
    #[error("refused")]
    Refused,
    #[error(transparent)]
    Storage(#[from] StorageError),
}

fn append(db: &Database, letter: char) -> Commit<u64, StorageError> {
    let letter = letter.to_string();
    db.submit("append", |tx| {
        Box::pin(async move {
            tx.execute("UPDATE note SET text = text || $1 WHERE id = 0", &values![letter]).await
        })
    })
}

async fn the_order_of_the_calls_is_the_order_of_the_writes(folder: Scratch) {
    let db = open(&folder).await;
    add_note(&db, 0, "").await.unwrap();
    let mut commits: Vec<_> = ('a'..='z').map(|letter| append(&db, letter)).collect();
    while let Some(last) = commits.pop() {
        last.await.unwrap();
    }
    assert_eq!(notes(&db).await, [(0, ('a'..='z').collect())]);
}

async fn a_transaction_sees_what_was_queued_before_it(folder: Scratch) {
    let db = open(&folder).await;
    let added = add_note(&db, 1, "seen");
    let count = db.submit("count", |tx| {
        Box::pin(
            async move { tx.fetch_one("SELECT COUNT(*) AS notes FROM note", &[]).await?.get_i64("notes") },
        )
    });
    let late = add_note(&db, 2, "unseen");
    assert_eq!(count.await.unwrap(), 1);
    added.await.unwrap();
    late.await.unwrap();
}

async fn a_refused_transaction_takes_nothing_else_with_it(folder: Scratch) {
    let db = open(&folder).await;
    let gate = close_gate(&db).await;
    let before = add_note(&db, 1, "before");
    let refused = db.submit("refused", |tx| {
        Box::pin(async move {
            tx.execute("INSERT INTO note (id, text) VALUES (2, 'refused')", &[]).await?;
            Err::<(), _>(NoteError::Refused)
        })
    });
    let duplicate = add_note(&db, 1, "duplicate");
    let after = add_note(&db, 3, "after");
    let written = db.kv().write("", "", "k", vec![1]);
    drop(gate);

    assert!(matches!(refused.await, Err(NoteError::Refused)));
    assert!(duplicate.await.unwrap_err().is_unique_violation());
    before.await.unwrap();
    after.await.unwrap();
    written.await.unwrap();
    assert_eq!(note_ids(&db).await, [1, 3]);
    assert_eq!((db.stats().transactions, db.stats().kv_writes), (3, 1));
    assert!(db.stats().commits <= 2);
}

/// The writer keeps a savepoint open from one transaction to the next where it can, and on SQLite has none until one has something to
/// undo: the second batch begins with one.
async fn refused_kept_and_key_value_writes_mix_in_one_batch(folder: Scratch) {
    let db = open(&folder).await;
    add_note(&db, 0, "there").await.unwrap();
    for batch in [0, 100] {
        mixed_batch(&db, batch).await;
    }
    let kept = [10, 11, 12, 13, 20, 21, 22, 23, 30, 31, 32, 33];
    let in_both = [0].into_iter().chain(kept).chain(kept.map(|id| 100 + id));
    assert_eq!(note_ids(&db).await, in_both.collect::<Vec<_>>());
    assert_eq!(db.kv().list("", "").await.unwrap(), ["1", "2", "3"]);
    assert!(db.stats().commits <= 5);
}

async fn mixed_batch(db: &Database, first_id: i64) {
    let (mut commits, mut undone) = (Vec::new(), Vec::new());
    let gate = close_gate(db).await;
    for round in 0..4 {
        for id in [0, 10 + round, 0, 0, 20 + round] {
            commits.push((id, add_note(db, first_id * i64::from(id != 0) + id, "mixed")));
        }
        undone.push(db.submit("undone", |tx| {
            Box::pin(async move {
                tx.execute("INSERT INTO note (id, text) VALUES (77, 'undone')", &[]).await?;
                tx.execute("DELETE FROM note WHERE id < 77", &[]).await?;
                Err::<(), _>(StorageError::RowNotFound)
            })
        }));
        commits.push((1, add_note(db, first_id + 30 + round, "mixed")));
        drop(db.kv().write("", "", &round.to_string(), vec![1]));
        commits.push((0, add_note(db, 0, "mixed")));
        drop(db.kv().remove("", "", "0"));
    }
    drop(gate);
    for (id, commit) in commits {
        assert_eq!(commit.await.is_ok(), id != 0);
    }
    for commit in undone {
        assert!(matches!(commit.await, Err(StorageError::RowNotFound)));
    }
}

/// An error at which SQLite undoes all that is not committed, and not only its statement. Postgres does not know the words.
async fn what_sqlite_undoes_by_itself_is_done_again(folder: Scratch) {
    let db = open(&folder).await;
    let gate = close_gate(&db).await;
    let before = add_note(&db, 1, "before");
    let written = db.kv().write("", "", "k", vec![1]);
    let rolled_back = db.submit("rolls_back", |tx| {
        Box::pin(async move {
            tx.execute("INSERT OR ROLLBACK INTO note (id, text) VALUES (1, 'again')", &[]).await.map(drop)
        })
    });
    let overwritten = db.kv().write("", "", "k", vec![2]);
    let after = add_note(&db, 2, "after");
    drop(gate);
    assert!(rolled_back.await.is_err());
    before.await.unwrap();
    written.await.unwrap();
    overwritten.await.unwrap();
    after.await.unwrap();
    assert_eq!(note_ids(&db).await, [1, 2]);
    assert_eq!(db.kv().read("", "", "k").await.unwrap(), Some(vec![2]));
    assert!(db.stats().commits <= 2, "nothing was committed by itself");
}

async fn a_failed_statement_that_is_ignored_still_aborts_its_transaction(folder: Scratch) {
    let db = open(&folder).await;
    let careless = db.submit("careless", |tx| {
        Box::pin(async move {
            tx.execute("INSERT INTO note (id, text) VALUES (1, 'one')", &[]).await?;
            assert!(tx.execute("INSERT INTO note (id, text) VALUES (1, 'again')", &[]).await.is_err());
            let next = tx.execute("INSERT INTO note (id, text) VALUES (2, 'two')", &[]).await;
            assert!(matches!(next, Err(StorageError::Aborted)));
            Ok::<_, StorageError>(())
        })
    });
    let after = add_note(&db, 3, "after");
    assert!(matches!(careless.await, Err(StorageError::Aborted)));
    after.await.unwrap();
    assert_eq!(note_ids(&db).await, [3]);
}

async fn a_panic_rolls_back_its_own_transaction_only(folder: Scratch) {
    let db = open(&folder).await;
    let before = add_note(&db, 1, "before");
    let panicking = db.submit("panicking", |tx| {
        Box::pin(async move {
            tx.execute("INSERT INTO note (id, text) VALUES (2, 'lost')", &[]).await?;
            if tx.fetch_optional("SELECT 1 AS one", &[]).await?.is_some() {
                panic!("a bug");
            }
            Ok::<_, StorageError>(())
        })
    });
    let at_once = db.submit("panicking_at_once", |_| -> storage::BoxFuture<'_, Result<(), StorageError>> {
        panic!("a bug")
    });
    let after = add_note(&db, 3, "after");
    assert!(matches!(panicking.await, Err(StorageError::Panicked { name: "panicking" })));
    assert!(matches!(at_once.await, Err(StorageError::Panicked { name: "panicking_at_once" })));
    before.await.unwrap();
    after.await.unwrap();
    assert_eq!(note_ids(&db).await, [1, 3]);
}

async fn a_transaction_whose_commit_is_dropped_is_made(folder: Scratch) {
    let db = open(&folder).await;
    drop(add_note(&db, 1, "dropped"));
    add_note(&db, 2, "awaited").await.unwrap();
    assert_eq!(note_ids(&db).await, [1, 2]);
}

async fn closing_writes_what_is_queued(folder: Scratch) {
    let db = open(&folder).await;
    let commits: Vec<_> = (0..3000).map(|id| add_note(&db, id, "queued")).collect();
    db.close().await;
    for commit in commits {
        commit.await.unwrap();
    }
    assert_eq!((db.stats().transactions, db.stats().queued), (3000, 0));
    assert!(db.stats().commits >= 3, "at most 1,024 in one batch");
    assert_eq!(note_ids(&open(&folder).await).await.len(), 3000);
}

async fn dropping_the_last_handle_writes_what_is_queued(folder: Scratch) {
    let db = open(&folder).await;
    let commits: Vec<_> = (0..100).map(|id| add_note(&db, id, "queued")).collect();
    drop(db);
    for commit in commits {
        commit.await.unwrap();
    }
}

async fn what_is_queued_together_is_committed_together(folder: Scratch) {
    let db = open(&folder).await;
    let gate = close_gate(&db).await;
    let commits: Vec<_> = (0..64).map(|id| add_note(&db, id, "grouped")).collect();
    drop(gate);
    for commit in commits {
        commit.await.unwrap();
    }
    assert_eq!(db.stats().transactions, 65);
    assert!(db.stats().commits <= 2);
}

/// The batch under way is held open, so that the test decides what is queued behind it.
async fn what_comes_during_a_batch_shares_it_or_the_next_one(folder: Scratch) {
    let db = open(&folder).await;
    let (entered, go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let held = hold_writer(&db, &entered, &go);
    entered.notified().await;

    let tasks: Vec<_> = (0..64)
        .map(|id| {
            let db = db.clone();
            tokio::spawn(async move { add_note(&db, id, "concurrent").await })
        })
        .collect();
    while db.stats().queued < 64 {
        tokio::task::yield_now().await;
    }
    go.notify_one();
    held.await.unwrap();
    for task in tasks {
        task.await.unwrap().unwrap();
    }
    assert!(db.stats().commits <= 2);
}

async fn a_read_does_not_wait_for_the_writer(folder: Scratch) {
    let db = open(&folder).await;
    add_note(&db, 1, "committed").await.unwrap();
    let (entered, go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let held = hold_writer(&db, &entered, &go);
    entered.notified().await;

    let queued = db.kv().write("", "", "k", vec![1]);
    assert_eq!(note_ids(&db).await, [1]);
    assert_eq!(db.kv().read("", "", "k").await.unwrap(), None);
    go.notify_one();
    held.await.unwrap();
    queued.await.unwrap();
    assert_eq!(note_ids(&db).await, [-1, 1]);
}

/// A transaction that has written, and stays open until `go`.
fn hold_writer(db: &Database, entered: &Arc<Notify>, go: &Arc<Notify>) -> Commit<(), StorageError> {
    let (entered, go) = (entered.clone(), go.clone());
    db.submit("hold", move |tx| {
        Box::pin(async move {
            tx.execute("INSERT INTO note (id, text) VALUES (-1, 'held')", &[]).await?;
            entered.notify_one();
            go.notified().await;
            Ok(())
        })
    })
}
