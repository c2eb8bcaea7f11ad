//! `crash`: the crash matrix as a program. `cargo xtask crash` builds what it needs and starts it.

use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use clap::Parser;
use tests::crash::{Options, Role, Story, run};

/// Kills two LSPs and two wallets wherever their work may be half done, and checks that no payment is lost.
#[derive(Parser)]
#[command(name = "cargo xtask crash", version)]
struct Cli {
    /// Only this crash point, such as `unblock_stored`, or `unblock_stored:2` for the second time that it is reached.
    #[arg(long)]
    point: Option<String>,

    /// Only this process dies: lsp_a, lsp_b, payer or payee.
    #[arg(long)]
    process: Option<Role>,

    /// Only this story: main, cancel, refuse, ordinary, expire, late or mpp.
    #[arg(long)]
    story: Option<Story>,

    /// Every single time that a point is reached: for `before_commit`, of which there are many in a story, tens of rounds more.
    #[arg(long)]
    every: bool,

    /// So many more rounds in which everybody is killed at a random moment.
    #[arg(long, default_value_t = 40)]
    random: u32,

    /// Nothing but those.
    #[arg(long, conflicts_with = "point")]
    random_only: bool,

    /// For the random moments; by default another one each time.
    #[arg(long)]
    seed: Option<u64>,

    /// Each point once, and four processes at a time, as in `cargo xtask test`.
    #[arg(long)]
    short: bool,

    /// How many stories are told at the same time.
    #[arg(long, default_value_t = 4)]
    lanes: usize,
}

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs());
    let narrowed = cli.point.is_some();
    let options = Options {
        whole: !cli.short,
        point: cli.point,
        role: cli.process,
        story: cli.story,
        every: cli.every,
        random_only: cli.random_only,
        random: if narrowed { 0 } else { cli.random },
        seed: cli.seed.unwrap_or(now),
        lanes: cli.lanes,
    };
    match run(&options).await {
        Ok(report) => {
            print!("\n{report}");
            if report.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            eprintln!("error: {}", xtask::with_causes(&error));
            ExitCode::FAILURE
        }
    }
}
