//! `[push]`: which providers are pushed through, and as whom.

use std::path::{Path, PathBuf};

use notifier::apns::{ApnsApp, ApnsKey, PRODUCTION_URL, SANDBOX_URL};
use notifier::fcm::{FCM_URL, ServiceAccount};
use notifier::{RootCertificates, Url};
use toml::Value;

use super::TOKEN_KEY_FILE;
use super::edge;
use super::error::ConfigMistake;
use super::setting::{Setting, Settings};
use crate::store::devices::DeviceLimits;
use crate::store::wakes::WakeLimits;

/// Pushes to one provider that are under way at once.
const IN_FLIGHT_PER_PROVIDER: u32 = 256;
/// Apple's connections take a thousand streams.
const IN_FLIGHT_PER_PROVIDER_MAX: u32 = 1_000;

/// `[push]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PushConfig {
    /// For development only: webhooks may be plain HTTP and point into private networks.
    pub allow_private_addresses: bool,
    /// How many devices may be registered.
    pub devices: DeviceLimits,
    /// How often a device may be pushed.
    pub wakes: WakeLimits,
    /// Pushes to one provider that are under way at once: a slow one keeps the others waiting for nothing.
    pub in_flight_per_provider_max: u32,
    /// The file with the keys that push tokens are sealed with.
    pub token_key_file: PathBuf,
    /// A PEM file with certificates that are trusted beside the system's.
    pub extra_root_certificates: Option<PathBuf>,
    /// `[push.apns]`; `None` without an app.
    pub apns: Option<ApnsConfig>,
    /// `[push.fcm]`; `None` without a service account.
    pub fcm: Option<FcmConfig>,
}

/// `[push.apns]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApnsConfig {
    /// The apps that are pushed to, at least one.
    pub apps: Vec<ApnsAppConfig>,
    /// Apple's endpoint for released apps.
    pub production_url: Url,
    /// Apple's endpoint for development builds.
    pub sandbox_url: Url,
}

/// One app of `push.apns.apps`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ApnsAppConfig {
    /// The app's bundle id.
    pub bundle_id: String,
    /// The `.p8` that signs for its team.
    pub key_file: PathBuf,
    /// That key's id.
    pub key_id: String,
    /// The team's id.
    pub team_id: String,
}

/// `[push.fcm]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FcmConfig {
    /// The key file of a service account of the Firebase project.
    pub service_account_file: PathBuf,
    /// Google's endpoint.
    pub url: Url,
    /// Where access tokens are asked for, if not at the address in the key file: a proxy's, for instance. They are asked of the
    /// one that the key file names all the same.
    pub token_url: Option<Url>,
}

/// What the files hold that [`PushConfig`] names. A file that cannot be used is left out.
#[derive(Debug)]
pub struct PushCredentials {
    /// From `push.extra_root_certificates`.
    pub roots: RootCertificates,
    /// From `push.apns.apps`.
    pub apps: Vec<ApnsApp>,
    /// From `push.fcm.service_account_file`.
    pub service_account: Option<ServiceAccount>,
    /// The files that were left out, with what to do about each: their phones are not woken.
    pub mistakes: Vec<ConfigMistake>,
}

impl PushConfig {
    /// Reads every file that it names. What is wrong with one app or provider is no other's trouble.
    ///
    /// # Errors
    /// When the certificates cannot be used that all providers are trusted by; then every file that cannot be.
    pub fn credentials(&self) -> Result<PushCredentials, Vec<ConfigMistake>> {
        let mut mistakes = Vec::new();
        let mut credentials = PushCredentials {
            roots: RootCertificates::default(),
            apps: Vec::new(),
            service_account: None,
            mistakes: Vec::new(),
        };
        let mut has_roots = true;
        if let Some(path) = &self.extra_root_certificates {
            let read = |pem: &[u8]| RootCertificates::from_pem(pem);
            match load("push.extra_root_certificates", path, read, &mut mistakes) {
                Some(roots) => credentials.roots = roots,
                None => has_roots = false,
            }
        }
        for app in self.apns.iter().flat_map(|apns| &apns.apps) {
            let read = |p8: &[u8]| ApnsKey::new(p8, &app.key_id, &app.team_id);
            if let Some(key) = load("push.apns.apps", &app.key_file, read, &mut mistakes) {
                credentials.apps.push(ApnsApp { bundle_id: app.bundle_id.clone(), key: key.into() });
            }
        }
        if let Some(fcm) = &self.fcm {
            let (setting, path) = ("push.fcm.service_account_file", &fcm.service_account_file);
            credentials.service_account = load(setting, path, ServiceAccount::from_json, &mut mistakes);
        }
        if !has_roots {
            return Err(mistakes);
        }
        credentials.mistakes = mistakes;
        Ok(credentials)
    }
}

fn load<T, E: std::error::Error + 'static>(
    setting: &str,
    path: &Path,
    read: impl FnOnce(&[u8]) -> Result<T, E>,
    mistakes: &mut Vec<ConfigMistake>,
) -> Option<T> {
    let what = match std::fs::read(path) {
        Ok(bytes) => match read(&bytes) {
            Ok(value) => return Some(value),
            Err(error) => crate::error::with_causes(&error),
        },
        Err(error) => format!("cannot be read: {error}"),
    };
    mistakes
        .push(ConfigMistake { setting: setting.to_owned(), message: format!("{}: {what}", path.display()) });
    None
}

/// Relative paths lie in the data directory, wherever the server is started from.
pub(super) fn read(settings: &mut Settings, data_dir: &Path) -> PushConfig {
    let config = PushConfig {
        allow_private_addresses: settings.or("push.allow_private_addresses", false),
        devices: edge::devices(settings),
        wakes: edge::wakes(settings),
        in_flight_per_provider_max: settings.or("push.in_flight_per_provider_max", IN_FLIGHT_PER_PROVIDER),
        token_key_file: data_dir.join(settings.or("push.token_key_file", TOKEN_KEY_FILE.to_owned())),
        extra_root_certificates: settings
            .optional::<String>("push.extra_root_certificates")
            .map(|path| data_dir.join(path)),
        apns: apns(settings, data_dir),
        fcm: fcm(settings, data_dir),
    };
    settings.check(
        "push.in_flight_per_provider_max",
        (1..=IN_FLIGHT_PER_PROVIDER_MAX).contains(&config.in_flight_per_provider_max),
        || format!("expected 1 to {IN_FLIGHT_PER_PROVIDER_MAX}"),
    );
    config
}

fn apns(settings: &mut Settings, data_dir: &Path) -> Option<ApnsConfig> {
    let mut apps: Vec<ApnsAppConfig> = settings.or("push.apns.apps", Vec::new());
    let production_url = url(settings, "push.apns.production_url", PRODUCTION_URL);
    let sandbox_url = url(settings, "push.apns.sandbox_url", SANDBOX_URL);
    for app in &mut apps {
        app.key_file = data_dir.join(&app.key_file);
    }
    let bundles: std::collections::BTreeSet<_> = apps.iter().map(|app| &app.bundle_id).collect();
    settings.check("push.apns.apps", bundles.len() == apps.len(), || "names a bundle id twice".to_owned());
    let is_bundle = |bundle: &str| {
        !bundle.is_empty()
            && bundle.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-'))
    };
    settings.check("push.apns.apps", apps.iter().all(|app| is_bundle(&app.bundle_id)), || {
        "has a bundle_id that is none: expected letters, digits, dots and hyphens".to_owned()
    });
    (!apps.is_empty()).then_some(ApnsConfig {
        apps,
        production_url: production_url?,
        sandbox_url: sandbox_url?,
    })
}

fn fcm(settings: &mut Settings, data_dir: &Path) -> Option<FcmConfig> {
    let file = settings.optional::<String>("push.fcm.service_account_file");
    let fcm_url = url(settings, "push.fcm.url", FCM_URL);
    let token_url = settings.optional("push.fcm.token_url");
    Some(FcmConfig { service_account_file: data_dir.join(file?), url: fcm_url?, token_url })
}

fn url(settings: &mut Settings, key: &'static str, default: &str) -> Option<Url> {
    settings.optional(key).or_else(|| Url::from_text(default))
}

impl Setting for Url {
    const EXPECTED: &'static str = "an https URL without user, password and query";

    fn from_text(text: &str) -> Option<Self> {
        text.parse::<Url>().ok().filter(|url| {
            url.scheme() == "https"
                && url.username().is_empty()
                && url.password().is_none()
                && url.query().is_none()
                && url.fragment().is_none()
        })
    }
}

impl Setting for Vec<ApnsAppConfig> {
    const EXPECTED: &'static str = "a list of apps, such as \
         [{ bundle_id = \"com.example.wallet\", key_file = \"AuthKey_ABC123DEFG.p8\", key_id = \"ABC123DEFG\", \
         team_id = \"DEF123GHIJ\" }]";

    /// `bundle_id=A,key_file=B,key_id=C,team_id=D`, several with `;` between them.
    fn from_text(text: &str) -> Option<Self> {
        let apps = text.split(';').map(str::trim).filter(|app| !app.is_empty());
        apps.map(|app| {
            let pairs = app
                .split(',')
                .map(|pair| pair.split_once('=').map(|(key, value)| (key.trim(), value.trim())));
            one_app(pairs.collect::<Option<Vec<_>>>()?)
        })
        .collect()
    }

    fn from_toml(value: &Value) -> Option<Self> {
        let apps = value.as_array()?.iter();
        apps.map(|app| {
            let pairs = app.as_table()?.iter().map(|(key, value)| Some((key.as_str(), value.as_str()?)));
            one_app(pairs.collect::<Option<Vec<_>>>()?)
        })
        .collect()
    }
}

/// Each of the four once, and nothing else.
fn one_app(pairs: Vec<(&str, &str)>) -> Option<ApnsAppConfig> {
    let mut app = ApnsAppConfig::default();
    if pairs.len() != 4 {
        return None;
    }
    for (key, value) in pairs {
        match key {
            "bundle_id" => app.bundle_id = value.to_owned(),
            "key_file" => app.key_file = value.into(),
            "key_id" => app.key_id = value.to_owned(),
            "team_id" => app.team_id = value.to_owned(),
            _ => return None,
        }
    }
    let is_whole = !app.bundle_id.is_empty()
        && !app.key_file.as_os_str().is_empty()
        && !app.key_id.is_empty()
        && !app.team_id.is_empty();
    is_whole.then_some(app)
}

#[cfg(test)]
mod tests;
