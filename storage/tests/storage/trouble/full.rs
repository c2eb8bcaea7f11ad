//! A disk that is really full: a small file system of its own, where the machine lets the test mount one.

use std::fs;
use std::path::Path;
use std::process::Command;

use storage::{Commit, Database, DatabaseUrl, StorageError, TroubleKind, values};

use super::until_in_trouble;
use crate::{NOTES, note_ids};

struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn mount() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=4m", "tmpfs"])
            .arg(folder.path())
            .output()
            .is_ok_and(|output| output.status.success());
        if !mounted {
            eprintln!("SKIPPED: only root can mount a small file system");
        }
        mounted.then_some(Self(folder))
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    /// Takes all the space there is.
    fn fill(&self) {
        let mut bytes = 1 << 20;
        let mut content = Vec::new();
        while bytes > 0 {
            content.resize(content.len() + bytes, 0);
            if fs::write(self.path().join("filler"), &content).is_err() {
                content.truncate(content.len() - bytes);
                bytes /= 2;
            }
        }
    }

    fn empty(&self) {
        fs::remove_file(self.path().join("filler")).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(self.path()).status();
    }
}

/// Rows until SQLite's cache does not hold them: it writes in the middle of the transaction.
fn add_large(db: &Database) -> Commit<(), StorageError> {
    db.submit("add_large", |tx| {
        Box::pin(async move {
            tx.execute("PRAGMA cache_size = 10", &[]).await?;
            for id in 10..40_i64 {
                let text = "x".repeat(20_000);
                tx.execute("INSERT INTO note (id, text) VALUES ($1, $2)", &values![id, text]).await?;
            }
            Ok(())
        })
    })
}

#[tokio::test]
async fn a_full_disk_is_waited_for() {
    let Some(disk) = SmallDisk::mount() else { return };
    let url = DatabaseUrl::Sqlite(disk.path().join("test.db"));
    let db = Database::open(&url, &[NOTES]).await.unwrap();
    let before = db.kv().write("", "", "before", vec![1]);
    before.await.unwrap();
    disk.fill();
    let large = add_large(&db);
    let after = db.kv().write("", "", "after", vec![2]);
    until_in_trouble(&db, TroubleKind::Full).await;
    assert_eq!(db.kv().read("", "", "before").await.unwrap(), Some(vec![1]));
    assert_eq!(db.kv().read("", "", "after").await.unwrap(), None);
    assert_eq!(note_ids(&db).await, [0; 0]);

    disk.empty();
    large.await.unwrap();
    after.await.unwrap();
    assert!(db.trouble().is_none());
    db.close().await;
    let db = Database::open(&url, &[NOTES]).await.unwrap();
    assert_eq!(note_ids(&db).await, (10..40).collect::<Vec<_>>());
    assert_eq!(db.kv().read("", "", "after").await.unwrap(), Some(vec![2]));
    db.close().await;
}
