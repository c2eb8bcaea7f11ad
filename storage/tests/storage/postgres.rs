//! What only a server can do to us: go away, in the middle of a commit too, come back as another, have settings.

mod cutter;
mod dump;
mod standby;

use futures::FutureExt as _;
use storage::testing::Scratch;
use storage::{Commit, Database, Failure, Migration, MigrationSet, StorageError, TroubleKind, values};

use crate::{NOTES, add_note, note_ids, open};
use cutter::{Cut, Cutter};

/// Ids as the server's tables have them.
const NUMBERED: MigrationSet = MigrationSet {
    name: "numbered",
    sqlite: &[],
    postgres: &[Migration {
        version: 1,
        name: "numbered",
        sql: "CREATE TABLE numbered (id BIGINT PRIMARY KEY DEFAULT next_row_id('numbered'), text TEXT NOT NULL);",
    }],
};

fn number(db: &Database, text: &'static str) -> Commit<i64, StorageError> {
    db.submit("number", move |tx| {
        Box::pin(async move {
            let sql = "INSERT INTO numbered (text) VALUES ($1) RETURNING id";
            tx.fetch_one(sql, &values![text]).await?.get_i64("id")
        })
    })
}

async fn refused(scratch: &Scratch) -> StorageError {
    Database::open(scratch.url(), &[NOTES]).await.err().unwrap()
}

#[tokio::test]
async fn a_server_that_ends_its_sessions_costs_nothing() {
    let Some(scratch) = Scratch::postgres() else { return };
    let db = open(&scratch).await;
    for id in 1..5 {
        add_note(&db, id, "kept").await.unwrap();
        scratch.end_sessions();
    }
    add_note(&db, 5, "kept").await.unwrap();
    assert!(db.trouble().is_none());
    assert_eq!(note_ids(&db).await, [1, 2, 3, 4, 5]);
}

/// The session ends in the middle of a batch, and the batch is done again with the ids that it had the first time, those of what was
/// undone in between too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_that_loses_its_session_is_done_again_as_it_was() {
    let Some(scratch) = Scratch::postgres() else { return };
    let db = scratch.open(&[NUMBERED]).await;
    assert_eq!(number(&db, "before").await.unwrap(), 1);
    let (entered, go) = (tokio::sync::oneshot::channel(), tokio::sync::oneshot::channel::<()>());
    let first = number(&db, "first");
    let undone: Commit<(), StorageError> = db.submit("undone", |tx| {
        Box::pin(async move {
            tx.execute("INSERT INTO numbered (text) VALUES ('undone')", &[]).await?;
            Err(StorageError::RowNotFound)
        })
    });
    let held: Commit<i64, StorageError> = db.submit("held", move |tx| {
        Box::pin(async move {
            let sql = "INSERT INTO numbered (text) VALUES ('held') RETURNING id";
            let id = tx.fetch_one(sql, &[]).await?.get_i64("id")?;
            entered.0.send(()).unwrap();
            go.1.await.unwrap();
            tx.execute("UPDATE numbered SET text = text || '!' WHERE id = $1", &values![id]).await?;
            Ok(id)
        })
    });
    let last = number(&db, "last");
    entered.1.await.unwrap();
    scratch.end_sessions();
    go.0.send(()).unwrap();
    assert_eq!((first.await.unwrap(), held.await.unwrap(), last.await.unwrap()), (2, 3, 4));
    assert!(matches!(undone.await, Err(StorageError::RowNotFound)));
    assert_eq!(number(&db, "after").await.unwrap(), 5);
    let found = db
        .read("texts", |tx| {
            Box::pin(async move {
                let rows = tx.fetch_all("SELECT id, text FROM numbered ORDER BY id", &[]).await?;
                rows.iter()
                    .map(|row| Ok((row.get_i64("id")?, row.get_text("text")?)))
                    .collect::<Result<Vec<_>, StorageError>>()
            })
        })
        .await
        .unwrap();
    let expected = [(1, "before"), (2, "first"), (3, "held!"), (4, "last"), (5, "after")];
    assert_eq!(found, expected.map(|(id, text)| (id, text.to_owned())));
}

/// The answer to `COMMIT` is lost, with a commit that was made and with one that was not: both times it is made once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_without_an_answer_is_made_once() {
    let Some(scratch) = Scratch::postgres() else { return };
    let cutter = Cutter::start(&scratch).await;
    let db = Database::open(&cutter.url(), &[NUMBERED]).await.unwrap();
    assert_eq!(number(&db, "before").await.unwrap(), 1);
    for (id, cut) in
        [(2, Cut::BeforeCommit), (3, Cut::AfterCommit), (4, Cut::AfterCommit), (5, Cut::BeforeCommit)]
    {
        cutter.arm(cut);
        assert_eq!(number(&db, "across").await.unwrap(), id, "{cut:?}");
        assert!(cutter.has_cut());
    }
    assert_eq!(number(&db, "after").await.unwrap(), 6);
    let rows = db.read("count", |tx| {
        Box::pin(
            async move { tx.fetch_one("SELECT COUNT(*) AS rows FROM numbered", &[]).await?.get_i64("rows") },
        )
    });
    assert_eq!(rows.await.unwrap(), 6);
    db.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_gone_is_waited_for() {
    let Some(scratch) = Scratch::postgres() else { return };
    let cutter = Cutter::start(&scratch).await;
    let db = Database::open(&cutter.url(), &[NOTES]).await.unwrap();
    add_note(&db, 1, "before").await.unwrap();
    cutter.refuse(true);
    let waiting = add_note(&db, 2, "waits");
    let mut trouble = db.watch_trouble();
    trouble
        .wait_for(|trouble| {
            trouble.as_ref().is_some_and(|trouble| trouble.kind() == TroubleKind::Unreachable)
        })
        .await
        .unwrap();
    assert!(matches!(add_note(&db, 3, "new").await, Err(StorageError::Trouble(TroubleKind::Unreachable))));
    cutter.refuse(false);
    waiting.await.unwrap();
    assert_eq!(note_ids(&db).await, [1, 2]);
    assert!(db.trouble().is_none());
}

#[tokio::test]
async fn whoever_was_taken_over_commits_nothing_more() {
    let Some(scratch) = Scratch::postgres() else { return };
    let first = open(&scratch).await;
    add_note(&first, 1, "first").await.unwrap();
    // The first process does not hear of it: it has nothing to write just now.
    scratch.end_sessions();
    let second = open(&scratch).await;
    add_note(&second, 2, "second").await.unwrap();
    let late = add_note(&first, 3, "late");
    assert!(matches!(late.await, Err(StorageError::NotCommitted(_) | StorageError::Stopped)));
    assert!(matches!(first.failed().await, Failure::TakenOver));
    add_note(&second, 4, "second").await.unwrap();
    assert_eq!(note_ids(&second).await, [1, 2, 4]);
}

/// Without the lease's lock, which a proxy between could break, the row still keeps the older process from committing.
#[tokio::test]
async fn an_epoch_that_is_over_commits_nothing() {
    let Some(scratch) = Scratch::postgres() else { return };
    let db = open(&scratch).await;
    add_note(&db, 1, "ours").await.unwrap();
    scratch.in_database("UPDATE database_writer SET epoch = epoch + 1");
    assert!(matches!(add_note(&db, 2, "late").await, Err(StorageError::NotCommitted(Failure::TakenOver))));
    assert_eq!(note_ids(&db).await, [1]);
}

#[tokio::test]
async fn a_server_that_has_forgotten_stops_the_process() {
    let Some(scratch) = Scratch::postgres() else { return };
    let db = open(&scratch).await;
    add_note(&db, 1, "there").await.unwrap();
    scratch.in_database("UPDATE database_writer SET batch = batch - 1");
    scratch.end_sessions();
    let lost = add_note(&db, 2, "on what is not there").await;
    assert!(matches!(lost, Err(StorageError::NotCommitted(_) | StorageError::Stopped)), "{lost:?}");
    assert!(matches!(db.failed().await, Failure::WentBack));
}

#[tokio::test]
async fn another_server_or_timeline_has_to_be_accepted() {
    let Some(scratch) = Scratch::postgres() else { return };
    open(&scratch).await.close().await;
    // As it was on the server that this one was copied from.
    scratch.in_database("UPDATE database_writer SET place = '7000000000000000000/00000001'");
    let error = refused(&scratch).await;
    assert!(matches!(&error, StorageError::Moved { known, .. } if known.starts_with("7000")), "{error}");
    refused(&scratch).await;
    storage::accept_place(scratch.url()).await.unwrap();
    let db = open(&scratch).await;
    add_note(&db, 1, "here").await.unwrap();
    db.close().await;
    open(&scratch).await;
}

#[tokio::test]
async fn a_server_that_may_lose_commits_is_refused() {
    let Some(scratch) = Scratch::postgres() else { return };
    let name = scratch.url().to_string().rsplit_once('/').unwrap().1.to_owned();
    for (setting, word) in [
        ("synchronous_commit = off", "synchronous_commit"),
        ("synchronous_commit = local", "synchronous_commit"),
        ("default_transaction_read_only = on", "only read"),
    ] {
        scratch.on_server(&format!("ALTER DATABASE {name} SET {setting}"));
        let error = refused(&scratch).await;
        assert!(
            matches!(error, StorageError::Unsuitable { .. }) && error.to_string().contains(word),
            "{error}"
        );
        scratch.on_server(&format!("ALTER DATABASE {name} RESET ALL"));
    }
    open(&scratch).await;
}

#[tokio::test]
async fn a_look_tells_who_has_it_and_changes_nothing() {
    let Some(scratch) = Scratch::postgres() else { return };
    let storage::DatabaseUrl::Postgres(url) = scratch.url() else { panic!() };
    let look = url.look().await.unwrap();
    assert_eq!((look.is_in_use, look.refusal, look.is_encrypted), (false, None, false));
    assert!(look.bytes > 1_000_000);
    assert_eq!(storage::peek_generation(scratch.url()).await.unwrap(), None);
    let db = open(&scratch).await;
    assert!(url.look().await.unwrap().is_in_use);
    db.close().await;
    assert!(!url.look().await.unwrap().is_in_use);
}

#[tokio::test]
async fn a_server_that_cannot_be_reached_is_named_without_the_password() {
    let url = "postgres://u:hunter2@127.0.0.1:1/d".parse().unwrap();
    let error = Database::open(&url, &[]).await.err().unwrap();
    assert_eq!(error.to_string(), "cannot open the database postgres://u@127.0.0.1:1/d");
    assert!(!format!("{error:?}").contains("hunter2"));
}

#[tokio::test]
async fn a_backup_is_the_servers_own() {
    let url = "postgres://u@127.0.0.1:1/d".parse().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let error = storage::backup(&url, &folder.path().join("copy")).await.unwrap_err();
    assert!(matches!(error, StorageError::NoBackup) && error.to_string().contains("pg_dump"));
}

/// What the server says of a page whose checksum is wrong, said by a function.
#[tokio::test]
async fn a_damaged_database_stops_whoever_only_reads_it() {
    let Some(scratch) = Scratch::postgres() else { return };
    let db = open(&scratch).await;
    scratch.in_database(
        "CREATE FUNCTION damaged() RETURNS BIGINT LANGUAGE plpgsql AS \
         'BEGIN RAISE EXCEPTION USING ERRCODE = ''data_corrupted''; END'",
    );
    let refused = db.read("wrong", |tx| {
        Box::pin(async move { tx.fetch_all("SELECT missing FROM note", &[]).await.map(drop) })
    });
    assert!(matches!(refused.await, Err(StorageError::Query(_))), "a wrong query is no damage");
    assert!(db.failed().now_or_never().is_none());
    let read = db.read("damaged", |tx| {
        Box::pin(async move { tx.fetch_one("SELECT damaged() AS n", &[]).await.map(drop) })
    });
    assert!(matches!(read.await, Err(StorageError::Damaged(_))));
    assert!(matches!(db.failed().await, Failure::Database(_)));
}
