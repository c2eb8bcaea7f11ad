use futures::FutureExt as _;
use storage::testing::Scratch;
use storage::{Commit, Database, Failure, StorageError, values};

use tokio::runtime::Runtime;

use crate::{Folder, add_note, close_gate, note_ids, open};

storage::on_both!(
    a_failed_commit_stops_the_writer,
    a_failed_process_keeps_the_lease_until_it_closes,
    a_required_transaction_that_fails_holds_back_what_follows,
    a_required_transaction_that_succeeds_is_like_any_other,
);

/// Fails at the commit of its batch.
fn break_commit(db: &Database) -> Commit<u64, StorageError> {
    db.submit("break_commit", |tx| {
        Box::pin(async move {
            tx.execute("INSERT INTO note (id, text, parent) VALUES (99, 'orphan', 98)", &[]).await
        })
    })
}

async fn a_failed_commit_stops_the_writer(folder: Scratch) {
    let db = open(&folder).await;
    add_note(&db, 1, "durable").await.unwrap();
    assert!(db.failed().now_or_never().is_none());

    let gate = close_gate(&db).await;
    let before = add_note(&db, 2, "same batch");
    let broken = break_commit(&db);
    let written = db.kv().write("", "", "k", vec![1]);
    drop(gate);
    assert!(matches!(before.await, Err(StorageError::NotCommitted(Failure::Database(_)))));
    assert!(matches!(broken.await, Err(StorageError::NotCommitted(Failure::Database(_)))));
    assert!(matches!(written.await, Err(StorageError::NotCommitted(Failure::Database(_)))));

    assert!(matches!(db.failed().await, Failure::Database(_)));
    assert!(matches!(add_note(&db, 3, "too late").await, Err(StorageError::Stopped)));
    assert!(matches!(db.kv().write("", "", "k", vec![1]).await, Err(StorageError::Stopped)));
    assert_eq!(db.stats().queued, 0);
    assert_eq!(note_ids(&db).await, [1]);
}

async fn a_failed_process_keeps_the_lease_until_it_closes(folder: Scratch) {
    let db = open(&folder).await;
    break_commit(&db).await.unwrap_err();
    db.failed().await;
    let second = Database::open(folder.url(), &[]).await;
    assert!(matches!(second.err(), Some(StorageError::InUse { .. })));
    db.close().await;
    assert_eq!(note_ids(&open(&folder).await).await, [0; 0]);
}

async fn a_required_transaction_that_fails_holds_back_what_follows(folder: Scratch) {
    let db = open(&folder).await;
    add_note(&db, 1, "there").await.unwrap();
    let gate = close_gate(&db).await;
    let required: Commit<u64, StorageError> = db.submit_required("required", |tx| {
        Box::pin(async move {
            tx.execute("INSERT INTO note (id, text) VALUES ($1, 'again')", &values![1_u32]).await
        })
    });
    let forgets = db.kv().write("", "", "manager", vec![1]);
    drop(gate);
    assert!(matches!(
        required.await,
        Err(StorageError::NotCommitted(Failure::Required { name: "required", .. }))
    ));
    assert!(matches!(forgets.await, Err(StorageError::Stopped)));
    assert_eq!(
        db.failed().await.to_string(),
        "the transaction `required`, which later writes rely on, failed: a database query failed"
    );
    db.close().await;
    assert_eq!(open(&folder).await.kv().read("", "", "manager").await.unwrap(), None);
}

async fn a_required_transaction_that_succeeds_is_like_any_other(folder: Scratch) {
    let db = open(&folder).await;
    let required: Commit<u64, StorageError> = db.submit_required("required", |tx| {
        Box::pin(async move { tx.execute("INSERT INTO note (id, text) VALUES (1, 'one')", &[]).await })
    });
    assert_eq!(required.await.unwrap(), 1);
    assert_eq!(note_ids(&db).await, [1]);
}

#[tokio::test]
async fn a_damaged_file_stops_the_writer() {
    let folder = Folder::new();
    let db = folder.open().await;
    for id in 0..200 {
        drop(add_note(&db, id, &"x".repeat(4_000)));
    }
    db.close().await;
    // Its first page stays whole: it opens.
    let mut bytes = std::fs::read(folder.path()).unwrap();
    bytes[40_000..].fill(0xff);
    std::fs::write(folder.path(), bytes).unwrap();
    let db = folder.open().await;
    let lost = db
        .submit("damaged", |tx| Box::pin(async move { tx.execute("UPDATE note SET text = 'y'", &[]).await }));
    assert!(matches!(lost.await, Err(StorageError::NotCommitted(Failure::Database(_)))));
    assert!(matches!(db.failed().await, Failure::Database(_)));
}

#[tokio::test]
async fn a_damaged_file_stops_whoever_only_reads_it_too() {
    let folder = Folder::new();
    let db = folder.open().await;
    for id in 0..200 {
        drop(add_note(&db, id, &"x".repeat(4_000)));
    }
    drop(db.kv().write("a", "b", "c", vec![1; 100_000]));
    db.close().await;
    assert_eq!(storage::damaged_pages(&folder.path()).await.unwrap(), Vec::<String>::new());

    let mut bytes = std::fs::read(folder.path()).unwrap();
    bytes[40_000..].fill(0xff);
    std::fs::write(folder.path(), bytes).unwrap();
    let said = storage::damaged_pages(&folder.path()).await;
    assert!(said.is_err() || said.is_ok_and(|found| !found.is_empty()));
    let db = folder.open().await;
    let read =
        db.read("notes", |tx| Box::pin(async move { tx.fetch_all("SELECT text FROM note", &[]).await }));
    assert!(matches!(read.await, Err(StorageError::Damaged(_))));
    assert!(matches!(db.failed().await, Failure::Database(_)));

    let other = Folder::new();
    std::fs::copy(folder.path(), other.path()).unwrap();
    let db = other.open().await;
    assert!(matches!(db.kv().read("a", "b", "c").await, Err(StorageError::Damaged(_))));
    assert!(matches!(db.failed().await, Failure::Database(_)));

    let other = Folder::new();
    std::fs::write(other.path(), b"not a database, whatever its name says").unwrap();
    assert!(matches!(
        storage::damaged_pages(&other.path()).await,
        Err(StorageError::Connect { .. } | StorageError::Query(_))
    ));
}

#[test]
fn a_runtime_that_goes_leaves_a_files_writer_alone() {
    let folder = Folder::new();
    let runtime = Runtime::new().unwrap();
    let db = runtime.block_on(folder.open());
    drop(runtime);
    Runtime::new().unwrap().block_on(async {
        add_note(&db, 1, "late").await.unwrap();
        assert_eq!(note_ids(&db).await, [1]);
    });
}

#[test]
fn a_runtime_that_goes_takes_the_writer_to_postgres_along_and_says_so() {
    let Some(scratch) = Scratch::postgres() else { return };
    let runtime = Runtime::new().unwrap();
    let db = runtime.block_on(open(&scratch));
    drop(runtime);
    Runtime::new().unwrap().block_on(async {
        assert!(matches!(db.failed().await, Failure::TornDown));
        assert!(matches!(add_note(&db, 1, "late").await, Err(StorageError::Stopped)));
    });
}
