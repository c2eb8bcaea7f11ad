//! The push providers: their key files, and whether Google takes the service account.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use notifier::{Ambient, FcmGateway, ProviderClient, ProviderClientConfig, Verdict};

use super::Check;
use super::files::OTHERS;
use crate::clock::Clock;
use crate::config::{Config, ConfigMistake, PushCredentials};
use crate::error::with_causes;

pub(super) async fn examine(config: &Config, clock: &dyn Clock) -> Vec<Check> {
    const NAME: &str = "push credentials";
    let mut checks = Vec::new();
    match config.push_credentials() {
        Err(error) => checks.push(Check::failed(NAME, with_causes(&error), "mend or replace the files")),
        Ok(credentials) => {
            let failed = |mistake: &ConfigMistake| {
                Check::failed(NAME, format!("{mistake}"), "mend or replace the file, and restart")
            };
            checks.extend(credentials.mistakes.iter().map(failed));
            if credentials.mistakes.is_empty() {
                let has_none = config.push.apns.is_none() && config.push.fcm.is_none();
                let found = match has_none {
                    true => "none: phones can register webhooks and UnifiedPush only",
                    false => "every key can be used",
                };
                checks.push(Check::ok(NAME, found));
            }
            checks.extend(service_account(config, credentials, clock).await);
        }
    }
    let p8s = config.push.apns.iter().flat_map(|apns| &apns.apps).map(|app| &app.key_file);
    let account = config.push.fcm.iter().map(|fcm| &fcm.service_account_file);
    let tls = config.http.tls.iter().map(|tls| &tls.key);
    checks.extend(p8s.chain(account).chain(tls).filter_map(|path| exposed(path)));
    checks
}

/// A key that others can read. One that is not there is told elsewhere.
fn exposed(path: &Path) -> Option<Check> {
    let mode = fs::metadata(path).ok()?.mode() & 0o777;
    (mode & OTHERS != 0).then(|| {
        Check::warning(
            "key file",
            format!("{} can be read by others (mode {mode:04o})", path.display()),
            format!("chmod 600 {}", path.display()),
        )
    })
}

/// An account that was deleted, or a key that was revoked, shows here and not at the first push.
async fn service_account(config: &Config, credentials: PushCredentials, clock: &dyn Clock) -> Option<Check> {
    const NAME: &str = "service account";
    let (fcm, account) = (config.push.fcm.as_ref()?, credentials.service_account?);
    let client = ProviderClient::new(&ProviderClientConfig {
        extra_root_certificates: credentials.roots,
        ..ProviderClientConfig::default()
    });
    let client = match client {
        Ok(client) => client,
        Err(error) => return Some(Check::skipped(NAME, with_causes(&error))),
    };
    let now_unix = clock.now_unix();
    // Only for seals, and nothing is pushed.
    let ambient = Ambient::new(move || now_unix, || [0; 32]);
    let gateway = FcmGateway::new(client, account, &fcm.url, fcm.token_url.clone(), ambient);
    Some(match gateway.try_account().await {
        Verdict::Accepted => Check::ok(NAME, "Google gives it an access token"),
        Verdict::RetryAfter(_, why) => Check::warning(
            NAME,
            format!("Google could not be asked: {why}"),
            "see whether this machine reaches push.fcm.token_url, or without it the key file's token_uri; it is asked again at the \
             first push",
        ),
        verdict => Check::failed(
            NAME,
            verdict.why().unwrap_or("refused").to_owned(),
            "make a new key for the account in the Google Cloud console and put it in push.fcm.service_account_file; if \
             it speaks of the time, set this machine's clock",
        ),
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::clock::SystemClock;
    use crate::doctor::Verdict as Found;

    fn config(folder: &Path, push: &str) -> Config {
        let text = format!(
            "network = \"regtest\"\n[bitcoind]\nrpc_url = \"http://127.0.0.1:1\"\nrpc_user = \"u\"\n\
             rpc_password = \"p\"\n{push}"
        );
        Config::parse(folder, &text, []).unwrap()
    }

    #[tokio::test]
    async fn a_key_that_is_wrong_or_that_others_can_read_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let none = examine(&config(folder.path(), ""), &SystemClock).await;
        assert!(none.len() == 1 && none[0].verdict == Found::Ok, "{none:?}");

        let path = folder.path().join("a.p8");
        fs::write(&path, "-----BEGIN CERTIFICATE-----").unwrap();
        let apps = "[push.apns]\napps = [{ bundle_id = \"com.a\", key_file = \"a.p8\", key_id = \"ABC123DEFG\", \
                    team_id = \"DEF123GHIJ\" }]\n";
        let config = config(folder.path(), apps);
        for (mode, verdicts) in [(0o600, &[Found::Failed][..]), (0o644, &[Found::Failed, Found::Warning])] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let checks = examine(&config, &SystemClock).await;
            let found: Vec<_> = checks.iter().map(|check| check.verdict).collect();
            assert_eq!(found, verdicts, "{checks:?}");
            assert!(checks.iter().all(|check| check.found.contains("a.p8") && !check.remedy.is_empty()));
        }
    }
}
