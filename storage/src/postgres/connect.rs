//! How a Postgres database is connected to, and which servers are refused.

use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgConnection, PgPool, PgPoolOptions};
use sqlx::{ConnectOptions as _, Connection as _, Row as _};

use super::PostgresUrl;
use crate::StorageError;
use crate::database::Durability;

/// Sessions of the server that reads take.
const READERS_MAX: u32 = 8;

/// How long a read waits for one of them, or for the server.
const READER_WAIT_MAX: Duration = Duration::from_secs(10);

/// How long a connection may take to be made.
const CONNECT_TIME_MAX: Duration = Duration::from_secs(10);

const STATEMENTS_CACHED: usize = 512;

/// `server_version_num` of the oldest server: `client_connection_check_interval` came with 14.
const VERSION_MIN: i32 = 140_000;

/// No server and no role gives up on a session of ours by itself, and a session whose process is gone ends within half a minute, in
/// the middle of a statement too: it has the lease.
const SESSION: [(&str, &str); 8] = [
    ("statement_timeout", "0"),
    ("lock_timeout", "0"),
    ("idle_in_transaction_session_timeout", "0"),
    ("idle_session_timeout", "0"),
    ("client_connection_check_interval", "2s"),
    ("tcp_keepalives_idle", "10"),
    ("tcp_keepalives_interval", "5"),
    ("tcp_keepalives_count", "3"),
];

fn options(url: &PostgresUrl) -> PgConnectOptions {
    url.options()
        .application_name("lightning-rod")
        .options(SESSION)
        .statement_cache_capacity(STATEMENTS_CACHED)
        .disable_statement_logging()
}

async fn connect(url: &PostgresUrl, options: PgConnectOptions) -> Result<PgConnection, StorageError> {
    let late = || sqlx::Error::Io(std::io::ErrorKind::TimedOut.into());
    tokio::time::timeout(CONNECT_TIME_MAX, PgConnection::connect_with(&options))
        .await
        .unwrap_or_else(|_| Err(late()))
        .map_err(|source| StorageError::Connect { database: url.to_string(), source: source.into() })
}

/// A session that may write, on a server that is to be trusted with it.
pub(super) async fn writer(url: &PostgresUrl, durability: Durability) -> Result<PgConnection, StorageError> {
    let mut connection = connect(url, options(url)).await?;
    let unsuitable = refusal(&mut connection).await?;
    match durability {
        Durability::Synced => match unsuitable {
            Some(reason) => Err(StorageError::Unsuitable { database: url.to_string(), reason }),
            None => Ok(connection),
        },
        #[cfg(feature = "faults")]
        Durability::Unsynced => {
            sqlx::raw_sql("SET synchronous_commit = off").execute(&mut connection).await?;
            Ok(connection)
        }
    }
}

/// One to look around with, on any server.
pub(super) async fn onlooker(url: &PostgresUrl) -> Result<PgConnection, StorageError> {
    connect(url, options(url)).await
}

pub(super) async fn readers(url: &PostgresUrl) -> Result<PgPool, StorageError> {
    PgPoolOptions::new()
        .max_connections(READERS_MAX)
        .acquire_timeout(READER_WAIT_MAX)
        .idle_timeout(None)
        .connect_with(options(url).options([("default_transaction_read_only", "on")]))
        .await
        .map_err(|source| StorageError::Connect { database: url.to_string(), source: source.into() })
}

/// Why channel state must not be given to this server, if it must not.
pub(super) async fn refusal(connection: &mut PgConnection) -> Result<Option<String>, StorageError> {
    let sql = "SELECT current_setting('server_version_num')::integer AS version, pg_is_in_recovery() AS is_standby, \
               current_setting('fsync') AS fsync, current_setting('synchronous_commit') AS synchronous_commit, \
               current_setting('server_encoding') AS encoding, current_setting('transaction_read_only') AS read_only, \
               current_schema() AS schema";
    let row = sqlx::query(sql).fetch_one(connection).await?;
    let text = |column| row.try_get::<String, _>(column);
    let version: i32 = row.try_get("version")?;
    let synchronous_commit = text("synchronous_commit")?;
    Ok(if version < VERSION_MIN {
        Some(format!("its version is {version}, and {VERSION_MIN} or newer is needed"))
    } else if row.try_get("is_standby")? {
        Some("it is a standby, which may lack the newest channel state: use the primary".to_owned())
    } else if text("fsync")? != "on" {
        Some("`fsync` is off: a commit would not be on disk when it is answered".to_owned())
    } else if !["on", "remote_apply"].contains(&synchronous_commit.as_str()) {
        Some(format!(
            "`synchronous_commit` is {synchronous_commit}: a commit would be answered before it is safe; set it to on"
        ))
    } else if text("encoding")? != "UTF8" {
        Some("the database's encoding is not UTF8".to_owned())
    } else if text("read_only")? != "off" {
        Some("its transactions only read (`default_transaction_read_only`)".to_owned())
    } else if row.try_get::<Option<String>, _>("schema")?.is_none() {
        Some("the first schema of `search_path` does not exist".to_owned())
    } else {
        None
    })
}
