//! What an LSP measures, as monitoring reads it.

use std::time::Duration;

use crate::failure::Failure;
use crate::lsp::Lsp;
use crate::wait::{SOON, Seen, wait_until};

/// One scrape.
#[derive(Clone, Debug)]
pub struct Metrics(String);

impl Metrics {
    /// The sum of all series of `name` that have these labels; zero if there is none.
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.0
            .lines()
            .filter(|line| !line.starts_with('#'))
            .filter_map(|line| {
                let (series, value) = line.rsplit_once(' ')?;
                let (series_name, series_labels) = series.split_once('{').unwrap_or((series, ""));
                let has =
                    |(label, value): &(&str, &str)| series_labels.contains(&format!("{label}=\"{value}\""));
                (series_name == name && labels.iter().all(has)).then(|| value.parse::<f64>().ok()).flatten()
            })
            .sum()
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
        Ok(Metrics(answer.text().await.map_err(failure)?))
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
        let metrics = Metrics(
            "# HELP a_total Something.\na_total{limit=\"x\",more=\"1\"} 2\na_total{limit=\"y\"} 3\na_total_more 5\nb 0.5\n"
                .to_owned(),
        );
        assert_eq!(metrics.sum("a_total", &[("limit", "x")]), 2.0);
        assert_eq!(metrics.sum("a_total", &[]), 5.0);
        assert_eq!(metrics.sum("b", &[]), 0.5);
        assert_eq!(metrics.sum("c", &[]), 0.0);
    }
}
