use storage::DatabaseUrl;

use super::*;

struct Place {
    folder: tempfile::TempDir,
    guard: Guard,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let guard = Guard {
            witnesses: ["witness", "elsewhere"].map(|name| Witness::at(folder.path().join(name))).to_vec(),
            marker: stale_marker(folder.path()),
        };
        Self { folder, guard }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    async fn open(&self) -> Database {
        Database::open(&DatabaseUrl::Sqlite(self.path("db")), &[]).await.unwrap()
    }

    /// Two runs, and a copy from between them.
    async fn with_a_copy() -> Self {
        let place = Self::new();
        for _ in 0..2 {
            let db = place.open().await;
            place.guard.admit(&db).await.unwrap();
            place.guard.advance(&db, [7; 32]).await.unwrap();
            db.close().await;
            if !place.path("copy").exists() {
                fs::copy(place.path("db"), place.path("copy")).unwrap();
            }
        }
        place
    }

    async fn judged(&self) -> Result<(), GuardError> {
        let db = self.open().await;
        let judged = self.guard.admit(&db).await;
        db.close().await;
        judged
    }
}

#[tokio::test]
async fn the_newest_state_starts_and_an_old_copy_does_not() {
    let place = Place::with_a_copy().await;
    place.judged().await.unwrap();
    fs::copy(place.path("copy"), place.path("db")).unwrap();
    assert!(matches!(place.judged().await, Err(GuardError::Stale { found, witnessed, .. })
        if (found.number, witnessed.number) == (1, 2)));
    // The data directory was restored with it: the witness elsewhere knows.
    place.guard.witnesses[0].write(Generation { database_id: [7; 16], number: 1 }).unwrap();
    let elsewhere = place.path("elsewhere");
    assert!(matches!(place.judged().await, Err(GuardError::Stale { witness, .. }) if witness == elsewhere));
}

#[tokio::test]
async fn what_cannot_be_told_does_not_start() {
    let place = Place::with_a_copy().await;
    fs::remove_file(place.path("elsewhere")).unwrap();
    place.judged().await.unwrap();
    fs::remove_file(place.path("witness")).unwrap();
    assert!(matches!(place.judged().await, Err(GuardError::NoWitness { .. })));
    fs::write(place.path("witness"), "").unwrap();
    assert!(matches!(place.judged().await, Err(GuardError::Witness(_))));
    place.guard.witnesses[0].write(Generation { database_id: [8; 16], number: 1 }).unwrap();
    assert!(matches!(place.judged().await, Err(GuardError::Foreign { .. })));
    // The database is lost, and SQLite would begin a new one.
    fs::remove_file(place.path("db")).unwrap();
    assert!(matches!(place.judged().await, Err(GuardError::Foreign { .. })));
}

#[tokio::test]
async fn a_crash_between_count_and_witness_is_no_harm() {
    let place = Place::with_a_copy().await;
    let db = place.open().await;
    db.advance_generation([0; 16]).await.unwrap();
    db.close().await;
    place.judged().await.unwrap();
}

#[tokio::test]
async fn what_a_peer_has_proved_stays_proved_until_it_is_accepted_by_its_number() {
    let place = Place::with_a_copy().await;
    fs::copy(place.path("copy"), place.path("db")).unwrap();
    mark_stale(&place.guard.marker, "a peer said so").unwrap();
    assert!(matches!(place.judged().await, Err(GuardError::ProvedStale { .. })));
    let db = place.open().await;
    assert!(matches!(place.guard.accept(&db, 2).await, Err(GuardError::OtherGeneration { .. })));
    assert!(matches!(place.guard.admit(&db).await, Err(GuardError::ProvedStale { .. })));
    place.guard.accept(&db, 1).await.unwrap();
    place.guard.admit(&db).await.unwrap();
    db.close().await;
}
