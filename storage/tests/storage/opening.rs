use std::fs;

use storage::testing::Scratch;
use storage::{Database, DatabaseUrl, Migration, MigrationSet, StorageError};

use crate::{Folder, NOTES, add_note, note_ids, open};

const NOTES_2: MigrationSet = MigrationSet {
    name: "notes",
    sqlite: &[
        NOTES.sqlite[0],
        Migration { version: 2, name: "author", sql: "ALTER TABLE note ADD COLUMN author TEXT;" },
    ],
    postgres: &[
        NOTES.postgres[0],
        Migration { version: 2, name: "author", sql: "ALTER TABLE note ADD COLUMN author TEXT;" },
    ],
};

const BROKEN: MigrationSet = MigrationSet {
    name: "broken",
    sqlite: &[
        Migration { version: 1, name: "fine", sql: "CREATE TABLE fine (id INTEGER PRIMARY KEY) STRICT;" },
        Migration { version: 2, name: "broken", sql: "CREATE TABLE broken (id NONSENSE) STRICT;" },
    ],
    postgres: &[
        Migration { version: 1, name: "fine", sql: "CREATE TABLE fine (id BIGINT PRIMARY KEY);" },
        Migration { version: 2, name: "broken", sql: "CREATE TABLE broken (id NONSENSE);" },
    ],
};

storage::on_both!(
    each_set_has_its_own_version_table,
    a_second_opener_is_refused_until_the_first_is_closed,
    a_newer_program_migrates_and_the_older_one_then_refuses,
    an_edited_migration_is_refused,
    a_failed_migration_leaves_everything_as_it_was,
);

async fn refused(url: &DatabaseUrl, sets: &[MigrationSet]) -> StorageError {
    Database::open(url, sets).await.err().unwrap()
}

async fn tables(db: &Database, scratch: &Scratch) -> Vec<String> {
    let sql = if scratch.is_postgres() {
        "SELECT tablename::text AS name FROM pg_tables WHERE schemaname = 'public' \
         AND tablename NOT IN ('database_writer', 'row_id') ORDER BY tablename::text COLLATE \"C\""
    } else {
        "SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name"
    };
    db.read("tables", move |tx| {
        Box::pin(async move {
            let rows = tx.fetch_all(sql, &[]).await?;
            rows.iter().map(|row| row.get_text("name")).collect::<Result<_, StorageError>>()
        })
    })
    .await
    .unwrap()
}

async fn each_set_has_its_own_version_table(folder: Scratch) {
    let db = open(&folder).await;
    assert_eq!(
        tables(&db, &folder).await,
        ["_migrations_notes", "_migrations_storage", "generation", "kv", "note"]
    );
}

#[tokio::test]
async fn the_file_is_as_durable_as_promised() {
    let folder = Folder::new();
    let db = folder.open().await;
    let pragmas = db.submit("pragmas", |tx| {
        Box::pin(async move {
            let journal = tx.fetch_one("PRAGMA journal_mode", &[]).await?.get_text("journal_mode")?;
            let synchronous = tx.fetch_one("PRAGMA synchronous", &[]).await?.get_i64("synchronous")?;
            let foreign_keys = tx.fetch_one("PRAGMA foreign_keys", &[]).await?.get_bool("foreign_keys")?;
            Ok::<_, StorageError>((journal, synchronous, foreign_keys))
        })
    });
    const FULL: i64 = 2;
    assert_eq!(pragmas.await.unwrap(), ("wal".to_owned(), FULL, true));
}

#[cfg(unix)]
#[tokio::test]
async fn the_files_are_their_owners_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = Folder::new();
    let db = folder.open().await;
    add_note(&db, 1, "written").await.unwrap();
    let mut names = Vec::new();
    for entry in fs::read_dir(folder.0.path()).unwrap() {
        let entry = entry.unwrap();
        assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{:?}", entry.file_name());
        names.push(entry.file_name());
    }
    names.sort();
    assert_eq!(names, ["test.db", "test.db-shm", "test.db-wal", "test.db.lock"]);
}

#[tokio::test]
async fn closing_merges_the_log_into_the_file() {
    let folder = Folder::new();
    let db = folder.open().await;
    add_note(&db, 1, "merged").await.unwrap();
    db.close().await;
    assert!(!folder.path().with_extension("db-wal").exists());
}

async fn a_second_opener_is_refused_until_the_first_is_closed(folder: Scratch) {
    let db = open(&folder).await;
    let error = refused(folder.url(), &[NOTES]).await;
    assert!(matches!(error, StorageError::InUse { .. }));
    assert!(error.to_string().contains("in use by another process"), "{error}");
    add_note(&db, 1, "unharmed").await.unwrap();
    db.close().await;
    assert_eq!(note_ids(&open(&folder).await).await, [1]);
}

#[cfg(unix)]
#[tokio::test]
async fn the_lease_is_on_the_file_not_on_its_name() {
    let folder = Folder::new();
    let _db = folder.open().await;
    let link = folder.0.path().join("link.db");
    std::os::unix::fs::symlink(folder.path(), &link).unwrap();
    let second = Database::open(&DatabaseUrl::Sqlite(link), &[NOTES]).await;
    assert!(matches!(second.err(), Some(StorageError::InUse { .. })));
}

async fn a_newer_program_migrates_and_the_older_one_then_refuses(folder: Scratch) {
    let db = open(&folder).await;
    add_note(&db, 1, "kept").await.unwrap();
    db.close().await;

    let db = Database::open(folder.url(), &[NOTES_2]).await.unwrap();
    assert_eq!(note_ids(&db).await, [1]);
    db.close().await;

    let error = refused(folder.url(), &[NOTES]).await;
    assert!(matches!(error, StorageError::NewerDatabase { set: "notes", version: 2 }), "{error}");
}

async fn an_edited_migration_is_refused(folder: Scratch) {
    const EDITED: MigrationSet = MigrationSet {
        name: "notes",
        sqlite: &[Migration { version: 1, name: "note", sql: "CREATE TABLE note (id INTEGER) STRICT;" }],
        postgres: &[Migration { version: 1, name: "note", sql: "CREATE TABLE note (id BIGINT);" }],
    };
    open(&folder).await.close().await;
    let error = refused(folder.url(), &[EDITED]).await;
    assert!(matches!(error, StorageError::ChangedMigration { set: "notes", version: 1 }), "{error}");
}

async fn a_failed_migration_leaves_everything_as_it_was(folder: Scratch) {
    open(&folder).await.close().await;
    let error = refused(folder.url(), &[NOTES_2, BROKEN]).await;
    assert!(matches!(error, StorageError::Migrate { set: "broken", .. }), "{error}");
    let db = open(&folder).await;
    assert_eq!(
        tables(&db, &folder).await,
        ["_migrations_notes", "_migrations_storage", "generation", "kv", "note"]
    );
}

#[tokio::test]
async fn what_is_no_database_is_not_touched() {
    let folder = Folder::new();
    let text =
        "a text that somebody wants to keep, and that is longer than the header of a database file would be";
    fs::write(folder.path(), text).unwrap();
    let error = refused(&folder.url(), &[NOTES]).await;
    assert!(matches!(error, StorageError::Connect { .. }), "{error}");
    assert_eq!(fs::read_to_string(folder.path()).unwrap(), text);
}

#[tokio::test]
async fn a_missing_folder_is_named() {
    let url: DatabaseUrl = "sqlite:/nowhere/at/all/test.db".parse().unwrap();
    let error = Database::open(&url, &[]).await.err().unwrap();
    assert_eq!(error.to_string(), "cannot open /nowhere/at/all/test.db");
}

#[tokio::test]
async fn a_path_with_odd_characters_is_a_path() {
    let folder = Folder::new();
    let path = folder.0.path().join("a b?mode=ro#%41.db");
    let db = Database::open(&DatabaseUrl::Sqlite(path.clone()), &[]).await.unwrap();
    db.kv().write("", "", "k", vec![1]).await.unwrap();
    db.close().await;
    assert!(fs::metadata(path).unwrap().len() > 0);
}
