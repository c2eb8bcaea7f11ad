//! What libFuzzer says at the end of a run.

/// The figures of one run.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Stats {
    executions: u64,
    per_second: u64,
    /// Edges of the program's control flow that were reached.
    coverage: u64,
    corpus: u64,
    corpus_before: u64,
}

impl Stats {
    pub(crate) const HEADER: &str =
        "target             executions  per second  coverage    corpus  (at start)";

    pub(crate) fn read(said: &str) -> Self {
        let mut stats = Self::default();
        for line in said.lines() {
            if let Some(number) = line.strip_prefix("stat::number_of_executed_units:") {
                stats.executions = number.trim().parse().unwrap_or_default();
            } else if let Some(number) = line.strip_prefix("stat::average_exec_per_sec:") {
                stats.per_second = number.trim().parse().unwrap_or_default();
            } else if line.starts_with('#') {
                let mut words = line.split_whitespace();
                while let Some(word) = words.next() {
                    let value = match word {
                        "cov:" => &mut stats.coverage,
                        "corp:" => &mut stats.corpus,
                        _ => continue,
                    };
                    // `12` for coverage, `12/345b` for the corpus: inputs and their bytes.
                    let number = words.next().and_then(|number| number.split('/').next());
                    *value = number.and_then(|number| number.parse().ok()).unwrap_or_default();
                }
                if line.contains("INITED") {
                    stats.corpus_before = stats.corpus;
                }
            }
        }
        stats
    }

    pub(crate) fn line(&self, target: &str) -> String {
        let Self { executions, per_second, coverage, corpus, corpus_before } = self;
        format!(
            "{target:<18} {executions:>10}  {per_second:>10}  {coverage:>8}  {corpus:>8}  {corpus_before:>10}"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_figures_are_read() {
        let said = "INFO: seed corpus: files: 2\n\
                    #3\tINITED cov: 10 ft: 11 corp: 2/10b exec/s: 0 rss: 50Mb\n\
                    #90\tNEW    cov: 15 ft: 20 corp: 3/17b lim: 4 exec/s: 0 rss: 50Mb L: 4/7 MS: 1 CopyPart-\n\
                    #123\tDONE   cov: 20 ft: 30 corp: 5/26b lim: 4 exec/s: 61 rss: 51Mb\n\
                    Done 123 runs in 2 second(s)\n\
                    stat::number_of_executed_units: 123\n\
                    stat::average_exec_per_sec:     61\n";
        let expected = Stats { executions: 123, per_second: 61, coverage: 20, corpus: 5, corpus_before: 2 };
        assert_eq!(Stats::read(said), expected);
    }
}
