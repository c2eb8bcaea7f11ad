use storage::StorageError;
use storage::testing::Scratch;

use crate::{close_gate, open};

storage::on_both!(
    values_are_written_replaced_listed_and_removed,
    the_last_call_wins_whatever_is_awaited_first,
    a_batch_is_bounded_in_bytes,
    a_write_whose_commit_is_dropped_is_made,
    a_closed_database_says_so,
    a_write_behind_is_there_with_what_is_queued_after_it,
    a_write_behind_gets_to_disk_by_itself,
    a_value_that_is_written_removed_and_written_again_ends_as_the_last_call_says,
);

async fn values_are_written_replaced_listed_and_removed(folder: Scratch) {
    let db = open(&folder).await;
    let kv = db.kv();
    assert_eq!(kv.read("monitors", "", "a").await.unwrap(), None);

    kv.write("monitors", "", "b", vec![1]).await.unwrap();
    kv.write("monitors", "", "a", vec![2; 300_000]).await.unwrap();
    kv.write("monitors", "updates", "c", vec![]).await.unwrap();
    kv.write("", "", "manager", vec![3]).await.unwrap();
    kv.write("monitors", "", "b", vec![4]).await.unwrap();

    assert_eq!(kv.read("monitors", "", "a").await.unwrap(), Some(vec![2; 300_000]));
    assert_eq!(kv.read("monitors", "", "b").await.unwrap(), Some(vec![4]));
    assert_eq!(kv.read("monitors", "updates", "c").await.unwrap(), Some(vec![]));
    assert_eq!(kv.read("", "", "manager").await.unwrap(), Some(vec![3]));
    assert_eq!(kv.list("monitors", "").await.unwrap(), ["a", "b"]);
    assert_eq!(kv.list("monitors", "none").await.unwrap(), [""; 0]);

    kv.remove("monitors", "", "a").await.unwrap();
    kv.remove("monitors", "", "a").await.unwrap();
    assert_eq!(kv.read("monitors", "", "a").await.unwrap(), None);
    assert_eq!(kv.list("monitors", "").await.unwrap(), ["b"]);
}

async fn the_last_call_wins_whatever_is_awaited_first(folder: Scratch) {
    let db = open(&folder).await;
    let kv = db.kv();
    let first = kv.write("", "", "k", vec![1]);
    let removed = kv.remove("", "", "k");
    let last = kv.write("", "", "k", vec![2]);
    last.await.unwrap();
    assert_eq!(kv.read("", "", "k").await.unwrap(), Some(vec![2]));
    removed.await.unwrap();
    first.await.unwrap();
    assert_eq!(kv.read("", "", "k").await.unwrap(), Some(vec![2]));
}

async fn a_batch_is_bounded_in_bytes(folder: Scratch) {
    let db = open(&folder).await;
    let gate = close_gate(&db).await;
    let commits: Vec<_> = ["a", "b", "c"].map(|key| db.kv().write("", "", key, vec![1; 9 << 20])).into();
    drop(gate);
    for commit in commits {
        commit.await.unwrap();
    }
    let stats = db.stats();
    assert_eq!((stats.kv_writes, stats.kv_bytes), (3, 27 << 20));
    assert!((2..=3).contains(&stats.commits));
}

async fn a_write_whose_commit_is_dropped_is_made(folder: Scratch) {
    let db = open(&folder).await;
    drop(db.kv().write("", "", "dropped", vec![1]));
    db.close().await;

    let db = open(&folder).await;
    assert_eq!(db.kv().read("", "", "dropped").await.unwrap(), Some(vec![1]));
}

async fn a_closed_database_says_so(folder: Scratch) {
    let db = open(&folder).await;
    db.close().await;
    assert!(matches!(db.kv().write("", "", "k", vec![]).await, Err(StorageError::Stopped)));
    assert!(matches!(db.kv().read("", "", "k").await, Err(StorageError::Stopped)));
    assert_eq!(db.stats().queued, 0);
    db.close().await;
}

async fn a_write_behind_is_there_with_what_is_queued_after_it(folder: Scratch) {
    let db = open(&folder).await;
    let kv = db.kv();
    kv.write("", "", "gone", vec![9]).await.unwrap();
    let gate = close_gate(&db).await;
    for value in 0..100 {
        kv.write_behind("", "", "k", vec![value]);
    }
    kv.remove_behind("", "", "gone");
    let after = kv.write("", "", "after", vec![]);
    drop(gate);
    after.await.unwrap();
    assert_eq!(kv.read("", "", "k").await.unwrap(), Some(vec![99]));
    assert_eq!(kv.read("", "", "gone").await.unwrap(), None);
    let stats = db.stats();
    assert_eq!((stats.kv_writes, stats.kv_removes), (3, 1), "replaced values are not written");
    assert!(stats.commits <= 3);
}

async fn a_write_behind_gets_to_disk_by_itself(folder: Scratch) {
    let db = open(&folder).await;
    db.kv().write_behind("", "", "k", vec![1]);
    while db.kv().read("", "", "k").await.unwrap().is_none() {
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
    db.kv().write_behind("", "", "k", vec![2]);
    db.close().await;
    let db = open(&folder).await;
    assert_eq!(db.kv().read("", "", "k").await.unwrap(), Some(vec![2]));
}

async fn a_value_that_is_written_removed_and_written_again_ends_as_the_last_call_says(folder: Scratch) {
    let db = open(&folder).await;
    let kv = db.kv();
    kv.write_behind("", "", "removed", vec![1]);
    kv.remove_behind("", "", "removed");
    kv.write_behind("", "", "kept", vec![1]);
    kv.remove_behind("", "", "kept");
    kv.write_behind("", "", "kept", vec![2]);
    kv.write("", "", "after", vec![]).await.unwrap();
    assert_eq!(kv.read("", "", "removed").await.unwrap(), None);
    assert_eq!(kv.read("", "", "kept").await.unwrap(), Some(vec![2]));
}
