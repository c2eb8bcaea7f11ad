//! Apple's and Google's services for a worker, and the phones that they know.

use std::path::{Path, PathBuf};

use ::tests::failure::Failure;
use ::tests::fakes::apns::{Apns, DeveloperKey, KEY_ID, TEAM_ID};
use ::tests::fakes::authority::Authority;
use ::tests::fakes::fcm::Fcm;
use ::tests::fakes::system_clock;
use bitcoin::hashes::{Hash, sha256};
use bitcoin::secp256k1::{PublicKey, Secp256k1, SecretKey};
use hex::DisplayHex;
use lsp_server::config::{ApnsAppConfig, ApnsConfig, FcmConfig, PushConfig};
use lsp_server::store::devices::DeviceLimits;
use lsp_server::wake::WakeLimits;
use notifier::{GatewayKind, PushTarget, Url};
use serde::{Deserialize, Serialize};

const BUNDLE_ID: &str = "com.example.wallet";
/// As `lsp-server` has it unless a setting says otherwise.
const IN_FLIGHT_PER_PROVIDER: u32 = 256;

/// The strict fakes, in the benchmark's own process.
pub(crate) struct Providers {
    apns: Apns,
    fcm: Fcm,
    pub(crate) endpoints: Endpoints,
}

/// What a worker is told of them.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Endpoints {
    roots: PathBuf,
    p8: PathBuf,
    account: PathBuf,
    apns_url: String,
    fcm_url: String,
}

/// One phone: every second one is an iPhone.
#[derive(Clone, Debug)]
pub(crate) struct Device {
    pub(crate) node_id: PublicKey,
    pub(crate) target: PushTarget,
}

impl Device {
    /// The same for the same number.
    pub(crate) fn number(number: usize) -> Result<Self, Failure> {
        let hash = sha256::Hash::hash(&number.to_be_bytes());
        let secret = SecretKey::from_slice(&hash.to_byte_array())
            .map_err(|error| Failure::wrong(format!("phone {number} has no key: {error}")))?;
        let node_id = secret.public_key(&Secp256k1::signing_only());
        let hex = hash.to_byte_array().to_lower_hex_string();
        let target = if number.is_multiple_of(2) {
            PushTarget { topic: Some(BUNDLE_ID.to_owned()), ..PushTarget::new(GatewayKind::Apns, hex) }
        } else {
            // As long as Google's.
            PushTarget::new(GatewayKind::Fcm, format!("{}:APA91b{hex}{hex}", &hex[..22]))
        };
        Ok(Self { node_id, target })
    }
}

impl Providers {
    /// Starts them; they know `devices` phones.
    pub(crate) async fn start(folder: &Path, devices: usize) -> Result<Self, Failure> {
        let (authority, key) = (Authority::new()?, DeveloperKey::new()?);
        let apns = Apns::start(&authority, &key, &[BUNDLE_ID], system_clock()).await?;
        let fcm = Fcm::start(&authority, system_clock()).await?;
        for number in 0..devices {
            let target = Device::number(number)?.target;
            match target.kind {
                GatewayKind::Apns => apns.add_device(&target.token),
                _ => fcm.add_device(&target.token),
            }
        }
        let write = |name: &str, text: &str| -> Result<PathBuf, Failure> {
            let path = folder.join(name);
            std::fs::write(&path, text).map_err(|source| Failure::File { path: path.clone(), source })?;
            Ok(path)
        };
        let endpoints = Endpoints {
            roots: write("push_authority.pem", authority.pem())?,
            p8: write("AuthKey.p8", apns.p8())?,
            account: write("service_account.json", &fcm.service_account())?,
            apns_url: apns.server().url().to_owned(),
            fcm_url: fcm.server().url().to_owned(),
        };
        Ok(Self { apns, fcm, endpoints })
    }

    /// How many pushes they took.
    pub(crate) fn taken(&self) -> usize {
        self.apns.taken_count() + self.fcm.taken_count()
    }
}

impl Endpoints {
    /// `[push]` of a server that pushes through them.
    pub(crate) fn config(&self) -> Result<PushConfig, Failure> {
        let url = |text: &str| {
            Url::parse(text).map_err(|error| Failure::wrong(format!("{text} is no URL: {error}")))
        };
        let app = ApnsAppConfig {
            bundle_id: BUNDLE_ID.to_owned(),
            key_file: self.p8.clone(),
            key_id: KEY_ID.to_owned(),
            team_id: TEAM_ID.to_owned(),
        };
        Ok(PushConfig {
            allow_private_addresses: false,
            devices: DeviceLimits::default(),
            wakes: WakeLimits::default(),
            in_flight_per_provider_max: IN_FLIGHT_PER_PROVIDER,
            token_key_file: PathBuf::new(),
            extra_root_certificates: Some(self.roots.clone()),
            apns: Some(ApnsConfig {
                apps: vec![app],
                production_url: url(&self.apns_url)?,
                sandbox_url: url(&self.apns_url)?,
            }),
            fcm: Some(FcmConfig {
                service_account_file: self.account.clone(),
                url: url(&self.fcm_url)?,
                token_url: None,
            }),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_second_phone_is_an_iphone_and_none_is_another() {
        let devices: Vec<_> = (0..4).map(|number| Device::number(number).unwrap()).collect();
        let kinds: Vec<_> = devices.iter().map(|device| device.target.kind).collect();
        assert_eq!(kinds, [GatewayKind::Apns, GatewayKind::Fcm, GatewayKind::Apns, GatewayKind::Fcm]);
        assert_ne!(devices[0].node_id, devices[2].node_id);
        assert_eq!(devices[1].node_id, Device::number(1).unwrap().node_id);
    }
}
