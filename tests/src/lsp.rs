//! `lsp-server` processes.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use protocol::api::public::HealthResponse;

use crate::bitcoind::{Bitcoind, RPC_PASSWORD, RPC_USER};
use crate::failure::Failure;
use crate::ports::free_port;
use crate::process::{self, Output, Process};
use crate::wait::{SOON, Seen, wait_until};

mod commands;
#[cfg(feature = "puppet")]
mod database;
mod fees;
mod supervised;

pub use commands::ChannelTerms;
pub use fees::FeePolicy;

#[cfg(feature = "puppet")]
use database::OwnDatabase;

const PROGRAM: &str = "lsp-server";
/// How long a graceful stop may take.
const STOP_TIMEOUT: Duration = Duration::from_secs(60);

/// One LSP with its data folder, running or not.
#[derive(Debug)]
pub struct Lsp {
    name: String,
    data_dir: PathBuf,
    log: PathBuf,
    listen: SocketAddr,
    http: SocketAddr,
    metrics: SocketAddr,
    fees: FeePolicy,
    settings: Vec<(String, String)>,
    node_id: String,
    process: Option<Process>,
    /// Last, so that it is removed when the process has ended.
    #[cfg(feature = "puppet")]
    _database: OwnDatabase,
}

impl Lsp {
    /// Runs `lsp-server init` in `folder`, with `settings` (`("push.allow_private_addresses", "true")`) on top of what it writes,
    /// and starts it.
    ///
    /// # Errors
    ///
    /// When it does not come up.
    pub async fn start_new(
        name: &str,
        folder: &Path,
        bitcoind: &Bitcoind,
        fees: FeePolicy,
        settings: &[(&str, &str)],
    ) -> Result<Self, Failure> {
        let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()?));
        let http = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()?));
        let metrics = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()?));
        let mut settings: Vec<(String, String)> =
            settings.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let own = [
            ("lightning.fee_base_msat", fees.base_msat.to_string()),
            ("lightning.fee_proportional_millionths", fees.proportional_millionths.to_string()),
            // The other LSP finds this one by it.
            ("lightning.announced_addresses", listen.to_string()),
            // The phones' webhooks are on this machine, and without TLS.
            ("push.allow_private_addresses", "true".to_owned()),
            ("metrics.listen", metrics.to_string()),
        ];
        settings.extend(own.map(|(key, value)| (key.to_owned(), value)));
        #[cfg(feature = "puppet")]
        let database = OwnDatabase::new(&mut settings);
        let mut lsp = Self {
            name: name.to_owned(),
            data_dir: folder.join(name),
            log: folder.join(format!("{name}.log")),
            listen,
            http,
            metrics,
            fees,
            settings,
            node_id: String::new(),
            process: None,
            #[cfg(feature = "puppet")]
            _database: database,
        };
        let (listen, http) = (listen.to_string(), http.to_string());
        let init =
            ["init", "--network", "regtest", "--alias", name, "--listen", &listen, "--http-listen", &http];
        let rpc_url = bitcoind.rpc_url();
        let chain = [
            ["--bitcoind-rpc-url", rpc_url.as_str()],
            ["--bitcoind-rpc-user", RPC_USER],
            ["--bitcoind-rpc-password", RPC_PASSWORD],
        ];
        let arguments: Vec<&str> = init.into_iter().chain(chain.into_iter().flatten()).collect();
        process::run(&format!("{name} init"), lsp.command(&arguments)?, None).await?;
        lsp.start().await?;
        Ok(lsp)
    }

    fn command(&self, arguments: &[&str]) -> Result<tokio::process::Command, Failure> {
        let mut command = process::command(process::built_program(PROGRAM)?);
        for (key, value) in &self.settings {
            command.env(format!("LSP__{}", key.to_uppercase().replace('.', "__")), value);
        }
        command.arg("--data-dir").arg(&self.data_dir).args(arguments);
        Ok(command)
    }

    /// Starts it again in its folder, and waits until it answers.
    ///
    /// # Errors
    ///
    /// When it ends instead.
    pub async fn start(&mut self) -> Result<(), Failure> {
        self.process = Some(Process::start(&self.name, self.command(&["run"])?, Output::Log(&self.log))?);
        let info = wait_until(&format!("{} to answer", self.name), SOON, async || {
            if let Some(status) = self.process.as_mut().and_then(Process::ended) {
                return Err(Failure::Ended { name: self.name.clone(), status, stderr: self.log_tail(20) });
            }
            Ok(match self.info().await {
                Ok(info) => Seen::Done(info),
                Err(error) => Seen::NotYet(xtask::with_causes(&error)),
            })
        })
        .await?;
        self.node_id = info.node_id.to_string();
        Ok(())
    }

    /// Stops it with SIGTERM.
    ///
    /// # Errors
    ///
    /// When it does not end well, or not in time.
    pub async fn stop(&mut self) -> Result<(), Failure> {
        match self.process.take() {
            Some(process) => process.terminate(STOP_TIMEOUT).await,
            None => Ok(()),
        }
    }

    /// `kill -9`.
    pub async fn kill(&mut self) {
        if let Some(process) = self.process.take() {
            process.kill().await;
        }
    }

    /// Changes a setting, from its next start on.
    pub fn set(&mut self, key: &str, value: &str) {
        self.settings.retain(|(known, _)| known != key);
        self.settings.push((key.to_owned(), value.to_owned()));
    }

    /// Which of `GET /ready`'s checks fail.
    ///
    /// # Errors
    ///
    /// When it does not answer.
    pub async fn not_ready(&self) -> Result<Vec<String>, Failure> {
        let failure = |source| Failure::RpcTransport { method: "GET /ready".to_owned(), source };
        let client = crate::http::client(Duration::from_secs(20))?;
        let answer = client.get(format!("{}/ready", self.api_url())).send().await.map_err(failure)?;
        let health: HealthResponse = answer.json().await.map_err(failure)?;
        Ok(health.checks.into_iter().filter(|check| !check.ok).map(|check| check.name).collect())
    }

    /// Its name in this test.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its node id, in hex.
    pub fn node_id(&self) -> &str {
        &self.node_id
    }

    /// `NODEID@HOST:PORT`.
    pub fn peer_address(&self) -> String {
        format!("{}@{}", self.node_id, self.listen)
    }

    /// Where it takes Lightning connections.
    pub fn listen(&self) -> SocketAddr {
        self.listen
    }

    /// The URL of its device API: `https://localhost:PORT` if the settings name a certificate.
    pub fn api_url(&self) -> String {
        if self.settings.iter().any(|(key, _)| key == "http.tls_certificate") {
            format!("https://localhost:{}", self.http.port())
        } else {
            format!("http://{}", self.http)
        }
    }

    /// The URL of its metrics.
    pub fn metrics_url(&self) -> String {
        format!("http://{}/metrics", self.metrics)
    }

    /// What it was told to take for forwarding.
    pub fn fees(&self) -> FeePolicy {
        self.fees
    }

    /// Where it keeps everything.
    pub fn data_dir(&self) -> &Path {
        &self.data_dir
    }

    /// The process group it runs in, while it does.
    pub fn group(&self) -> Option<i32> {
        self.process.as_ref().map(Process::group)
    }

    /// Everything it logged so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// The last lines that it logged.
    pub fn log_tail(&self, lines: usize) -> String {
        crate::text::tail(&self.log(), lines)
    }
}
