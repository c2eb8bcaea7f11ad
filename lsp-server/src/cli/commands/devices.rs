//! `lsp-server devices`.

use std::path::Path;

use clap::Subcommand;
use protocol::api::admin::DeviceView;
use reqwest::Method;

use crate::cli::CliError;
use crate::cli::amounts::when;
use crate::cli::client::AdminClient;
use crate::cli::output::Output;
use crate::cli::table::Table;
use crate::store::devices::DeviceId;

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
}

pub(in crate::cli) async fn run(
    data_dir: &Path,
    command: DevicesCommand,
    output: Output,
) -> Result<(), CliError> {
    let client = AdminClient::new(data_dir)?;
    match command {
        DevicesCommand::List => {
            output.print(&client.get::<Vec<DeviceView>>("/v1/devices").await?, |devices| list(devices))
        }
        DevicesCommand::Remove { device_id } => {
            client.tell(Method::DELETE, &format!("/v1/devices/{device_id}"), None::<&()>).await?;
            output.done(&format!("removed {device_id}"))
        }
    }
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
