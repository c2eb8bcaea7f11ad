use storage::testing::Scratch;
use storage::{DatabaseUrl, StorageError};

use crate::{Folder, add_note, note_ids, open};

storage::on_both!(a_generation_only_grows,);

async fn a_generation_only_grows(folder: Scratch) {
    let db = open(&folder).await;
    assert_eq!(db.generation().await.unwrap(), None);
    let first = db.advance_generation([1; 16]).await.unwrap();
    assert_eq!((first.database_id, first.number), ([1; 16], 1));
    let second = db.advance_generation([2; 16]).await.unwrap();
    assert_eq!((second.database_id, second.number), ([1; 16], 2), "a database has one name");
    assert_eq!(storage::peek_generation(folder.url()).await.unwrap(), Some(second));
    db.close().await;
    assert_eq!(open(&folder).await.generation().await.unwrap(), Some(second));
}

#[tokio::test]
async fn a_backup_is_one_state_of_a_database_in_use() {
    let folder = Folder::new();
    let db = folder.open().await;
    add_note(&db, 1, "before").await.unwrap();
    let copy = Folder::new();
    storage::backup(&folder.url(), &copy.path()).await.unwrap();
    add_note(&db, 2, "after").await.unwrap();
    let again = storage::backup(&folder.url(), &copy.path()).await;
    assert!(matches!(again, Err(StorageError::Open { .. })), "nothing is written over");
    let mode = std::os::unix::fs::PermissionsExt::mode(&copy.path().metadata().unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    let restored = copy.open().await;
    assert_eq!(note_ids(&restored).await, [1]);
    add_note(&restored, 3, "goes on").await.unwrap();
    assert_eq!(note_ids(&db).await, [1, 2]);
}

#[tokio::test]
async fn a_backup_of_nothing_leaves_nothing() {
    let folder = Folder::new();
    let missing = DatabaseUrl::Sqlite(folder.path().with_extension("missing"));
    storage::backup(&missing, &folder.path()).await.unwrap_err();
    assert!(!folder.path().exists());
}
