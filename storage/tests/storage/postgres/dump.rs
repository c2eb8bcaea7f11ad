//! What `pg_dump` makes of the database, and what a server that was given that for its own would find.

use storage::testing::Scratch;

use super::{NUMBERED, number};

#[tokio::test]
async fn a_dump_is_whole_and_counts_less_than_what_came_after_it() {
    let Some(scratch) = Scratch::postgres() else { return };
    let db = scratch.open(&[NUMBERED]).await;
    for id in 1..4 {
        assert_eq!(number(&db, "before").await.unwrap(), id);
    }
    let dumped = db.advance_generation([7; 16]).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("dump");
    // From under the process that writes.
    scratch.dump(&file);
    assert_eq!(number(&db, "after").await.unwrap(), 4);
    let newest = db.advance_generation([7; 16]).await.unwrap();
    db.close().await;

    scratch.restore(&file);
    let db = scratch.open(&[NUMBERED]).await;
    let found = db.generation().await.unwrap().unwrap();
    assert_eq!(found, dumped);
    assert!(found.number < newest.number, "what a witness knows it by");
    assert_eq!(number(&db, "again").await.unwrap(), 4, "ids go on where they were");
    db.close().await;
}
