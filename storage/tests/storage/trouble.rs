//! The database cannot be written for a while: nothing is acknowledged, nothing is lost, and the order stays.

mod files;
mod full;

use futures::FutureExt as _;
use rusqlite::Connection;
use storage::faults::Fault;
use storage::testing::Scratch;
use storage::{Commit, Database, Failure, StorageError, TroubleKind, values};

use crate::{Folder, add_note, close_gate, note_ids, notes, open};

storage::on_both!(
    whatever_stops_a_commit_for_a_while_loses_nothing,
    a_batch_of_every_kind_of_job_is_done_again_as_it_was,
    a_process_that_ends_in_trouble_has_promised_nothing_that_is_lost,
);

async fn until_in_trouble(db: &Database, kind: TroubleKind) {
    let mut trouble = db.watch_trouble();
    trouble.wait_for(|trouble| trouble.as_ref().is_some_and(|trouble| trouble.kind() == kind)).await.unwrap();
}

fn require_note(db: &Database, id: i64) -> Commit<u64, StorageError> {
    db.submit_required("require_note", move |tx| {
        Box::pin(async move {
            tx.execute("INSERT INTO note (id, text) VALUES ($1, 'required')", &values![id]).await
        })
    })
}

/// A connection of somebody else's.
fn stranger(folder: &Folder) -> Connection {
    Connection::open(folder.path()).unwrap()
}

async fn whatever_stops_a_commit_for_a_while_loses_nothing(scratch: Scratch) {
    for (fault, kind) in [
        (Fault::Full, TroubleKind::Full),
        (Fault::ReadOnly, TroubleKind::ReadOnly),
        (Fault::Busy, TroubleKind::Locked),
        (Fault::Io, TroubleKind::Io),
    ] {
        let folder = scratch.another();
        let db = open(&folder).await;
        add_note(&db, 1, "before").await.unwrap();
        db.faults().fail_until_cleared(fault);
        let mut first = add_note(&db, 2, "taken").boxed();
        let second = db.kv().write("", "", "manager", vec![7]);
        until_in_trouble(&db, kind).await;

        assert!(matches!(add_note(&db, 3, "new").await, Err(StorageError::Trouble(found)) if found == kind));
        let third = require_note(&db, 4);
        let text = db.trouble().unwrap().to_string();
        assert!(text.contains(&kind.to_string()), "{text}");
        assert!(first.as_mut().now_or_never().is_none());
        assert_eq!(note_ids(&db).await, [1], "{kind:?}: reads go on, and see what is committed");
        assert_eq!(db.kv().read("", "", "manager").await.unwrap(), None);

        db.faults().clear();
        first.await.unwrap();
        second.await.unwrap();
        third.await.unwrap();
        assert!(db.trouble().is_none());
        assert!(db.failed().now_or_never().is_none());
        add_note(&db, 3, "again").await.unwrap();
        assert_eq!(note_ids(&db).await, [1, 2, 3, 4]);
        assert_eq!(db.kv().read("", "", "manager").await.unwrap(), Some(vec![7]));
    }
}

async fn a_batch_of_every_kind_of_job_is_done_again_as_it_was(folder: Scratch) {
    let db = open(&folder).await;
    // Without threads nothing is taken before all of it is queued.
    let gate = if folder.is_postgres() { None } else { Some(close_gate(&db).await) };
    db.faults().fail_next(Fault::Full, 4);
    let one = add_note(&db, 1, "one");
    let written = db.kv().write("", "", "a", vec![1]);
    let refused: Commit<(), StorageError> = db.submit("refused", |tx| {
        Box::pin(async move {
            tx.execute("INSERT INTO note (id, text) VALUES (50, 'undone')", &[]).await?;
            Err(StorageError::RowNotFound)
        })
    });
    let returning: Commit<i64, StorageError> = db.submit("returning", |tx| {
        Box::pin(async move {
            let sql = "INSERT INTO note (text) VALUES ('two') RETURNING id";
            tx.fetch_one(sql, &[]).await?.get_i64("id")
        })
    });
    let overwritten = db.kv().write("", "", "a", vec![2]);
    let panics: Commit<(), StorageError> = db.submit("panics", |tx| {
        Box::pin(async move {
            tx.execute("INSERT INTO note (id, text) VALUES (51, 'undone')", &[]).await?;
            panic!("as it is meant to")
        })
    });
    let removed = db.kv().remove("", "", "b");
    let changed: Commit<u64, StorageError> = db.submit("changed", |tx| {
        Box::pin(async move { tx.execute("UPDATE note SET text = text || '!'", &[]).await })
    });
    drop(gate);
    one.await.unwrap();
    written.await.unwrap();
    assert!(matches!(refused.await, Err(StorageError::RowNotFound)));
    assert_eq!(returning.await.unwrap(), 2);
    overwritten.await.unwrap();
    assert!(matches!(panics.await, Err(StorageError::Panicked { .. })));
    removed.await.unwrap();
    assert_eq!(changed.await.unwrap(), 2);
    assert_eq!(db.faults().injected(), 4);
    assert!(db.stats().commits <= 2);
    assert_eq!(notes(&db).await, [(1, "one!".to_owned()), (2, "two!".to_owned())]);
    assert_eq!(db.kv().read("", "", "a").await.unwrap(), Some(vec![2]));
}

async fn a_process_that_ends_in_trouble_has_promised_nothing_that_is_lost(folder: Scratch) {
    let db = open(&folder).await;
    add_note(&db, 1, "before").await.unwrap();
    db.faults().fail_until_cleared(Fault::Io);
    let waiting = add_note(&db, 2, "waits");
    until_in_trouble(&db, TroubleKind::Io).await;
    db.cut().await;
    waiting.await.unwrap_err();
    assert_eq!(note_ids(&open(&folder).await).await, [1]);
}

#[tokio::test]
async fn another_process_has_it_locked() {
    let folder = Folder::new();
    let db = folder.open().await;
    let other = stranger(&folder);
    other.execute_batch("BEGIN EXCLUSIVE").unwrap();
    let waiting = add_note(&db, 1, "waits");
    until_in_trouble(&db, TroubleKind::Locked).await;
    // Done before the batch has begun: it is as if it had been there always.
    other.execute_batch("INSERT INTO note (id, text) VALUES (7, 'theirs')").unwrap();
    other.execute_batch("COMMIT").unwrap();
    waiting.await.unwrap();
    assert_eq!(note_ids(&db).await, [1, 7]);
}

#[tokio::test]
async fn what_somebody_else_writes_in_between_stops_the_process() {
    let folder = Folder::new();
    let db = folder.open().await;
    db.faults().fail_until_cleared(Fault::Full);
    let waiting = add_note(&db, 1, "waits");
    until_in_trouble(&db, TroubleKind::Full).await;
    let other = stranger(&folder);
    other.execute_batch("PRAGMA busy_timeout = 30000").unwrap();
    other.execute_batch("INSERT INTO note (id, text) VALUES (7, 'theirs')").unwrap();
    assert!(matches!(db.failed().await, Failure::Changed));
    assert!(matches!(waiting.await, Err(StorageError::NotCommitted(Failure::Changed))));
    assert_eq!(note_ids(&db).await, [7]);
}
