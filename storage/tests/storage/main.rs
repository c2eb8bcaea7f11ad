//! The database through its public interface, on real files.

#![allow(clippy::unwrap_used, reason = "clippy's exception for tests does not reach their helpers")]

mod copies;
mod crash;
mod crash_points;
mod failing;
#[cfg(feature = "faults")]
mod faults;
mod kv;
mod opening;
mod postgres;
mod reading;
#[cfg(feature = "faults")]
mod trouble;
mod writing;

use std::path::PathBuf;

use storage::testing::Scratch;
use storage::{Commit, Database, DatabaseUrl, Migration, MigrationSet, StorageError, values};
use tokio::sync::oneshot;

/// A table to write to. The deferred reference is the one constraint that a commit itself can fail on.
const NOTES: MigrationSet = MigrationSet {
    name: "notes",
    sqlite: &[Migration {
        version: 1,
        name: "note",
        sql: "CREATE TABLE note (
                  id     INTEGER PRIMARY KEY,
                  text   TEXT NOT NULL,
                  parent INTEGER REFERENCES note (id) DEFERRABLE INITIALLY DEFERRED
              ) STRICT;
              CREATE INDEX note_text ON note (text);",
    }],
    postgres: &[Migration {
        version: 1,
        name: "note",
        sql: "CREATE TABLE note (
                  id     BIGINT PRIMARY KEY,
                  text   TEXT NOT NULL,
                  parent BIGINT REFERENCES note (id) DEFERRABLE INITIALLY DEFERRED
              );
              CREATE FUNCTION next_note() RETURNS BIGINT LANGUAGE sql
                  AS 'SELECT COALESCE(MAX(id), 0) + 1 FROM note';
              ALTER TABLE note ALTER COLUMN id SET DEFAULT next_note();",
    }],
};

async fn open(scratch: &Scratch) -> Database {
    scratch.open(&[NOTES]).await
}

/// A folder with a SQLite database, gone at the end of the test.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("test.db")
    }

    fn url(&self) -> DatabaseUrl {
        DatabaseUrl::Sqlite(self.path())
    }

    async fn open(&self) -> Database {
        Database::open(&self.url(), &[NOTES]).await.unwrap()
    }
}

fn add_note(db: &Database, id: i64, text: &str) -> Commit<(), StorageError> {
    let text = text.to_owned();
    db.submit("add_note", move |tx| {
        Box::pin(async move {
            tx.execute("INSERT INTO note (id, text) VALUES ($1, $2)", &values![id, text]).await?;
            Ok(())
        })
    })
}

/// The writer waits until the gate is dropped: what is queued meanwhile is one batch, with the gate's own transaction or after it.
async fn close_gate(db: &Database) -> oneshot::Sender<()> {
    let (gate, opened) = oneshot::channel();
    let (entered, is_closed) = oneshot::channel();
    drop(db.submit("gate", |_| {
        Box::pin(async move {
            let _ = entered.send(());
            let _ = opened.await;
            Ok::<_, StorageError>(())
        })
    }));
    is_closed.await.unwrap();
    gate
}

async fn notes(db: &Database) -> Vec<(i64, String)> {
    db.read("notes", |tx| {
        Box::pin(async move {
            let rows = tx.fetch_all("SELECT id, text FROM note ORDER BY id", &[]).await?;
            rows.iter()
                .map(|row| Ok((row.get_i64("id")?, row.get_text("text")?)))
                .collect::<Result<_, StorageError>>()
        })
    })
    .await
    .unwrap()
}

async fn note_ids(db: &Database) -> Vec<i64> {
    notes(db).await.into_iter().map(|(id, _)| id).collect()
}
