//! Processes that end with the test.

use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, Command};

use crate::failure::Failure;

pub(crate) mod guardian;

/// How long a command of the CLIs may take.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(120);

/// A process in a group of its own, killed with everything it started when this is dropped.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    group: Pid,
}

/// Where a process's output goes.
#[derive(Debug)]
pub enum Output<'a> {
    /// Both to the end of a file.
    Log(&'a Path),
    /// Standard output to us, standard error to the end of a file.
    Lines(&'a Path),
    /// All to us, input too.
    Captured,
}

impl Process {
    /// Starts `command` under `name`.
    ///
    /// # Errors
    ///
    /// When it cannot be started, or its log cannot be written.
    pub fn start(name: &str, mut command: Command, output: Output<'_>) -> Result<Self, Failure> {
        match output {
            Output::Log(log) => command.stdin(Stdio::null()).stdout(append(log)?).stderr(append(log)?),
            Output::Lines(log) => command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(append(log)?),
            Output::Captured => command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()),
        };
        command.process_group(0).kill_on_drop(true);
        let failure = |source| Failure::Start { name: name.to_owned(), source };
        let child = command.spawn().map_err(failure)?;
        let group = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
        let group = group.ok_or_else(|| failure(std::io::Error::other("it has no process id")))?;
        guardian::watch_group(group.as_raw_nonzero().get()).map_err(failure)?;
        Ok(Self { name: name.to_owned(), child, group })
    }

    /// Its process group, which is also its process id.
    pub fn group(&self) -> i32 {
        self.group.as_raw_nonzero().get()
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Sends a signal to the whole group.
    pub(crate) fn signal(&self, signal: Signal) {
        let _ = kill_process_group(self.group, signal);
    }

    /// Sends SIGTERM and waits for the end.
    ///
    /// # Errors
    ///
    /// When it does not end within `timeout` (and is killed then), or does not end well.
    pub async fn terminate(self, timeout: Duration) -> Result<(), Failure> {
        let _ = kill_process_group(self.group, Signal::TERM);
        let name = self.name.clone();
        let status = self.wait(timeout).await?;
        if status.success() { Ok(()) } else { Err(Failure::Ended { name, status, stderr: String::new() }) }
    }

    /// Sends SIGKILL, as a power cut would, and waits until it is gone.
    pub async fn kill(mut self) {
        self.kill_now().await;
    }

    /// As [`Process::kill`], and says how it ended: it may have by itself.
    pub(crate) async fn kill_now(&mut self) -> Option<ExitStatus> {
        let _ = kill_process_group(self.group, Signal::KILL);
        self.child.wait().await.ok()
    }

    /// Waits for the end.
    ///
    /// # Errors
    ///
    /// When it takes longer than `timeout`; it is killed then.
    pub async fn wait(mut self, timeout: Duration) -> Result<ExitStatus, Failure> {
        let name = self.name.clone();
        match tokio::time::timeout(timeout, self.child.wait()).await {
            Ok(Ok(status)) => Ok(status),
            Ok(Err(source)) => Err(Failure::Start { name, source }),
            Err(_) => {
                self.kill().await;
                Err(Failure::Timeout { what: format!("the end of {name}"), timeout, last: None })
            }
        }
    }

    /// The lines that it prints, if it was started with [`Output::Lines`].
    pub fn lines(&mut self) -> Option<tokio::io::Lines<BufReader<tokio::process::ChildStdout>>> {
        self.child.stdout.take().map(|stdout| BufReader::new(stdout).lines())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Also after it was waited for: what it started may still be there.
        let _ = kill_process_group(self.group, Signal::KILL);
        let _ = guardian::forget_group(self.group());
    }
}

/// Runs a command to its end and returns what it printed.
///
/// # Errors
///
/// When it cannot be started, ends with a failure, or takes too long.
pub async fn run(name: &str, command: Command, input: Option<&str>) -> Result<String, Failure> {
    let Finished { status, stdout, stderr } = finish(name, command, input).await?;
    if status.success() {
        return Ok(stdout);
    }
    let stderr = if stderr.is_empty() { stdout } else { stderr };
    Err(Failure::Ended { name: name.to_owned(), status, stderr: stderr.trim().to_owned() })
}

/// A command that has ended, in whatever way.
pub(crate) struct Finished {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Runs a command to its end.
///
/// # Errors
///
/// When it cannot be started, or takes too long.
pub(crate) async fn finish(name: &str, command: Command, input: Option<&str>) -> Result<Finished, Failure> {
    let failure = |source| Failure::Start { name: name.to_owned(), source };
    let mut process = Process::start(name, command, Output::Captured)?;
    if let (Some(mut stdin), Some(input)) = (process.child.stdin.take(), input) {
        // A program that does not read its input has closed it; its exit code says what it thinks of it.
        let _ = stdin.write_all(input.as_bytes()).await;
    }
    let (mut stdout, mut stderr) = (String::new(), String::new());
    let (out, err) = (process.child.stdout.take(), process.child.stderr.take());
    let read = async {
        if let (Some(mut out), Some(mut err)) = (out, err) {
            tokio::try_join!(out.read_to_string(&mut stdout), err.read_to_string(&mut stderr))?;
        }
        Ok(())
    };
    match tokio::time::timeout(COMMAND_TIMEOUT, read).await {
        Ok(outcome) => outcome.map_err(failure)?,
        Err(_) => {
            let what = format!("the end of {name}");
            return Err(Failure::Timeout { what, timeout: COMMAND_TIMEOUT, last: None });
        }
    }
    let status = process.wait(COMMAND_TIMEOUT).await?;
    Ok(Finished { status, stdout, stderr })
}

/// Ends every process that was started, removes every [`Folder`](crate::folder::Folder), and returns when that is
/// done: for a program that is about to exit without its destructors.
pub fn end_everything() {
    guardian::end_all();
}

/// A command that gets nothing of ours from the environment but what is needed to run at all.
pub fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if ["LSP_", "WALLET_", "CARGO"].iter().any(|prefix| text.starts_with(prefix)) && text != "WALLET_LOG"
        {
            command.env_remove(&name);
        }
    }
    // Logs are searched, and shown, as plain text.
    command.env("NO_COLOR", "1");
    command
}

/// One of this build's programs.
///
/// # Errors
///
/// When it was not built.
pub fn built_program(name: &str) -> Result<PathBuf, Failure> {
    let folder = xtask::bin_dir().map_err(|source| Failure::Start { name: name.to_owned(), source })?;
    let path = folder.join(name);
    if path.is_file() { Ok(path) } else { Err(Failure::NotBuilt { name: name.to_owned(), path }) }
}

fn append(path: &Path) -> Result<File, Failure> {
    let file = OpenOptions::new().create(true).append(true).open(path);
    file.map_err(|source| Failure::File { path: path.to_owned(), source })
}
