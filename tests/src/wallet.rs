//! `wallet` processes.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::bitcoind::{Bitcoind, RPC_PASSWORD, RPC_USER};
use crate::doom::Fate;
use crate::failure::Failure;
use crate::lsp::Lsp;
use crate::process::{self, Output, Process};

const PROGRAM: &str = "wallet";
/// How long a command that goes online may take.
const ONLINE_TIMEOUT: Duration = Duration::from_secs(120);
/// How often it is looked whether a process is to be killed.
const DOOM_POLL_INTERVAL: Duration = Duration::from_millis(10);

/// One wallet's data folder. Each command is a process of its own; only one can run at a time.
#[derive(Clone, Debug)]
pub struct Wallet {
    name: String,
    data_dir: PathBuf,
    log: PathBuf,
    fate: Fate,
}

/// A line that a wallet printed, and when.
#[derive(Clone, Debug)]
pub struct Line {
    /// When it came.
    pub at: Instant,
    /// What it said.
    pub value: Value,
}

/// How a wallet's command ended, and what it printed meanwhile.
#[derive(Clone, Debug)]
pub struct Run {
    /// When it was started.
    pub started: Instant,
    /// When it had ended.
    pub ended: Instant,
    /// Every line.
    pub lines: Vec<Line>,
    /// Its exit code was 0.
    pub success: bool,
    /// It died as [`Wallet::fate`] says.
    pub died: bool,
}

impl Line {
    /// The step that it reports; empty for a line that reports none.
    pub fn step(&self) -> &str {
        self.value["step"].as_str().unwrap_or_default()
    }
}

impl Run {
    /// The first line that reports `step`.
    pub fn step(&self, step: &str) -> Option<&Line> {
        self.lines.iter().find(|line| line.step() == step)
    }
}

impl Wallet {
    /// Runs `wallet init` in `folder`.
    ///
    /// # Errors
    ///
    /// When the command fails.
    pub async fn init(name: &str, folder: &Path, bitcoind: &Bitcoind, lsp: &Lsp) -> Result<Self, Failure> {
        let wallet = Self {
            name: name.to_owned(),
            data_dir: folder.join(name),
            log: folder.join(format!("{name}.log")),
            fate: Fate::default(),
        };
        let (rpc_url, lsp_address, lsp_api) = (bitcoind.rpc_url(), lsp.peer_address(), lsp.api_url());
        let arguments = [
            ["--bitcoind-rpc-url", &rpc_url],
            ["--bitcoind-rpc-user", RPC_USER],
            ["--bitcoind-rpc-password", RPC_PASSWORD],
            ["--lsp", &lsp_address],
            ["--lsp-api", &lsp_api],
        ];
        let arguments: Vec<&str> =
            ["init", "--network", "regtest"].into_iter().chain(arguments.into_iter().flatten()).collect();
        wallet.ask(&arguments).await?;
        Ok(wallet)
    }

    /// The wallet in a folder that was initialized before.
    pub fn existing(name: &str, data_dir: &Path, log: &Path) -> Self {
        let (data_dir, log) = (data_dir.to_owned(), log.to_owned());
        Self { name: name.to_owned(), data_dir, log, fate: Fate::default() }
    }

    /// Its name in this test.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where it keeps everything.
    pub fn data_dir(&self) -> &Path {
        &self.data_dir
    }

    /// The file with its seed.
    pub fn seed_path(&self) -> PathBuf {
        self.data_dir.join("seed")
    }

    /// What the processes of [`Wallet::follow`] die of.
    pub fn fate(&self) -> &Fate {
        &self.fate
    }

    /// Its database.
    pub fn database_path(&self) -> PathBuf {
        self.data_dir.join("wallet.db")
    }

    /// The file that it logs to.
    pub fn log_path(&self) -> &Path {
        &self.log
    }

    /// The last lines that it logged.
    pub fn log_tail(&self, lines: usize) -> String {
        crate::text::tail(&std::fs::read_to_string(&self.log).unwrap_or_default(), lines)
    }

    fn command(&self, arguments: &[&str]) -> Result<tokio::process::Command, Failure> {
        let mut command = process::command(process::built_program(PROGRAM)?);
        command.arg("--data-dir").arg(&self.data_dir).arg("--json").args(arguments);
        Ok(command)
    }

    fn what(&self, arguments: &[&str]) -> String {
        // Not the invoice: an error text should fit on a screen.
        format!("{} {}", self.name, arguments.first().copied().unwrap_or_default())
    }

    /// Starts a command without waiting for it.
    ///
    /// # Errors
    ///
    /// When it cannot be started.
    pub fn start(&self, arguments: &[&str]) -> Result<Process, Failure> {
        Process::start(&self.what(arguments), self.command(arguments)?, Output::Log(&self.log))
    }

    /// Runs a command to its end, and hands every line it prints to `seen` as it comes.
    ///
    /// # Errors
    ///
    /// When it cannot be started, takes too long, or prints something else than JSON. A failure of the command is none:
    /// it is in the answer.
    pub async fn follow(&self, arguments: &[&str], mut seen: impl FnMut(&Line)) -> Result<Run, Failure> {
        let name = self.what(arguments);
        let started = Instant::now();
        let mut command = self.command(arguments)?;
        self.fate.begin(&mut command);
        let mut process = Process::start(&name, command, Output::Lines(&self.log))?;
        let failure = |source| Failure::Start { name: name.clone(), source };
        let mut lines = Vec::new();
        let mut unread = None;
        if let Some(mut output) = process.lines() {
            let read = async {
                while let Some(line) = output.next_line().await.map_err(failure)? {
                    match serde_json::from_str(&line) {
                        Ok(value) => {
                            let line = Line { at: Instant::now(), value };
                            seen(&line);
                            lines.push(line);
                        }
                        Err(source) => {
                            unread = Some(Failure::Output { name: name.clone(), output: line, source })
                        }
                    }
                }
                Ok::<_, Failure>(())
            };
            let doomed = async {
                while !self.fate.is_over() {
                    tokio::time::sleep(DOOM_POLL_INTERVAL).await;
                }
            };
            let waited = tokio::select! {
                waited = tokio::time::timeout(ONLINE_TIMEOUT, read) => Some(waited),
                () = doomed => None,
            };
            match waited {
                Some(Ok(outcome)) => outcome?,
                Some(Err(_)) => {
                    let last = lines.last().map(|line: &Line| line.value.to_string());
                    return Err(Failure::Timeout {
                        what: format!("the end of {name}"),
                        timeout: ONLINE_TIMEOUT,
                        last,
                    });
                }
                None => drop(process.kill_now().await),
            }
        }
        let status = process.wait(ONLINE_TIMEOUT).await?;
        let died = self.fate.end(status);
        match unread {
            // A line that it could not finish.
            Some(failure) if !died => Err(failure),
            _ => Ok(Run { started, ended: Instant::now(), lines, success: status.success(), died }),
        }
    }

    /// Runs a command that prints one JSON value.
    ///
    /// # Errors
    ///
    /// When the command fails or prints something else.
    pub async fn ask(&self, arguments: &[&str]) -> Result<Value, Failure> {
        let name = self.what(arguments);
        let output = process::run(&name, self.command(arguments)?, None).await?;
        if output.trim().is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_str(&output).map_err(|source| Failure::Output { name, output, source })
    }
}
