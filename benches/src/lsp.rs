//! The LSPs that are measured: one process each, started with the shim in it.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use bitcoin::secp256k1::PublicKey;
use protocol::api::admin::NodeInfo;
use tests::bitcoind::{Bitcoind, RPC_PASSWORD, RPC_USER};
use tests::failure::Failure;
use tests::ports::free_port;
use tests::process::{self, Output, Process, built_program};
use tests::wait::{SOON, Seen, wait_until};
use tokio::process::Command;

use crate::shim::{Counters, Durable, Shim};
use crate::usage::{self, Usage};

/// How long a graceful stop may take.
const STOP_TIMEOUT: Duration = Duration::from_secs(60);

/// What our LSP is told besides its defaults: a phone here does in a minute what a real one does in a year.
const SETTINGS: [(&str, &str); 9] = [
    ("HOLDS__HOLDS_MAX", "1000000"),
    ("HOLDS__HOLDS_PER_PEER_MAX", "100000"),
    ("HOLDS__HOLDS_KEPT_PER_PEER_MAX", "100000"),
    ("HOLDS__HELD_HTLCS_MAX", "1000000"),
    ("HOLDS__HELD_HTLCS_PER_PEER_MAX", "100000"),
    ("PEERS__ONION_MESSAGES_PER_SECOND", "100000"),
    ("PEERS__ONION_MESSAGES_BURST", "100000"),
    ("PEERS__CONNECTIONS_PER_ADDRESS_PER_SECOND", "1000"),
    ("PUSH__ALLOW_PRIVATE_ADDRESSES", "true"),
];

/// One running LSP.
pub(crate) struct Lsp {
    process: Process,
    counters: Counters,
    data_dir: PathBuf,
    pub(crate) node_id: PublicKey,
    pub(crate) listen: SocketAddr,
    /// Where the public API answers; a stock LSP has none.
    pub(crate) http: Option<SocketAddr>,
    is_ours: bool,
}

fn listen() -> Result<SocketAddr, Failure> {
    Ok(SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()?)))
}

fn parse_node_id(text: &str) -> Result<PublicKey, Failure> {
    text.parse().map_err(|error| Failure::wrong(format!("{text} is no node id: {error}")))
}

impl Lsp {
    /// `lsp-server`, set up in `folder` under a name.
    pub(crate) async fn ours(
        name: &str,
        folder: &Path,
        bitcoind: &Bitcoind,
        shim: &Shim,
    ) -> Result<Self, Failure> {
        let (data_dir, counters) = (folder.join(name), Counters::new(folder, name)?);
        let log = folder.join(format!("{name}.log"));
        let (listen, http) = (listen()?, listen()?);
        let mut init = command(&data_dir)?;
        init.args(["init", "--network", "regtest", "--alias", name, "--listen", &listen.to_string()]);
        init.args(["--http-listen", &http.to_string()]);
        init.args(["--bitcoind-rpc-url", &bitcoind.rpc_url(), "--bitcoind-rpc-user", RPC_USER]);
        init.args(["--bitcoind-rpc-password", RPC_PASSWORD]);
        process::run("lsp-server init", init, None).await?;
        let mut run = command(&data_dir)?;
        run.arg("run");
        shim.preload(&mut run, &data_dir, &counters);
        let mut process = Process::start("lsp-server", run, Output::Log(&log))?;
        let info = wait_until("lsp-server to answer", SOON, async || {
            if let Some(status) = process.ended() {
                return Err(ended("lsp-server", status, &log));
            }
            Ok(match info(&data_dir).await {
                Ok(info) => Seen::Done(info),
                Err(error) => Seen::NotYet(xtask::with_causes(&error)),
            })
        })
        .await?;
        Ok(Self {
            process,
            counters,
            data_dir,
            node_id: info.node_id,
            listen,
            http: Some(http),
            is_ours: true,
        })
    }

    /// ldk-node as released, with coins for its reserves.
    pub(crate) async fn stock(
        program: &Path,
        folder: &Path,
        bitcoind: &Bitcoind,
        shim: &Shim,
    ) -> Result<Self, Failure> {
        /// For its channels' reserves.
        const COINS_SAT: u64 = 1_000_000;
        let (data_dir, counters) = (folder.join("stock"), Counters::new(folder, "stock")?);
        std::fs::create_dir_all(&data_dir)
            .map_err(|source| Failure::File { path: data_dir.clone(), source })?;
        let listen = listen()?;
        let mut run = process::command(program);
        run.arg(&data_dir).arg(listen.to_string()).arg(bitcoind.rpc_port().to_string());
        run.args([RPC_USER, RPC_PASSWORD]);
        shim.preload(&mut run, &data_dir, &counters);
        let log = folder.join("stock.log");
        let mut process = Process::start("stock-lsp", run, Output::Log(&log))?;
        let node_id = said("node_id", &mut process, &log).await?;
        let address = said("address", &mut process, &log).await?;
        bitcoind.send(&address, COINS_SAT).await?;
        bitcoind.mine(1).await?;
        said("funded", &mut process, &log).await?;
        let node_id = parse_node_id(&node_id)?;
        Ok(Self { process, counters, data_dir, node_id, listen, http: None, is_ours: false })
    }

    /// What it has used since it started.
    pub(crate) async fn usage(&self) -> Result<Usage, Failure> {
        // The command first: asking costs the LSP something too.
        let commits = if self.is_ours { Some(info(&self.data_dir).await?.database.commits) } else { None };
        let pid = self.process.group();
        Ok(Usage {
            cpu: usage::cpu(pid)?,
            durable: self.counters.read()?,
            written_bytes: usage::written_bytes(pid)?,
            commits,
        })
    }

    /// What it made durable since it started.
    pub(crate) fn durable(&self) -> Result<Durable, Failure> {
        self.counters.read()
    }

    /// Its process id, for a profiler.
    pub(crate) fn pid(&self) -> i32 {
        self.process.group()
    }

    pub(crate) async fn stop(self) -> Result<(), Failure> {
        if self.is_ours {
            self.process.terminate(STOP_TIMEOUT).await
        } else {
            self.process.kill().await;
            Ok(())
        }
    }
}

fn command(data_dir: &Path) -> Result<Command, Failure> {
    let mut command = process::command(built_program("lsp-server")?);
    for (key, value) in SETTINGS {
        command.env(format!("LSP__{key}"), value);
    }
    command.arg("--data-dir").arg(data_dir);
    Ok(command)
}

async fn info(data_dir: &Path) -> Result<NodeInfo, Failure> {
    let name = "lsp-server node info".to_owned();
    let mut command = command(data_dir)?;
    command.args(["--json", "node", "info"]);
    let output = process::run(&name, command, None).await?;
    serde_json::from_str(&output).map_err(|source| Failure::Output { name, output, source })
}

/// The rest of the line in `log` that starts with `word`.
async fn said(word: &str, process: &mut Process, log: &Path) -> Result<String, Failure> {
    wait_until(&format!("stock-lsp to say {word}"), SOON, async || {
        if let Some(status) = process.ended() {
            return Err(ended("stock-lsp", status, log));
        }
        let text = std::fs::read_to_string(log).unwrap_or_default();
        let rest = text.lines().find_map(|line| line.strip_prefix(word));
        Ok(rest.map_or_else(|| Seen::NotYet("nothing".to_owned()), |rest| Seen::Done(rest.trim().to_owned())))
    })
    .await
}

fn ended(name: &str, status: std::process::ExitStatus, log: &Path) -> Failure {
    let stderr = std::fs::read_to_string(log).unwrap_or_default();
    Failure::Ended { name: name.to_owned(), status, stderr }
}
