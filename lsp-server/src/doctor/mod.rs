//! Is everything there that the server needs? Every check says what to do if not, and none changes anything.

mod bitcoind;
mod damage;
mod files;
mod ports;
mod postgres;
mod push;
mod settings;
mod witness;

use std::path::Path;

use protocol::api::admin::NodeInfo;
use serde::Serialize;
use storage::DatabaseUrl;
use tokio::net::UnixStream;

use crate::cli::client::AdminClient;
use crate::clock::Clock;
use crate::config::{ADMIN_SOCKET_FILE, Config};
use crate::error::with_causes;

/// What one check found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What was checked.
    pub name: &'static str,
    /// How it is.
    pub verdict: Verdict,
    /// What was found.
    pub found: String,
    /// What to do about it; empty when there is nothing to do.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub remedy: String,
}

/// How a check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// As it should be.
    Ok,
    /// It could not be looked at, because of what another check found.
    Skipped,
    /// The server runs, but something is not as an operator would want it.
    Warning,
    /// The server cannot run, or not safely.
    Failed,
}

impl Check {
    fn ok(name: &'static str, found: impl Into<String>) -> Self {
        Self { name, verdict: Verdict::Ok, found: found.into(), remedy: String::new() }
    }

    fn skipped(name: &'static str, found: impl Into<String>) -> Self {
        Self { name, verdict: Verdict::Skipped, found: found.into(), remedy: String::new() }
    }

    fn warning(name: &'static str, found: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { name, verdict: Verdict::Warning, found: found.into(), remedy: remedy.into() }
    }

    fn failed(name: &'static str, found: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { name, verdict: Verdict::Failed, found: found.into(), remedy: remedy.into() }
    }
}

/// Whether the server of this directory answers. It then rightly has the database and the ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Running {
    Yes,
    No,
}

/// Runs every check, in the order in which an operator would mend what they find.
pub async fn examine(data_dir: &Path, clock: &dyn Clock) -> Vec<Check> {
    let config = match Config::load(data_dir) {
        Ok(config) => config,
        Err(error) => {
            let found = with_causes(&error);
            let remedy = "mend the config; the other checks need it";
            return vec![Check::failed("config", found, remedy)];
        }
    };
    let running = match UnixStream::connect(data_dir.join(ADMIN_SOCKET_FILE)).await {
        Ok(_) => Running::Yes,
        Err(_) => Running::No,
    };
    let mut checks = vec![Check::ok("config", "every setting can be used")];
    checks.extend(settings::examine(&config));
    checks.extend(push::examine(&config, clock).await);
    checks.push(files::data_dir(data_dir));
    checks.push(files::config_file(data_dir));
    checks.push(files::seed(&config));
    checks.push(files::token_key(&config));
    match &config.database {
        DatabaseUrl::Sqlite(path) => checks.push(files::database(path, running)),
        DatabaseUrl::Postgres(url) => checks.extend(postgres::examine(url, running).await),
    }
    checks.push(witness::examine(&config).await);
    checks.extend(damage::examine(&config).await);
    checks.push(files::disk_space(&config));
    checks.extend(bitcoind::examine(&config, clock).await);
    checks.extend(ports::examine(&config, running));
    checks.extend(tls(&config));
    match running {
        Running::Yes => checks.extend(alarms(data_dir).await),
        Running::No => checks.push(Check::ok("server", "it does not run")),
    }
    checks
}

/// What the running server itself is worried about.
async fn alarms(data_dir: &Path) -> Vec<Check> {
    const NAME: &str = "server";
    let asked = async { AdminClient::new(data_dir)?.get::<NodeInfo>("/v1/node").await };
    match asked.await {
        Err(error) => vec![Check::warning(
            NAME,
            format!("it runs, and does not answer: {}", with_causes(&error)),
            "see its log",
        )],
        Ok(info) if info.alarms.is_empty() => {
            vec![Check::ok(NAME, "it runs, and answers on its admin socket")]
        }
        Ok(info) => {
            let check = |alarm| Check::warning("alarm", alarm, "see `At 3 a.m.` in docs/operations.md");
            info.alarms.into_iter().map(check).collect()
        }
    }
}

fn tls(config: &Config) -> Option<Check> {
    const NAME: &str = "certificate";
    let files = config.http.tls.as_ref()?;
    Some(match files.load() {
        Ok(_) => Check::ok(NAME, format!("{} and its key can be used", files.certificate.display())),
        Err(error) => Check::failed(NAME, with_causes(&error), "mend http.tls_certificate or http.tls_key"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemClock;

    #[tokio::test]
    async fn without_a_config_there_is_one_finding() {
        let dir = tempfile::tempdir().unwrap();
        let checks = examine(dir.path(), &SystemClock).await;
        assert_eq!(checks.len(), 1);
        assert_eq!(checks[0].verdict, Verdict::Failed);
        assert!(checks[0].found.contains("lsp-server init"), "{}", checks[0].found);
    }
}
