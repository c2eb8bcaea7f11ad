//! `lsp-server` processes.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use protocol::api::admin::{
    ChannelView, DeviceView, HoldDetail, HoldSummary, HoldsCheck, MailboxView, NewAddress, NodeInfo, WakeView,
};
use protocol::api::public::HealthResponse;
use serde::de::DeserializeOwned;

use crate::bitcoind::{Bitcoind, RPC_PASSWORD, RPC_USER};
use crate::failure::Failure;
use crate::ports::free_port;
use crate::process::{self, Output, Process};
use crate::wait::{SOON, Seen, wait_until};

#[cfg(feature = "puppet")]
mod database;
mod supervised;

#[cfg(feature = "puppet")]
use database::OwnDatabase;

const PROGRAM: &str = "lsp-server";
/// How long a graceful stop may take.
const STOP_TIMEOUT: Duration = Duration::from_secs(60);

/// What an LSP takes for forwarding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FeePolicy {
    /// For each HTLC, in millisatoshi.
    pub base_msat: u64,
    /// Of the amount that it forwards.
    pub proportional_millionths: u64,
}

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

impl FeePolicy {
    /// The fee for forwarding `amount_msat`, as BOLT 7 computes it.
    pub fn fee_msat(&self, amount_msat: u64) -> u64 {
        self.base_msat + amount_msat * self.proportional_millionths / 1_000_000
    }

    /// How much of `offered_msat` is left to forward after the fee: the most for which the fee is still paid.
    pub fn forwarded_msat(&self, offered_msat: u64) -> u64 {
        let millionths = u128::from(self.proportional_millionths);
        let after_base = u128::from(offered_msat.saturating_sub(self.base_msat));
        // The fee is rounded down, so that one millisatoshi more may fit than the plain division says.
        let mut amount =
            u64::try_from(after_base * 1_000_000 / (1_000_000 + millionths)).unwrap_or(offered_msat);
        while amount + 1 + self.fee_msat(amount + 1) <= offered_msat {
            amount += 1;
        }
        amount
    }
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

    /// `holds check`
    ///
    /// # Errors
    ///
    /// When the command fails.
    pub async fn check_holds(&self) -> Result<HoldsCheck, Failure> {
        self.ask(&["holds", "check"]).await
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

    /// The URL of its device API.
    pub fn api_url(&self) -> String {
        format!("http://{}", self.http)
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

    /// Runs one of its commands with `--json`, and reads the answer.
    ///
    /// # Errors
    ///
    /// When the command fails, or prints something else than a `T`.
    pub async fn ask<T: DeserializeOwned>(&self, arguments: &[&str]) -> Result<T, Failure> {
        let name = format!("{} {}", self.name, arguments.join(" "));
        let output = self.run(&name, arguments, None).await?;
        serde_json::from_str(&output).map_err(|source| Failure::Output { name, output, source })
    }

    /// Runs one of its commands with `--json` and `input`, and ignores what it prints.
    ///
    /// # Errors
    ///
    /// When the command fails.
    pub async fn tell(&self, arguments: &[&str], input: Option<&str>) -> Result<(), Failure> {
        self.run(&format!("{} {}", self.name, arguments.join(" ")), arguments, input).await.map(|_| ())
    }

    async fn run(&self, name: &str, arguments: &[&str], input: Option<&str>) -> Result<String, Failure> {
        let arguments: Vec<&str> = ["--json"].iter().chain(arguments).copied().collect();
        process::run(name, self.command(&arguments)?, input).await
    }

    /// `node info`
    ///
    /// # Errors
    ///
    /// When the command fails.
    pub async fn info(&self) -> Result<NodeInfo, Failure> {
        self.ask(&["node", "info"]).await
    }

    /// `node address`
    ///
    /// # Errors
    ///
    /// When the command fails.
    pub async fn address(&self) -> Result<String, Failure> {
        Ok(self.ask::<NewAddress>(&["node", "address"]).await?.address)
    }

    /// `node channels`
    ///
    /// # Errors
    ///
    /// When the command fails.
    pub async fn channels(&self) -> Result<Vec<ChannelView>, Failure> {
        self.ask(&["node", "channels"]).await
    }

    /// What it has in channels, to the millisatoshi.
    ///
    /// # Errors
    ///
    /// When the command fails.
    pub async fn balance_msat(&self) -> Result<u64, Failure> {
        Ok(self.info().await?.lightning_balance_msat.0)
    }

    /// `node connect`
    ///
    /// # Errors
    ///
    /// When the command fails.
    pub async fn connect(&self, peer_address: &str) -> Result<(), Failure> {
        self.tell(&["node", "connect", peer_address], None).await
    }

    /// `node open`, tried until the peer is connected.
    ///
    /// # Errors
    ///
    /// When it is still refused after a minute.
    pub async fn open(&self, peer: &str, terms: ChannelTerms) -> Result<(), Failure> {
        let (capacity, push) = (terms.capacity_sat.to_string(), terms.push_msat.to_string());
        let mut arguments = vec!["node", "open", peer, "--capacity-sat", &capacity, "--push-msat", &push];
        if terms.announce {
            arguments.push("--announce");
        }
        wait_until(&format!("{} to open a channel", self.name), SOON, async || {
            match self.tell(&arguments, None).await {
                Ok(()) => Ok(Seen::Done(())),
                Err(error @ Failure::Ended { .. }) => Ok(Seen::NotYet(xtask::with_causes(&error))),
                Err(error) => Err(error),
            }
        })
        .await
    }

    /// `holds list`
    ///
    /// # Errors
    ///
    /// When the command fails.
    pub async fn holds(&self) -> Result<Vec<HoldSummary>, Failure> {
        self.ask(&["holds", "list"]).await
    }

    /// `holds show`: one entry for each payer that used this pid.
    ///
    /// # Errors
    ///
    /// When the command fails.
    pub async fn hold(&self, pid_hash: &str) -> Result<Vec<HoldDetail>, Failure> {
        self.ask(&["holds", "show", pid_hash]).await
    }

    /// `mailbox list`
    ///
    /// # Errors
    ///
    /// When the command fails.
    pub async fn mailbox(&self) -> Result<Vec<MailboxView>, Failure> {
        self.ask(&["mailbox", "list"]).await
    }

    /// `devices list`
    ///
    /// # Errors
    ///
    /// When the command fails.
    pub async fn devices(&self) -> Result<Vec<DeviceView>, Failure> {
        self.ask(&["devices", "list"]).await
    }

    /// `wakes list`
    ///
    /// # Errors
    ///
    /// When the command fails.
    pub async fn wakes(&self) -> Result<Vec<WakeView>, Failure> {
        self.ask(&["wakes", "list"]).await
    }

    /// Waits until `count` of its channels are usable.
    ///
    /// # Errors
    ///
    /// When they are not in time.
    pub async fn wait_for_usable_channels(&self, count: usize) -> Result<(), Failure> {
        wait_until(&format!("{count} usable channels of {}", self.name), SOON, async || {
            let info = self.info().await?;
            let seen = format!("{} of {}, at height {}", info.channels_usable, info.channels, info.height);
            Ok(if info.channels_usable >= count { Seen::Done(()) } else { Seen::NotYet(seen) })
        })
        .await
    }

    /// Waits until it has processed every block of the chain.
    ///
    /// # Errors
    ///
    /// When it has not in time.
    pub async fn wait_for_height(&self, height: u32) -> Result<(), Failure> {
        wait_until(&format!("{} to be at height {height}", self.name), SOON, async || {
            let info = self.info().await?;
            Ok(if info.height.0 >= height { Seen::Done(()) } else { Seen::NotYet(info.height.to_string()) })
        })
        .await
    }
}

/// What kind of channel to open.
#[derive(Clone, Copy, Debug)]
pub struct ChannelTerms {
    /// In satoshi.
    pub capacity_sat: u64,
    /// The peer's from the start.
    pub push_msat: u64,
    /// Public.
    pub announce: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_forwarded_pays_its_fee_and_no_more_would() {
        for fees in [
            FeePolicy { base_msat: 1_000, proportional_millionths: 100 },
            FeePolicy { base_msat: 0, proportional_millionths: 999_999 },
            FeePolicy { base_msat: 7, proportional_millionths: 0 },
        ] {
            for amount in (1..2_000).chain([999_999, 1_000_000, 50_000_000, 2_099_999_999]) {
                let forwarded = fees.forwarded_msat(amount + fees.fee_msat(amount));
                assert!(forwarded >= amount, "{fees:?}: {forwarded} of {amount}");
                assert!(forwarded + fees.fee_msat(forwarded) <= amount + fees.fee_msat(amount));
            }
        }
    }
}
