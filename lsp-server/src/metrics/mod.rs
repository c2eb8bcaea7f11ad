//! Metrics: one table of everything that is measured, one recorder per process, and `GET /metrics`.
//!
//! A metric is an entry of [`names`]; code says `names::WAKES_DUE.set(3.0, &[])`. A name that is not in the table cannot be used,
//! and one that nobody uses fails a test. Where no recorder is installed, as in most unit tests, recording does nothing.

pub mod names;
mod refresh;
mod serve;
#[cfg(test)]
mod tests;

use std::sync::OnceLock;
use std::time::Duration;

use metrics::{Label, Unit};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use notifier::{GatewayKind, Verdict};

pub use refresh::{DATABASE_REFRESH_INTERVAL, run_refresh};
pub use serve::router;

/// What kind of number a metric is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// Only grows while the process lives. Its name ends in `_total`.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Observations, counted by these upper bounds.
    Histogram(&'static [f64]),
}

/// One entry of the table.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Metric {
    /// `lightning_rod_`, what it is, its unit last.
    pub name: &'static str,
    /// What kind of number it is.
    pub kind: Kind,
    /// In what it is measured.
    pub unit: Unit,
    /// The labels that every observation has, in this order.
    pub labels: &'static [&'static str],
    /// One sentence for people.
    pub help: &'static str,
}

/// A push, whatever it was for, and its provider's answer.
pub(crate) fn count_push(kind: GatewayKind, verdict: &Verdict, answered: Duration) {
    let platform = ("platform", kind.as_str());
    names::PUSHES.add(1, &[platform, ("verdict", verdict.as_str())]);
    names::PUSH_ANSWER_SECONDS.record(answered.as_secs_f64(), &[platform]);
}

impl Metric {
    /// Adds to a counter.
    pub fn add(&self, count: u64, labels: &[(&'static str, &str)]) {
        debug_assert!(self.kind == Kind::Counter, "{} is no counter", self.name);
        metrics::counter!(self.name, self.labelled(labels)).increment(count);
    }

    /// Sets a counter that is counted elsewhere; a smaller number than before is ignored.
    pub fn set_total(&self, count: u64, labels: &[(&'static str, &str)]) {
        debug_assert!(self.kind == Kind::Counter, "{} is no counter", self.name);
        metrics::counter!(self.name, self.labelled(labels)).absolute(count);
    }

    /// Sets a gauge.
    pub fn set(&self, value: f64, labels: &[(&'static str, &str)]) {
        debug_assert!(self.kind == Kind::Gauge, "{} is no gauge", self.name);
        metrics::gauge!(self.name, self.labelled(labels)).set(value);
    }

    /// Adds an observation to a histogram.
    pub fn record(&self, value: f64, labels: &[(&'static str, &str)]) {
        debug_assert!(matches!(self.kind, Kind::Histogram(_)), "{} is no histogram", self.name);
        metrics::histogram!(self.name, self.labelled(labels)).record(value);
    }

    fn labelled(&self, labels: &[(&'static str, &str)]) -> Vec<Label> {
        debug_assert!(
            labels.iter().map(|(name, _)| *name).eq(self.labels.iter().copied()),
            "{} has the labels {:?}",
            self.name,
            self.labels
        );
        labels.iter().map(|(name, value)| Label::new(*name, (*value).to_owned())).collect()
    }

    fn describe(&self) {
        match self.kind {
            Kind::Counter => metrics::describe_counter!(self.name, self.unit, self.help),
            Kind::Gauge => metrics::describe_gauge!(self.name, self.unit, self.help),
            Kind::Histogram(_) => metrics::describe_histogram!(self.name, self.unit, self.help),
        }
    }
}

static HANDLE: OnceLock<Option<PrometheusHandle>> = OnceLock::new();

/// Installs this process's recorder, or gives the one that is there: servers that share a process share their metrics.
/// `None` when the process records elsewhere.
pub fn install() -> Option<&'static PrometheusHandle> {
    HANDLE
        .get_or_init(|| {
            let recorder = match builder() {
                Ok(builder) => builder.build_recorder(),
                Err(error) => {
                    tracing::warn!(%error, "metrics cannot be recorded");
                    return None;
                }
            };
            let handle = recorder.handle();
            if let Err(error) = metrics::set_global_recorder(recorder) {
                tracing::warn!(%error, "this process has another recorder: /metrics stays empty");
                return None;
            }
            names::ALL.iter().for_each(|metric| metric.describe());
            Some(handle)
        })
        .as_ref()
}

fn builder() -> Result<PrometheusBuilder, BuildError> {
    names::ALL.iter().try_fold(PrometheusBuilder::new(), |builder, metric| match metric.kind {
        Kind::Histogram(bounds) => {
            builder.set_buckets_for_metric(Matcher::Full(metric.name.to_owned()), bounds)
        }
        Kind::Counter | Kind::Gauge => Ok(builder),
    })
}
