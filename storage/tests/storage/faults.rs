//! The faults themselves, which other tests lean upon.

use futures::FutureExt as _;
use storage::faults::Fault;
use storage::testing::Scratch;
use storage::{Database, StorageError};

use crate::{NOTES, add_note, note_ids, open};

storage::on_both!(
    what_is_cut_off_is_as_after_a_kill,
    a_cut_reaches_a_writer_that_has_nothing_to_do,
    an_unsynced_database_is_a_database,
    a_simulation_hears_when_nothing_is_under_way,
    a_corrupt_database_stops_the_writer,
);

async fn what_is_cut_off_is_as_after_a_kill(folder: Scratch) {
    let db = open(&folder).await;
    add_note(&db, 1, "durable").await.unwrap();
    db.faults().fail_until_cleared(Fault::Full);
    let waiting = add_note(&db, 2, "under way");
    db.cut().await;
    let later = add_note(&db, 3, "too late");
    assert!(matches!(waiting.await, Err(StorageError::Stopped | StorageError::NotCommitted(_))));
    assert!(matches!(later.await, Err(StorageError::Stopped | StorageError::Trouble(_))));
    assert!(matches!(db.kv().read("", "", "k").await, Err(StorageError::Stopped)));
    // The old handle is still there, and the database is free all the same.
    let again = open(&folder).await;
    assert_eq!(note_ids(&again).await, [1]);
    add_note(&again, 2, "after the restart").await.unwrap();
    db.cut().await;
    assert_eq!(note_ids(&again).await, [1, 2]);
}

async fn a_cut_reaches_a_writer_that_has_nothing_to_do(folder: Scratch) {
    let db = open(&folder).await;
    add_note(&db, 1, "durable").await.unwrap();
    db.cut().await;
    assert!(db.failed().now_or_never().is_some());
    assert_eq!(note_ids(&open(&folder).await).await, [1]);
}

async fn an_unsynced_database_is_a_database(folder: Scratch) {
    let db = Database::open_unsynced(folder.url(), &[NOTES]).await.unwrap();
    add_note(&db, 1, "one").await.unwrap();
    db.cut().await;
    assert_eq!(note_ids(&open(&folder).await).await, [1]);
}

async fn a_simulation_hears_when_nothing_is_under_way(folder: Scratch) {
    let db = open(&folder).await;
    assert!(db.faults().is_idle());
    drop(add_note(&db, 1, "nobody waits for it"));
    assert!(!db.faults().is_idle());
    db.faults().idle().await;
    assert_eq!(note_ids(&db).await, [1]);
    db.faults().fail_next(Fault::Corrupt, 1);
    drop(add_note(&db, 2, "lost"));
    db.faults().idle().await;
    assert!(db.failed().now_or_never().is_some());
    drop(add_note(&db, 3, "too late"));
    assert!(db.faults().is_idle());
}

async fn a_corrupt_database_stops_the_writer(folder: Scratch) {
    let db = open(&folder).await;
    db.faults().fail_next(Fault::Corrupt, 1);
    assert!(matches!(add_note(&db, 1, "lost").await, Err(StorageError::NotCommitted(_))));
    db.failed().await;
    assert_eq!(db.faults().injected(), 1);
    db.close().await;
    assert_eq!(note_ids(&open(&folder).await).await, [0; 0]);
}
