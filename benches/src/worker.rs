//! Processes of the benchmark's own that run the server's parts, with the shim in them: so their fsyncs cost what they should,
//! and their CPU time is nobody else's.

use std::path::Path;
use std::time::Duration;

use lsp_server::logging::{self, LogFormat};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tests::failure::Failure;
use tests::process::{self, Output, Process};

use crate::shim::{Counters, Shim};
use crate::{mailbox, push_latency, pushes};

/// How long a worker may take to end once it has answered.
const END_TIMEOUT: Duration = Duration::from_secs(60);

/// What a worker is to do.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Job {
    Pushes(pushes::Job),
    PushLatency(push_latency::Job),
    Mailbox(mailbox::Job),
}

/// What a worker says, a line each.
#[derive(Serialize, Deserialize)]
enum Line {
    Progress(String),
    Done(serde_json::Value),
}

fn wrong(error: &serde_json::Error) -> Failure {
    Failure::wrong(format!("a worker and its master do not understand each other: {error}"))
}

/// Starts a worker with its data in `folder`, and waits for what it has to say in the end.
pub(crate) async fn employ<T: DeserializeOwned>(
    name: &str,
    job: &Job,
    folder: &Path,
    shim: &Shim,
) -> Result<T, Failure> {
    let path = folder.join(format!("{name}.job"));
    let text = serde_json::to_string(job).map_err(|error| wrong(&error))?;
    std::fs::write(&path, text).map_err(|source| Failure::File { path: path.clone(), source })?;
    let program =
        std::env::current_exe().map_err(|source| Failure::Start { name: name.to_owned(), source })?;
    let mut command = process::command(program);
    command.arg("--worker").arg(path);
    shim.preload(&mut command, folder, &Counters::new(folder, name)?);
    let log = folder.join(format!("{name}.log"));
    let mut worker = Process::start(name, command, Output::Lines(&log))?;
    let failure = |source| Failure::Start { name: name.to_owned(), source };
    let mut lines = worker.lines().ok_or_else(|| Failure::wrong("a worker says nothing"))?;
    let mut done = None;
    while let Some(line) = lines.next_line().await.map_err(failure)? {
        match serde_json::from_str(&line).map_err(|error| wrong(&error))? {
            Line::Progress(text) => eprintln!("{name}: {text}"),
            Line::Done(value) => done = Some(value),
        }
    }
    let status = worker.wait(END_TIMEOUT).await?;
    match done {
        Some(done) if status.success() => serde_json::from_value(done).map_err(|error| wrong(&error)),
        _ => {
            let stderr = std::fs::read_to_string(&log).unwrap_or_default();
            let last = stderr.lines().last().unwrap_or_default().to_owned();
            Err(Failure::Ended { name: name.to_owned(), status, stderr: last })
        }
    }
}

/// What the worker's process does.
pub(crate) async fn work(job: &Path) -> Result<(), Failure> {
    // As the server does: its log lines and its metrics are part of what it costs.
    logging::init(LogFormat::Text);
    lsp_server::metrics::install();
    // An error says that somebody in this process has done so before.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let text =
        std::fs::read_to_string(job).map_err(|source| Failure::File { path: job.to_owned(), source })?;
    let done = match serde_json::from_str(&text).map_err(|error| wrong(&error))? {
        Job::Pushes(job) => serde_json::to_value(pushes::work(&job).await?),
        Job::PushLatency(job) => serde_json::to_value(push_latency::work(&job).await?),
        Job::Mailbox(job) => serde_json::to_value(mailbox::work(&job).await?),
    };
    say(&Line::Done(done.map_err(|error| wrong(&error))?));
    Ok(())
}

/// Tells how it goes.
pub(crate) fn progress(text: impl Into<String>) {
    say(&Line::Progress(text.into()));
}

fn say(line: &Line) {
    // A line that cannot be written is missed by whoever waits for it.
    if let Ok(text) = serde_json::to_string(line) {
        println!("{text}");
    }
}
