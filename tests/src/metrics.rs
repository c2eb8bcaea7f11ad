//! What an LSP measures, as monitoring reads it.

use std::collections::BTreeMap;
use std::ops::Index;
use std::time::Duration;

use crate::failure::Failure;
use crate::lsp::Lsp;
use crate::wait::{SOON, Seen, wait_until};

/// One scrape: values by name and labels, as `GET /metrics` writes them: `lightning_rod_holds{state="waiting"}`.
#[derive(Clone, Debug)]
pub struct Metrics(BTreeMap<String, f64>);

impl Index<&str> for Metrics {
    type Output = f64;

    fn index(&self, series: &str) -> &f64 {
        &self.0[series]
    }
}

impl Metrics {
    fn parse(text: &str) -> Self {
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let series = lines.filter_map(|line| line.rsplit_once(' '));
        Self(series.filter_map(|(name, value)| Some((name.to_owned(), value.parse().ok()?))).collect())
    }

    /// The sum of all series of `name` that have these labels; zero if there is none.
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let is_asked_for = |series: &str| {
            let (series_name, series_labels) = series.split_once('{').unwrap_or((series, ""));
            let has = |(label, value): &(&str, &str)| series_labels.contains(&format!("{label}=\"{value}\""));
            series_name == name && labels.iter().all(has)
        };
        self.0.iter().filter(|(series, _)| is_asked_for(series)).map(|(_, value)| value).sum()
    }

    /// One series, if it is there.
    pub fn get(&self, series: &str) -> Option<f64> {
        self.0.get(series).copied()
    }

    /// How often the bound refused.
    pub fn refusals(&self, limit: &str) -> u64 {
        self.sum("lightning_rod_limit_refusals_total", &[("limit", limit)]) as u64
    }
}

impl Lsp {
    /// What it says at `/metrics`.
    ///
    /// # Errors
    ///
    /// When it does not answer.
    pub async fn metrics(&self) -> Result<Metrics, Failure> {
        let failure = |source| Failure::RpcTransport { method: "GET /metrics".to_owned(), source };
        let client = crate::http::client(Duration::from_secs(30))?;
        let answer = client.get(self.metrics_url()).send().await.map_err(failure)?;
        Ok(Metrics::parse(&answer.text().await.map_err(failure)?))
    }

    /// Waits until a bound has refused at least `count` times since it was started, and answers how often.
    ///
    /// # Errors
    ///
    /// When it does not in time.
    pub async fn wait_for_refusals(&self, limit: &str, count: u64) -> Result<u64, Failure> {
        wait_until(&format!("{} to refuse {count} times by {limit}", self.name()), SOON, async || {
            let refusals = self.metrics().await?.refusals(limit);
            Ok(if refusals >= count { Seen::Done(refusals) } else { Seen::NotYet(refusals.to_string()) })
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_are_found_by_name_and_labels() {
        let metrics = Metrics::parse(
            "# HELP a_total Something.\na_total{limit=\"x\",more=\"1\"} 2\na_total{limit=\"y\"} 3\na_total_more 5\nb 0.5\n",
        );
        assert_eq!(metrics.sum("a_total", &[("limit", "x")]), 2.0);
        assert_eq!(metrics.sum("a_total", &[]), 5.0);
        assert_eq!(metrics.sum("b", &[]), 0.5);
        assert_eq!(metrics.sum("c", &[]), 0.0);
    }
}
