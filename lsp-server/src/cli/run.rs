//! `lsp-server run`.

use std::fs;
use std::io;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, UnixStream};
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::{CliError, exit};
use crate::config::Config;
use crate::error::{ServerError, with_causes};
use crate::guard::stale_marker;
use crate::http::{HttpServers, admin};
use crate::logging::{self, LogFormat};
use crate::server::Server;

/// How long a stop waits for a database that cannot be written.
const STOP_IN_TROUBLE: Duration = Duration::from_secs(10);

/// Run the server, until SIGTERM or SIGINT.
///
/// It stops gracefully: nothing is lost, and the next start has nothing to mend. A second signal ends it at once, which is
/// safe too, but leaves the mending to the next start. Logs go to stderr; RUST_LOG filters them.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// How log lines look.
    #[arg(long, value_enum, default_value_t, env = "LSP_LOG_FORMAT")]
    log_format: LogFormat,
}

pub(super) async fn run(data_dir: &Path, arguments: Arguments) -> Result<ExitCode, CliError> {
    logging::init(arguments.log_format);
    super::panic::install(stale_marker(data_dir));
    let outcome = serve(data_dir).await;
    match (outcome, arguments.log_format) {
        // Machines read stderr: the last word is a line for them too.
        (Err(error), LogFormat::Json) => {
            tracing::error!(error = with_causes(&error), "the server ends");
            Ok(exit::code(&error))
        }
        (outcome, _) => outcome,
    }
}

async fn serve(data_dir: &Path) -> Result<ExitCode, CliError> {
    let mut signals = Signals::new()?;
    let config = Config::load(data_dir).map_err(ServerError::from)?;
    // Said by its name: else it would be the port that is in use, or the database. That no two run is for the lease to see to.
    if UnixStream::connect(config.admin_socket_path()).await.is_ok() {
        return Err(CliError::Running { data_dir: data_dir.to_owned() });
    }
    // The port first: one in use is the commonest mistake, and nothing was touched yet.
    let address = config.http.listen;
    let public =
        TcpListener::bind(address).await.map_err(|source| ServerError::HttpListen { address, source })?;
    let metrics = match config.metrics.listen {
        Some(address) => Some(
            TcpListener::bind(address)
                .await
                .map_err(|source| ServerError::MetricsListen { address, source })?,
        ),
        None => None,
    };
    if let Some(files) = &config.http.tls {
        files.load().map_err(ServerError::from)?;
    }
    tracing::info!(version = env!("CARGO_PKG_VERSION"), data_dir = %data_dir.display(), "starting");

    let socket_path = config.admin_socket_path();
    let server = tokio::select! {
        server = Server::start(config) => server?,
        name = signals.next() => {
            tracing::info!(signal = name, "stopped before the server was up");
            return Ok(ExitCode::SUCCESS);
        }
    };
    let socket = match admin::bind(&socket_path) {
        Ok(socket) => socket,
        Err(error) => {
            server.stop().await;
            return Err(error.into());
        }
    };
    let metrics_address = metrics.as_ref().and_then(|metrics| metrics.local_addr().ok());
    let tls = server.config().http.tls.is_some();
    let http = match HttpServers::start(&server, public, metrics, socket) {
        Ok(http) => http,
        Err(error) => {
            server.stop().await;
            return Err(ServerError::from(error).into());
        }
    };
    tracing::info!(%address, tls, metrics = ?metrics_address, socket = %socket_path.display(), "serving HTTP");
    let outcome = watch(server, http, &mut signals).await;
    if outcome.is_ok()
        && let Err(error) = fs::remove_file(&socket_path)
    {
        tracing::debug!(%error, "the admin socket was gone already");
    }
    outcome
}

/// Until a signal, or until the database fails: then whatever this process knows is ahead of the disk, and it must go
/// without another word to anyone.
async fn watch(server: Arc<Server>, http: HttpServers, signals: &mut Signals) -> Result<ExitCode, CliError> {
    let database = server.database().clone();
    tokio::select! {
        failure = database.failed() => return Err(database_failed(failure)),
        name = signals.next() => tracing::info!(signal = name, "stopping"),
    }
    let stopped = async {
        http.stop().await;
        server.stop().await;
    };
    tokio::select! {
        () = stopped => {
            let stats = database.stats();
            tracing::info!(
                commits = stats.commits,
                transactions = stats.transactions,
                kv_writes = stats.kv_writes,
                kv_removes = stats.kv_removes,
                "stopped"
            );
            Ok(ExitCode::SUCCESS)
        }
        failure = database.failed() => Err(database_failed(failure)),
        () = stays_in_trouble(&database) => {
            tracing::warn!(
                "the database still cannot be written: ending all the same; what waits was promised to nobody"
            );
            Ok(ExitCode::FAILURE)
        }
        name = signals.next() => {
            tracing::warn!(signal = name, "a second signal: ending at once");
            Ok(ExitCode::FAILURE)
        }
    }
}

/// Returns when the database has been in trouble for all of [`STOP_IN_TROUBLE`], from now on.
async fn stays_in_trouble(database: &storage::Database) {
    let mut trouble = database.watch_trouble();
    loop {
        // The handle that is borrowed here keeps the sender alive.
        let _ = trouble.wait_for(Option::is_some).await;
        let over = trouble.wait_for(Option::is_none);
        if tokio::time::timeout(STOP_IN_TROUBLE, over).await.is_err() {
            return;
        }
    }
}

fn database_failed(failure: storage::Failure) -> CliError {
    tracing::error!(
        error = &failure as &dyn std::error::Error,
        "the database failed; the server stops at once, so that nothing is lost"
    );
    CliError::DatabaseFailed(failure)
}

/// The signals that ask the server to stop, and the one that must not end it.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    /// A file has reached the size that it may have. The write that is refused is an error like any other of the disk.
    _file_size: Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        let file_size = SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw());
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            _file_size: signal(file_size)?,
        })
    }

    /// The name of the next one.
    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}
