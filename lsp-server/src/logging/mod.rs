//! Logs, to stderr: for people, or one JSON object per line for machines.

mod sparing;

use std::io::IsTerminal;

use tracing_subscriber::filter::FilterExt;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry};

pub use sparing::{STRANGERS, Sparing, lines_left_out};

/// What is logged unless `RUST_LOG` says otherwise. LDK tells of every step of its own at `info`.
const DEFAULT_FILTER: &str = "info,ldk=warn";

/// How a line looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// For machines.
    Json,
}

/// Starts logging. A second call in one process changes nothing.
pub fn init(format: LogFormat) {
    let (filter, wrong) = match std::env::var(EnvFilter::DEFAULT_ENV) {
        Ok(text) => match EnvFilter::try_new(&text) {
            Ok(filter) => (filter, None),
            Err(error) => (EnvFilter::new(DEFAULT_FILTER), Some(error)),
        },
        Err(_) => (EnvFilter::new(DEFAULT_FILTER), None),
    };
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let lines = match format {
        LogFormat::Text => lines.with_ansi(std::io::stderr().is_terminal()).boxed(),
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
    };
    let outcome = Registry::default().with(lines.with_filter(filter.and(Sparing::default()))).try_init();
    if let Err(error) = outcome {
        tracing::debug!(%error, "logging was started before");
    }
    if let Some(error) = wrong {
        tracing::warn!(%error, "RUST_LOG cannot be read; logging {DEFAULT_FILTER}");
    }
}
