//! `lsp-server wakes`.

use std::path::Path;

use clap::Subcommand;
use protocol::api::admin::WakeView;

use crate::cli::CliError;
use crate::cli::amounts::when;
use crate::cli::client::AdminClient;
use crate::cli::output::Output;
use crate::cli::table::Table;

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum WakesCommand {
    /// The open wakes, in order of arrival.
    List,
}

pub(in crate::cli) async fn run(
    data_dir: &Path,
    command: WakesCommand,
    output: Output,
) -> Result<(), CliError> {
    let client = AdminClient::new(data_dir)?;
    match command {
        WakesCommand::List => {
            output.print(&client.get::<Vec<WakeView>>("/v1/wakes").await?, |wakes| list(wakes))
        }
    }
}

fn list(wakes: &[WakeView]) -> Table {
    let header = ["wake", "node", "reason", "asked for", "attempts", "next", "pointless"];
    let mut table = Table::new("no open wakes", &header);
    for wake in wakes {
        table.row([
            wake.wake_id.clone().unwrap_or_else(|| "not sent yet".to_owned()),
            wake.node_id.to_string(),
            wake.reason.to_string(),
            when(wake.opened_at),
            wake.attempts.to_string(),
            when(wake.due_at),
            when(wake.expires_at),
        ]);
    }
    table
}
