//! `wallet devices` and `wallet wakes`.

use protocol::api::ledger::WakeRecord;
use protocol::api::owner::OwnDevice;
use protocol::api::public::DeviceTarget;
use serde_json::json;
use wallet::Wallet;

use super::commands::{Outcome, answer};
use super::error::CliError;

#[derive(Debug, clap::Subcommand)]
pub(super) enum DevicesCommand {
    /// Where the LSP wakes this wallet. Tokens are not shown.
    List,
    /// Tell the LSP another token of a device; its id stays.
    Refresh {
        /// The device's id, as `devices list` shows it.
        #[arg(value_parser = device_id)]
        device_id: String,
        #[command(flatten)]
        target: Target,
    },
    /// Have the LSP forget a device.
    Remove {
        /// The device's id, as `devices list` shows it.
        #[arg(value_parser = device_id)]
        device_id: String,
    },
    /// Have the LSP push to a device now, and say what the push service said.
    Test {
        /// The device's id, as `devices list` shows it.
        #[arg(value_parser = device_id)]
        device_id: String,
    },
}

/// By which push service a phone is woken, and what that service knows it by.
#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("where").required(true).args(["webhook", "token"]))]
pub(super) struct Target {
    /// URL that gets a POST: short for `--platform webhook --token URL`.
    #[arg(long, conflicts_with_all = ["platform", "topic", "environment"])]
    webhook: Option<String>,
    /// The push service.
    #[arg(long, value_parser = ["apns", "fcm", "unifiedpush", "webhook"], requires = "token")]
    platform: Option<String>,
    /// What the push service knows this phone by: device token, registration token, endpoint, URL.
    #[arg(long, requires = "platform")]
    token: Option<String>,
    /// With apns, the app's bundle id; not needed if the LSP pushes to one app.
    #[arg(long)]
    topic: Option<String>,
    /// With apns, where the token is from.
    #[arg(long, value_parser = ["production", "sandbox"])]
    environment: Option<String>,
    /// Have pushes sealed to this wallet's key, so that no push service can read them.
    #[arg(long)]
    sealed: bool,
}

impl Target {
    pub(super) fn of(self, wallet: &Wallet) -> DeviceTarget {
        let Self { webhook, platform, token, topic, environment, sealed } = self;
        // The arguments' rules leave either the one or the other two.
        let (platform, token) = match webhook {
            Some(url) => ("webhook".to_owned(), url),
            None => (platform.unwrap_or_default(), token.unwrap_or_default()),
        };
        let seal_key = sealed.then(|| wallet.push_seal_key().to_string());
        DeviceTarget { platform, token, topic, environment, seal_key }
    }
}

/// It stands in a path.
fn device_id(text: &str) -> Result<String, &'static str> {
    let is_id = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_id { Ok(text.to_owned()) } else { Err("a device id has 32 hex digits") }
}

pub(super) async fn run(wallet: &Wallet, command: DevicesCommand) -> Result<Outcome, CliError> {
    match command {
        DevicesCommand::List => {
            let devices = wallet.devices().await?;
            let lines: Vec<_> = devices.iter().map(device_line).collect();
            let text = if lines.is_empty() { "no device".to_owned() } else { lines.join("\n") };
            Ok(answer(json!(devices), text))
        }
        DevicesCommand::Refresh { device_id, target } => {
            wallet.refresh_device(&device_id, target.of(wallet)).await?;
            Ok(answer(json!({ "refreshed": device_id }), format!("{device_id} has another token")))
        }
        DevicesCommand::Remove { device_id } => {
            wallet.remove_device(&device_id).await?;
            Ok(answer(json!({ "removed": device_id }), format!("{device_id} is forgotten")))
        }
        DevicesCommand::Test { device_id } => {
            let tested = wallet.test_device(&device_id).await?;
            let why = tested.why.as_deref().map(|why| format!(" ({why})")).unwrap_or_default();
            let text = format!("{}{why}, after {} ms", tested.verdict, tested.answered_ms);
            Ok(answer(json!(tested), text))
        }
    }
}

pub(super) async fn wakes(wallet: &Wallet) -> Result<Outcome, CliError> {
    let wakes = wallet.wakes().await?;
    let lines: Vec<_> = wakes.iter().map(wake_line).collect();
    let text = if lines.is_empty() { "no wakes".to_owned() } else { lines.join("\n") };
    Ok(answer(json!(wakes), text))
}

fn device_line(device: &OwnDevice) -> String {
    let OwnDevice { device_id, platform, registered_at, paused_until } = device;
    let paused = paused_until.map(|until| format!(", paused until {until}")).unwrap_or_default();
    format!("{device_id}  {platform}, registered at {registered_at}{paused}")
}

fn wake_line(wake: &WakeRecord) -> String {
    let WakeRecord { reason, state, opened_at, pushes, explanation, .. } = wake;
    format!("{opened_at}  {reason}, {state}, {} push(es): {explanation}", pushes.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_that_could_lead_elsewhere_is_refused() {
        assert_eq!(device_id(&"0a".repeat(16)), Ok("0a".repeat(16)));
        for text in ["", "0a", &"../".repeat(11)[..32], &"0a".repeat(17)] {
            assert!(device_id(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_device_is_one_line() {
        let device = OwnDevice {
            device_id: "0a".repeat(16),
            platform: "fcm".into(),
            registered_at: 5,
            paused_until: Some(9),
        };
        assert_eq!(
            device_line(&device),
            format!("{}  fcm, registered at 5, paused until 9", "0a".repeat(16))
        );
    }
}
