//! The files' names are taken away under the open database.

use std::fs;
use std::path::{Path, PathBuf};

use storage::{Failure, StorageError, TroubleKind};

use super::until_in_trouble;
use crate::{Folder, add_note, note_ids};

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

#[tokio::test]
async fn files_that_are_moved_aside_may_come_back() {
    for suffix in ["", "-wal", ".lock"] {
        let folder = Folder::new();
        let db = folder.open().await;
        add_note(&db, 1, "before").await.unwrap();
        let (path, aside) = (beside(&folder.path(), suffix), beside(&folder.path(), ".aside"));
        fs::rename(&path, &aside).unwrap();
        let waiting = add_note(&db, 2, "waits");
        until_in_trouble(&db, TroubleKind::Gone).await;
        let text = db.trouble().unwrap().to_string();
        assert!(text.contains(&path.display().to_string()), "{text}");
        fs::rename(&aside, &path).unwrap();
        waiting.await.unwrap();
        db.close().await;
        assert_eq!(note_ids(&folder.open().await).await, [1, 2], "{suffix}");
    }
}

#[tokio::test]
async fn another_file_of_the_same_name_stops_the_process() {
    for suffix in ["", "-wal", ".lock"] {
        let folder = Folder::new();
        let db = folder.open().await;
        add_note(&db, 1, "before").await.unwrap();
        let (path, copy) = (beside(&folder.path(), suffix), beside(&folder.path(), ".copy"));
        fs::copy(&path, &copy).unwrap();
        fs::rename(&copy, &path).unwrap();
        let waiting = add_note(&db, 2, "to nobody");
        let failure = db.failed().await;
        let as_expected = match suffix {
            ".lock" => matches!(failure, Failure::LeaseLost { .. }),
            _ => matches!(failure, Failure::Replaced { .. }),
        };
        assert!(as_expected, "{suffix}: {failure}");
        assert!(matches!(waiting.await, Err(StorageError::NotCommitted(_) | StorageError::Stopped)));
    }
}
