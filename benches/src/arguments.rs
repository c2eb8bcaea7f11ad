//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;

/// Payments per run: this many for each that is under way at once, within the bounds below.
const PAYMENTS_PER_LANE: usize = 5;
const PAYMENTS_MIN: usize = 20;
const PAYMENTS_MIN_QUICK: usize = 10;
const RELEASES: usize = 50;
const RELEASES_QUICK: usize = 10;

/// What lightning-rod costs and how fast it is, every figure beside another of the same run.
///
/// Progress goes to standard error, the tables to standard output. docs/benchmarks.md says what the figures mean.
#[derive(Debug, Parser)]
#[command(name = "bench", bin_name = "cargo xtask bench", version)]
pub(crate) struct Arguments {
    /// One short round of everything.
    #[arg(long)]
    pub(crate) quick: bool,

    /// What to measure; everything by default.
    #[arg(long, value_delimiter = ',', value_name = "NAME,NAME")]
    pub(crate) only: Vec<Name>,

    /// How often everything is measured, in turns.
    #[arg(long, default_value_t = 2)]
    rounds: usize,

    /// What an fsync costs: `1ms`, `250us`, or `0` for what it costs by itself.
    #[arg(long, default_value = "1ms", value_parser = parse_cost)]
    pub(crate) fsync_cost: Duration,

    /// Where the data lies; memory by default, where there is a /dev/shm.
    #[arg(long, value_name = "FOLDER")]
    pub(crate) storage: Option<PathBuf>,

    /// Write the figures here, too.
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,

    /// Payments at once, one level after the other.
    #[arg(long, value_delimiter = ',', value_name = "N,N")]
    concurrent: Vec<usize>,

    /// Payments in each run, in place of a number that fits the level.
    #[arg(long)]
    payments: Option<usize>,

    /// Leave out the latency of releases.
    #[arg(long)]
    pub(crate) no_release: bool,

    /// Pushes in each round; a tenth of it in the loop beside it.
    #[arg(long, value_name = "N")]
    pushes: Option<usize>,

    /// How long pushes come at 500 a second, in each turn. A phone that does not come is pushed again after five seconds.
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u64).range(1..=4))]
    pub(crate) push_seconds: u64,

    /// Registrations in each round; a tenth of it one by one. The server takes 10,000 in five minutes.
    #[arg(long, value_name = "N")]
    registrations: Option<usize>,

    /// Messages in the large mailbox.
    #[arg(long, value_name = "N")]
    messages: Option<usize>,

    /// The stock LSP's program, which `cargo xtask bench` builds.
    #[arg(long, env = "LIGHTNING_ROD_STOCK_LSP", value_name = "PROGRAM")]
    pub(crate) stock_lsp: Option<PathBuf>,

    /// The job of a process that the benchmark starts for itself.
    #[arg(long, hide = true)]
    pub(crate) worker: Option<PathBuf>,
}

/// A benchmark, or a part of the first one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Name {
    /// What a payment costs: `held`, `plain` and `stock`, in turns.
    Payments,
    /// Payments that lsp-server holds, releases and settles.
    Held,
    /// Payments that lsp-server forwards at once.
    Plain,
    /// Payments that ldk-node forwards.
    Stock,
    /// Durable pushes per second, from the outbox to the stored verdict.
    Pushes,
    /// From a wake's first row to the provider's yes, at 500 a second.
    PushLatency,
    /// Signed device registrations per second.
    Registrations,
    /// Storing and fetching messages, among a thousand and among a million.
    Mailbox,
}

impl Name {
    const fn is_of_payments(self) -> bool {
        matches!(self, Self::Payments | Self::Held | Self::Plain | Self::Stock)
    }
}

fn parse_cost(text: &str) -> Result<Duration, String> {
    let (number, nanos) = match text {
        "0" => return Ok(Duration::ZERO),
        text => [("us", 1_000), ("ms", 1_000_000)]
            .into_iter()
            .find_map(|(unit, nanos)| Some((text.strip_suffix(unit)?, nanos)))
            .ok_or("it is a number of ms or us, as in 1ms")?,
    };
    let number: u64 = number.parse().map_err(|error| format!("{error}"))?;
    number.checked_mul(nanos).map(Duration::from_nanos).ok_or_else(|| "it is too long".to_owned())
}

impl Arguments {
    pub(crate) fn asks_for(&self, name: Name) -> bool {
        self.only.is_empty()
            || self.only.contains(&name)
            || (name.is_of_payments() && self.only.contains(&Name::Payments))
    }

    pub(crate) fn asks_for_payments(&self) -> bool {
        [Name::Held, Name::Plain, Name::Stock].into_iter().any(|name| self.asks_for(name))
    }

    pub(crate) fn rounds(&self) -> usize {
        if self.quick { 1 } else { self.rounds.max(1) }
    }

    pub(crate) fn levels(&self) -> Vec<usize> {
        match (&self.concurrent[..], self.quick) {
            ([], true) => vec![1, 64],
            ([], false) => vec![1, 16, 64, 200],
            (levels, _) => levels.to_vec(),
        }
    }

    pub(crate) fn payments(&self, concurrent: usize) -> usize {
        self.payments.unwrap_or_else(|| {
            let (per_lane, min) =
                if self.quick { (2, PAYMENTS_MIN_QUICK) } else { (PAYMENTS_PER_LANE, PAYMENTS_MIN) };
            (concurrent * per_lane).max(min)
        })
    }

    pub(crate) fn releases(&self) -> usize {
        if self.quick { RELEASES_QUICK } else { RELEASES }
    }

    pub(crate) fn pushes(&self) -> usize {
        self.size(self.pushes, 10_000, 2_000)
    }

    pub(crate) fn registrations(&self) -> usize {
        self.size(self.registrations, 3_000, 1_000)
    }

    pub(crate) fn messages(&self) -> usize {
        self.size(self.messages, 1_000_000, 50_000)
    }

    fn size(&self, asked: Option<usize>, whole: usize, quick: usize) -> usize {
        asked.unwrap_or(if self.quick { quick } else { whole }).max(1)
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn parse(line: &str) -> Arguments {
        Arguments::parse_from(line.split(' '))
    }

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn a_cost_has_a_unit() {
        assert_eq!(parse_cost("1ms"), Ok(Duration::from_millis(1)));
        assert_eq!(parse_cost("250us"), Ok(Duration::from_micros(250)));
        assert_eq!(parse_cost("0"), Ok(Duration::ZERO));
        for wrong in ["", "1", "ms", "-1ms", "1s", "99999999999999999999ms", "18446744073709551615ms"] {
            assert!(parse_cost(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn quick_is_quick_unless_told_otherwise() {
        assert_eq!(parse("bench").levels(), [1, 16, 64, 200]);
        assert_eq!(parse("bench --quick").levels(), [1, 64]);
        assert_eq!(parse("bench --quick --concurrent 3,4").levels(), [3, 4]);
        assert_eq!(parse("bench --quick --rounds 9").rounds(), 1);
        assert_eq!(parse("bench").payments(200), 1_000);
        assert_eq!(parse("bench --payments 7").payments(200), 7);
        assert_eq!(parse("bench").messages(), 1_000_000);
        assert_eq!(parse("bench --quick --pushes 5").pushes(), 5);
    }

    #[test]
    fn a_part_of_payments_is_not_all_of_them() {
        let everything = parse("bench");
        assert!(everything.asks_for(Name::Stock) && everything.asks_for(Name::Mailbox));
        let payments = parse("bench --only payments");
        assert!(payments.asks_for(Name::Stock) && !payments.asks_for(Name::Mailbox));
        let held = parse("bench --only held,pushes");
        assert!(held.asks_for_payments() && held.asks_for(Name::Pushes) && !held.asks_for(Name::Stock));
        assert!(!parse("bench --only pushes").asks_for_payments());
    }
}
