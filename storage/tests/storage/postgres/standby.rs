//! A real standby of the server, promoted.

use std::net::TcpListener;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use sqlx::{Connection as _, PgConnection};
use storage::testing::Scratch;
use storage::{Database, DatabaseUrl, Failure, StorageError};

use super::cutter::Cutter;
use crate::{NOTES, add_note, note_ids};

/// Keeps the server until its own input ends, which it does with this process.
const KEEPER: &str = r#""$@" & server=$!; cat >/dev/null; kill -INT "$server"; wait "$server""#;

/// The slot that keeps what the standby has not heard yet: other tests' checkpoints would remove it.
fn slot() -> String {
    format!("test_{}", std::process::id())
}

/// Settings that a standby may not have lower than its primary, which may have them from its command line.
const SETTINGS: [&str; 5] = [
    "max_connections",
    "max_worker_processes",
    "max_wal_senders",
    "max_prepared_transactions",
    "max_locks_per_transaction",
];

/// How long a server may take for what it was told; many times what it takes on a busy machine.
const DEADLINE: Duration = Duration::from_secs(120);

const PAUSE: Duration = Duration::from_millis(50);

/// Asks again until the answer is yes.
///
/// # Panics
/// If it is not by [`DEADLINE`], with what `log` says.
async fn until(what: &str, mut asked: impl AsyncFnMut() -> bool, log: impl FnOnce() -> String) {
    let started = Instant::now();
    while !asked().await {
        assert!(
            started.elapsed() < DEADLINE,
            "{what} took more than {DEADLINE:?}; the standby says: {}",
            log()
        );
        tokio::time::sleep(PAUSE).await;
    }
}

struct Standby {
    keeper: Child,
    folder: tempfile::TempDir,
    url: String,
    address: String,
}

async fn connect(url: &str) -> PgConnection {
    PgConnection::connect(url).await.unwrap()
}

async fn ask(connection: &mut PgConnection, sql: &'static str) -> String {
    sqlx::query_scalar(sql).fetch_one(connection).await.unwrap()
}

/// Whom the server's files belong to: root cannot run it.
fn owner(path: &str) -> (u32, u32) {
    let metadata = Path::new(path).metadata().unwrap();
    (metadata.uid(), metadata.gid())
}

impl Standby {
    async fn start(primary: &Scratch) -> Self {
        let mut connection = connect(primary.url_text()).await;
        let programs = primary.programs();
        let (uid, gid) = owner(&ask(&mut connection, "SELECT current_setting('data_directory')").await);
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        let copied = Command::new(programs.join("pg_basebackup"))
            .args(["-R", "-X", "stream", "-c", "fast", "-C", "-S", &slot(), "-d", primary.url_text(), "-D"])
            .arg(&data)
            .output()
            .unwrap();
        assert!(copied.status.success(), "{}", String::from_utf8_lossy(&copied.stderr));
        let owned = Command::new("chown").arg("-R").arg(format!("{uid}:{gid}")).arg(folder.path()).status();
        assert!(owned.unwrap().success());
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut keeper = Command::new("sh");
        keeper.args(["-c", KEEPER, "sh"]).arg(programs.join("postgres")).arg("-D").arg(&data);
        keeper.args(["-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories="]);
        for setting in SETTINGS {
            let value: String = sqlx::query_scalar("SELECT current_setting($1)")
                .bind(setting)
                .fetch_one(&mut connection)
                .await
                .unwrap();
            keeper.arg("-c").arg(format!("{setting}={value}"));
        }
        keeper.arg("-c").arg(format!("port={port}")).uid(uid).gid(gid).current_dir(folder.path());
        let log = std::fs::File::create(folder.path().join("log")).unwrap();
        keeper.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(log);
        let keeper = keeper.spawn().unwrap();
        let address = format!("127.0.0.1:{port}");
        let (before, behind) = primary.url_text().split_once('@').unwrap();
        let (_, database) = behind.split_once('/').unwrap();
        let url = format!("{before}@{address}/{database}");
        Self { keeper, folder, url, address }
    }

    fn url(&self) -> DatabaseUrl {
        self.url.parse().unwrap()
    }

    /// Until the standby answers, and has every batch of the primary.
    async fn catch_up(&self, primary: &Scratch) {
        let batch = "SELECT batch::text FROM database_writer";
        let wanted = ask(&mut connect(primary.url_text()).await, batch).await;
        let has_all = async || match PgConnection::connect(&self.url).await {
            Ok(mut standby) => sqlx::query_scalar::<_, String>(batch)
                .fetch_one(&mut standby)
                .await
                .is_ok_and(|found| found == wanted),
            Err(_) => false,
        };
        until("catching up", has_all, || self.log()).await;
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// Without a query on the standby that waits for it: replayed changes of others may cancel one.
    async fn promote(&self, primary: &Scratch) {
        let _: bool = sqlx::query_scalar("SELECT pg_promote(false)")
            .fetch_one(&mut connect(&self.url).await)
            .await
            .unwrap();
        let is_standby = "SELECT pg_is_in_recovery()::text";
        let is_promoted = async || ask(&mut connect(&self.url).await, is_standby).await == "false";
        until("the promotion", is_promoted, || self.log()).await;
        self.give_up_slot(primary).await;
    }

    /// Once the primary has noticed that nobody listens any more.
    async fn give_up_slot(&self, primary: &Scratch) {
        let mut primary = connect(primary.url_text()).await;
        let slot = slot();
        let drop_it = format!(
            "SELECT COUNT(pg_drop_replication_slot(slot_name))::text FROM pg_replication_slots \
             WHERE slot_name = '{slot}' AND NOT active"
        );
        let left = format!("SELECT COUNT(*)::text FROM pg_replication_slots WHERE slot_name = '{slot}'");
        let is_gone = async || {
            let mut ask = async |sql: &str| -> String {
                sqlx::query_scalar(sqlx::AssertSqlSafe(sql)).fetch_one(&mut primary).await.unwrap()
            };
            ask(&drop_it).await;
            ask(&left).await == "0"
        };
        until("giving up the slot", is_gone, || self.log()).await;
    }

    async fn refused(&self) -> StorageError {
        Database::open(&self.url(), &[NOTES]).await.err().unwrap()
    }
}

impl Drop for Standby {
    fn drop(&mut self) {
        drop(self.keeper.stdin.take());
        let _ = self.keeper.wait();
    }
}

/// Refused as a standby; refused once promoted, unless a process that knows what it committed finds all of it there, or an operator
/// says so; and left by a process that does not find all of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_standby_is_used_only_with_all_that_was_committed() {
    let Some(primary) = Scratch::postgres() else { return };
    let cutter = Cutter::start(&primary).await;
    let db = Database::open(&cutter.url(), &[NOTES]).await.unwrap();
    add_note(&db, 1, "on the primary").await.unwrap();
    let standby = Standby::start(&primary).await;
    add_note(&db, 2, "on the primary").await.unwrap();
    standby.catch_up(&primary).await;
    let error = standby.refused().await;
    assert!(
        matches!(&error, StorageError::Unsuitable { reason, .. } if reason.contains("standby")),
        "{error}"
    );

    standby.promote(&primary).await;
    let error = standby.refused().await;
    assert!(matches!(&error, StorageError::Moved { .. }), "{error}");

    cutter.redirect(&standby.address);
    add_note(&db, 3, "on the new primary").await.unwrap();
    assert_eq!(note_ids(&db).await, [1, 2, 3]);
    db.close().await;
    Database::open(&standby.url(), &[NOTES]).await.unwrap().close().await;

    // The old primary was not fenced, and somebody goes on there.
    let old = Scratch::open(&primary, &[NOTES]).await;
    assert_eq!(note_ids(&old).await, [1, 2]);
    old.close().await;
    let (_, address) = primary.url_text().split_once('@').unwrap();
    cutter.redirect(address.split_once('/').unwrap().0);
    let db = Database::open(&cutter.url(), &[NOTES]).await.unwrap();
    for id in 4..8 {
        add_note(&db, id, "on the old primary").await.unwrap();
    }
    cutter.redirect(&standby.address);
    add_note(&db, 8, "on what is not there").await.unwrap_err();
    assert!(matches!(db.failed().await, Failure::WentBack));
}
