//! `lsp-server wakes`.

use std::path::Path;

use bitcoin::secp256k1::PublicKey;
use clap::Subcommand;
use hex::FromHex;
use protocol::api::admin::WakeView;
use protocol::api::ledger::WakeRecord;

use crate::cli::CliError;
use crate::cli::amounts::when;
use crate::cli::client::AdminClient;
use crate::cli::output::Output;
use crate::cli::table::{Fields, Table};

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum WakesCommand {
    /// The open wakes, in order of arrival.
    List,
    /// Why a phone did or did not ring: its wakes, the newest first, with every push and what came of it.
    Show {
        /// The node id of the phone, or the id of one wake, as `wakes list` and the pushes have it.
        #[arg(value_name = "NODE_OR_WAKE_ID", value_parser = node_or_wake_id)]
        id: String,
    },
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
        WakesCommand::Show { id } => {
            let records = client.get::<Vec<WakeRecord>>(&format!("/v1/wakes/{id}")).await?;
            output.print(&records, |records| show(records))
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

/// It becomes part of a path, so nothing but an id passes.
fn node_or_wake_id(text: &str) -> Result<String, &'static str> {
    if text.parse::<PublicKey>().is_ok() || <[u8; 16]>::from_hex(text).is_ok() {
        Ok(text.to_owned())
    } else {
        Err("expected a node id of 66 hex digits, or a wake's id of 32")
    }
}

fn show(records: &[WakeRecord]) -> String {
    if records.is_empty() {
        return "nothing gave a reason to wake this node, as far as the ledger goes back".to_owned();
    }
    records.iter().map(record).collect::<Vec<_>>().join("\n")
}

fn record(wake: &WakeRecord) -> String {
    let mut fields = Fields::default()
        .field("wake", wake.wake_id.as_deref().unwrap_or("not sent yet"))
        .field("node", wake.node_id)
        .field("reason", wake.reason)
        .field("state", wake.state)
        .field("asked for", when(wake.opened_at))
        .field("pointless", when(wake.expires_at));
    if let Some(due_at) = wake.due_at {
        fields = fields.field("next", when(due_at));
    }
    let fields = fields.field("in words", &wake.explanation);
    let header = ["sent", "device", "platform", "verdict", "answered", "phone came"];
    let mut table = Table::new("no push was sent", &header);
    for push in &wake.pushes {
        let verdict = push.verdict.as_deref().unwrap_or("none");
        let why = push.why.as_deref().map(|why| format!(": {why}")).unwrap_or_default();
        table.row([
            when(push.sent_at),
            push.device_id.clone(),
            push.platform.clone().unwrap_or_default(),
            format!("{verdict}{why}"),
            push.answered_ms.map(|ms| format!("{ms} ms")).unwrap_or_default(),
            push.connected_after_seconds
                .map_or_else(|| "no".to_owned(), |seconds| format!("{seconds} s later")),
        ]);
    }
    format!("{fields}\n{table}")
}
