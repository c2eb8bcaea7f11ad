//! Databases for tests, of both kinds. Only with the feature `testing`, which no release has.

mod dump;
mod schema;

use std::env;
use std::fmt;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, Connection as _};

use crate::postgres::codes;
use crate::postgres::query::fetch;
use crate::session::Wanted;
use crate::{Database, DatabaseUrl, MigrationSet, Row, TroubleKind, Value};

pub use schema::{assert_migrations_listed, schema};

/// Names a Postgres server to the tests, by the URL of a database on it whose user may create others. `cargo xtask test` sets it.
/// Without it the tests on Postgres are skipped.
pub const POSTGRES_URL_VAR: &str = "LIGHTNING_ROD_POSTGRES_URL";

/// `postgres` here lets [`Scratch::usual`] be on Postgres, where it can be.
pub const USUAL_VAR: &str = "LIGHTNING_ROD_TEST_ON";

/// A fresh, empty database, gone when this is dropped.
pub struct Scratch {
    url: DatabaseUrl,
    text: String,
    _folder: Option<tempfile::TempDir>,
    server: Option<(PgConnectOptions, String)>,
}

impl fmt::Debug for Scratch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.url.fmt(f)
    }
}

impl Scratch {
    /// A file in a folder of its own.
    ///
    /// # Panics
    /// If the folder cannot be made.
    #[must_use]
    pub fn sqlite() -> Self {
        let folder = must(tempfile::tempdir(), "a temporary folder");
        let path = folder.path().join("test.db");
        let text = format!("sqlite:{}", path.display());
        Self { url: DatabaseUrl::Sqlite(path), text, _folder: Some(folder), server: None }
    }

    /// A database on the server that [`POSTGRES_URL_VAR`] names; none, and a line that says so, if it names none.
    ///
    /// # Panics
    /// If the server cannot be used; or if none is named in CI (`CI` is set), where Postgres is installed.
    #[must_use]
    pub fn postgres() -> Option<Self> {
        static DATABASES: AtomicU64 = AtomicU64::new(0);
        let Some(server) = env::var(POSTGRES_URL_VAR).ok().filter(|url| !url.is_empty()) else {
            let is_ci = env::var_os("CI").is_some_and(|value| !value.is_empty());
            assert!(
                !(is_ci && is_installed()),
                "Postgres is installed, and {POSTGRES_URL_VAR} names no server: `cargo xtask test` starts one"
            );
            eprintln!("SKIPPED on Postgres: {POSTGRES_URL_VAR} names no server");
            return None;
        };
        let number = DATABASES.fetch_add(1, Ordering::Relaxed);
        let name = format!("test_{}_{number}", std::process::id());
        let options: PgConnectOptions = must(server.parse(), POSTGRES_URL_VAR);
        on_server(&options, format!("CREATE DATABASE {name}"));
        let (before, query) = server.find('?').map_or((&*server, ""), |at| server.split_at(at));
        let (server, _) = must(before.rsplit_once('/').ok_or("no database"), POSTGRES_URL_VAR);
        let text = format!("{server}/{name}{query}");
        let url = must(text.parse(), POSTGRES_URL_VAR);
        Some(Self { url, text, _folder: None, server: Some((options, name)) })
    }

    /// For a test that runs on one kind: SQLite, or what [`USUAL_VAR`] says. `cargo xtask test` runs the server's tests once with each.
    ///
    /// # Panics
    /// If it cannot be made.
    #[must_use]
    pub fn usual() -> Self {
        if usual_is_postgres() {
            must(Self::postgres().ok_or("no server"), POSTGRES_URL_VAR)
        } else {
            Self::sqlite()
        }
    }

    /// Another one of the same kind.
    ///
    /// # Panics
    /// If it cannot be made.
    #[must_use]
    pub fn another(&self) -> Self {
        if self.is_postgres() {
            must(Self::postgres().ok_or("gone"), POSTGRES_URL_VAR)
        } else {
            Self::sqlite()
        }
    }

    #[must_use]
    pub fn is_postgres(&self) -> bool {
        self.server.is_some()
    }

    #[must_use]
    pub fn url(&self) -> &DatabaseUrl {
        &self.url
    }

    /// The URL as it would stand in a config, with its password.
    #[must_use]
    pub fn url_text(&self) -> &str {
        &self.text
    }

    /// Opens it.
    ///
    /// # Panics
    /// If it cannot be opened.
    pub async fn open(&self, sets: &[MigrationSet]) -> Database {
        must(Database::open(&self.url, sets).await, "opening the database")
    }

    /// Runs statements as somebody else, who is connected to the same server; to another database of it, as its administrator.
    ///
    /// # Panics
    /// If they fail, or if this is no Postgres database.
    pub fn on_server(&self, sql: &str) {
        let (options, _) = must(self.server.as_ref().ok_or("it is SQLite"), "a server");
        on_server(options, sql.to_owned());
    }

    /// As [`Scratch::on_server`], in this database.
    ///
    /// # Panics
    /// As [`Scratch::on_server`].
    pub fn in_database(&self, sql: &str) {
        let (options, name) = must(self.server.as_ref().ok_or("it is SQLite"), "a server");
        on_server(&options.clone().database(name), sql.to_owned());
    }

    /// What so many sessions at once get from a statement that they repeat, each in transactions of its own, until it gives no row
    /// any more: how many rows in all. As if there were no one writer.
    ///
    /// # Panics
    /// As [`Scratch::on_server`].
    pub async fn rows_of_sessions(&self, sessions: usize, sql: &'static str, params: &[Value]) -> u64 {
        let work = async |mut session: TestSession| {
            let mut rows = 0;
            loop {
                match session.fetch(sql, params).await.len() {
                    0 => return rows,
                    more => rows += more as u64,
                }
            }
        };
        self.in_sessions(sessions, work).await.into_iter().sum()
    }

    /// Works in so many sessions at once, without the one writer, and answers what each has come to.
    ///
    /// # Panics
    /// As [`Scratch::on_server`].
    pub async fn in_sessions<T>(&self, sessions: usize, work: impl AsyncFn(TestSession) -> T) -> Vec<T> {
        let (options, name) = must(self.server.as_ref().ok_or("it is SQLite"), "a server");
        let options = options.clone().database(name);
        let one = async || {
            let connection = must(PgConnection::connect_with(&options).await, POSTGRES_URL_VAR);
            work(TestSession(connection)).await
        };
        futures::future::join_all((0..sessions).map(|_| one())).await
    }

    /// Ends every session that the database has, as a server that fails does.
    ///
    /// # Panics
    /// As [`Scratch::on_server`].
    pub fn end_sessions(&self) {
        let (_, name) = must(self.server.as_ref().ok_or("it is SQLite"), "a server");
        self.on_server(&format!(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"
        ));
    }
}

/// A session of a Postgres server, each statement of which is a transaction of its own.
pub struct TestSession(PgConnection);

impl fmt::Debug for TestSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TestSession")
    }
}

impl TestSession {
    /// All rows of a statement.
    ///
    /// # Panics
    /// If it fails.
    pub async fn fetch(&mut self, sql: &'static str, params: &[Value]) -> Vec<Row> {
        loop {
            match fetch(&mut self.0, sql, params, Wanted::All).await {
                Ok(rows) => return rows,
                // A deadlock: Postgres has undone one of the two.
                Err(error) if codes::trouble(&error) == Some(TroubleKind::Locked) => {}
                Err(error) => panic!("the statement: {error}"),
            }
        }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Some((options, name)) = &self.server
            && !std::thread::panicking()
        {
            on_server(options, format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)"));
        }
    }
}

/// Whether [`USUAL_VAR`] says so.
#[must_use]
pub fn usual_is_postgres() -> bool {
    env::var_os(USUAL_VAR).is_some_and(|kind| kind == "postgres")
}

/// Whether there are the programs that `cargo xtask test` starts a server with: on `PATH`, or where Debian's packages put them.
fn is_installed() -> bool {
    let has_both = |folder: &Path| ["initdb", "postgres"].iter().all(|name| folder.join(name).is_file());
    let path = env::var_os("PATH").unwrap_or_default();
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    env::split_paths(&path)
        .chain(versions.map(|version| version.path().join("bin")))
        .any(|folder| has_both(&folder))
}

fn on_server(options: &PgConnectOptions, sql: String) {
    connected(options, async move |connection| {
        must(sqlx::raw_sql(AssertSqlSafe(sql)).execute(connection).await, "the statement");
    });
}

/// The one text that a query gives.
fn answer_of_server(options: &PgConnectOptions, sql: &'static str) -> String {
    connected(options, async move |connection| {
        must(sqlx::query_scalar(sql).fetch_one(connection).await, "the query")
    })
}

/// On a thread and a runtime of its own: whoever calls may be in the middle of another, or have none.
fn connected<T: Send + 'static>(
    options: &PgConnectOptions,
    work: impl AsyncFnOnce(&mut PgConnection) -> T + Send + 'static,
) -> T {
    let options = options.clone();
    let thread = std::thread::spawn(move || {
        let runtime = must(tokio::runtime::Builder::new_current_thread().enable_all().build(), "a runtime");
        runtime.block_on(async {
            let mut connection = must(PgConnection::connect_with(&options).await, POSTGRES_URL_VAR);
            let done = work(&mut connection).await;
            must(connection.close().await, "the connection's end");
            done
        })
    });
    must(thread.join().map_err(|_| "it panicked"), "the server's administrator")
}

fn must<T, E: fmt::Debug>(result: Result<T, E>, what: &str) -> T {
    match result {
        Ok(value) => value,
        Err(error) => panic!("{what}: {error:?}"),
    }
}

/// Makes of each function `async fn name(scratch: Scratch)` a test on SQLite and one on Postgres. `threads` before the names
/// gives each test two threads.
#[macro_export]
macro_rules! on_both {
    (threads: $($name:ident),+ $(,)?) => {
        $crate::on_both!(@tests on_both_with_threads (flavor = "multi_thread", worker_threads = 2) $($name)+);
    };
    ($($name:ident),+ $(,)?) => {
        $crate::on_both!(@tests on_both () $($name)+);
    };
    (@tests $module:ident $flavor:tt $($name:ident)+) => {
        mod $module {
            mod sqlite {
                $($crate::on_both!(@sqlite $name $flavor);)+
            }
            mod postgres {
                $($crate::on_both!(@postgres $name $flavor);)+
            }
        }
    };
    (@sqlite $name:ident ($($flavor:tt)*)) => {
        #[tokio::test($($flavor)*)]
        async fn $name() {
            super::super::$name($crate::testing::Scratch::sqlite()).await;
        }
    };
    (@postgres $name:ident ($($flavor:tt)*)) => {
        #[tokio::test($($flavor)*)]
        async fn $name() {
            if let Some(scratch) = $crate::testing::Scratch::postgres() {
                super::super::$name(scratch).await;
            }
        }
    };
}
