//! `lsp-server mailbox`.

use std::path::Path;

use clap::Subcommand;
use protocol::api::admin::MailboxView;

use crate::cli::CliError;
use crate::cli::amounts::{grouped, short, when};
use crate::cli::client::AdminClient;
use crate::cli::output::Output;
use crate::cli::table::Table;

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum MailboxCommand {
    /// The messages that wait, in order of arrival.
    List,
}

pub(in crate::cli) async fn run(
    data_dir: &Path,
    command: MailboxCommand,
    output: Output,
) -> Result<(), CliError> {
    let client = AdminClient::new(data_dir)?;
    match command {
        MailboxCommand::List => {
            output.print(&client.get::<Vec<MailboxView>>("/v1/mailbox").await?, |messages| list(messages))
        }
    }
}

fn list(messages: &[MailboxView]) -> Table {
    let mut table = Table::new("no messages", &["message", "for", "from peer", "bytes", "came"]);
    for message in messages {
        table.row([
            message.message_id.to_string(),
            message.recipient.to_string(),
            message.previous_hop.map_or("this node".to_owned(), short),
            grouped(message.bytes),
            when(message.received_at),
        ]);
    }
    table
}
