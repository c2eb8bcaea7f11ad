//! `wallet webhooks`

use serde_json::json;
use wallet::{Wallet, Webhooks};

use super::commands::{Outcome, answer};
use super::error::CliError;

#[derive(Debug, clap::Subcommand)]
pub(super) enum WebhooksCommand {
    /// Have the LSP notify a URL, in place of an earlier one of that name.
    Set {
        /// Your name for it.
        name: String,
        /// Where the notifications go: https.
        url: String,
    },
    /// The names of this wallet's webhooks.
    List,
    /// Have the LSP forget a webhook.
    Remove {
        /// Your name for it, as `webhooks list` shows it.
        name: String,
    },
}

pub(super) async fn run(wallet: &Wallet, command: WebhooksCommand) -> Result<Outcome, CliError> {
    match command {
        WebhooksCommand::Set { name, url } => {
            let Webhooks { webhooks_max, .. } = wallet.set_webhook(&name, &url).await?;
            let text = format!("{name} is set; the LSP keeps {webhooks_max} at most");
            Ok(answer(json!({ "set": name, "webhooks_max": webhooks_max }), text))
        }
        WebhooksCommand::List => {
            let Webhooks { app_names, webhooks_max } = wallet.list_webhooks().await?;
            let text = if app_names.is_empty() { "no webhook".to_owned() } else { app_names.join("\n") };
            Ok(answer(json!({ "webhooks": app_names, "webhooks_max": webhooks_max }), text))
        }
        WebhooksCommand::Remove { name } => {
            wallet.remove_webhook(&name).await?;
            Ok(answer(json!({ "removed": name }), format!("{name} is forgotten")))
        }
    }
}
