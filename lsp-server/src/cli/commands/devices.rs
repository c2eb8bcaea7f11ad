//! `lsp-server devices`.

use std::path::Path;

use clap::Subcommand;
use protocol::api::admin::DeviceView;
use reqwest::Method;
use storage::Database;

use crate::cli::CliError;
use crate::cli::amounts::when;
use crate::cli::client::AdminClient;
use crate::cli::output::Output;
use crate::cli::table::Table;
use crate::config::Config;
use crate::error::ServerError;
use crate::store::devices::DeviceId;
use crate::store::{self, token_keys};

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum DevicesCommand {
    /// The registered phones. Their push tokens are not shown.
    List,
    /// Forget a phone, which may register again.
    Remove {
        /// The device's id, as `devices list` shows it.
        #[arg(value_parser = device_id)]
        device_id: DeviceId,
    },
    /// Forget every phone, because the key that their push tokens are sealed with is lost. The server must not run.
    ///
    /// Phones register again when they connect; until then they are not woken.
    ForgetAll,
}

pub(in crate::cli) async fn run(
    data_dir: &Path,
    command: DevicesCommand,
    output: Output,
) -> Result<(), CliError> {
    if matches!(command, DevicesCommand::ForgetAll) {
        return forget_all(data_dir, output).await;
    }
    let client = AdminClient::new(data_dir)?;
    match command {
        DevicesCommand::ForgetAll => Ok(()),
        DevicesCommand::List => {
            output.print(&client.get::<Vec<DeviceView>>("/v1/devices").await?, |devices| list(devices))
        }
        DevicesCommand::Remove { device_id } => {
            client.tell(Method::DELETE, &format!("/v1/devices/{device_id}"), None::<&()>).await?;
            output.done(&format!("removed {device_id}"))
        }
    }
}

async fn forget_all(data_dir: &Path, output: Output) -> Result<(), CliError> {
    let config = Config::load(data_dir).map_err(ServerError::from)?;
    let db = Database::open(&config.database, &[store::MIGRATIONS]).await.map_err(ServerError::from)?;
    let forgotten = db.submit("forget_devices", |tx| Box::pin(token_keys::forget_devices(tx))).await;
    db.close().await;
    output.done(&format!("forgot {} devices", forgotten.map_err(ServerError::from)?))
}

fn device_id(text: &str) -> Result<DeviceId, &'static str> {
    text.parse().map_err(|_| "a device id has 32 hex digits")
}

fn list(devices: &[DeviceView]) -> Table {
    let mut table = Table::new("no devices", &["device", "node", "platform", "registered"]);
    for device in devices {
        table.row([
            device.device_id.clone(),
            device.node_id.to_string(),
            device.platform.clone(),
            when(device.registered_at),
        ]);
    }
    table
}
