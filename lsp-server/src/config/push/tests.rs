use serde_json::json;

use crate::config::{Config, ConfigError};

/// Made for tests, and good for nothing else.
const FCM_KEY: &str = include_str!("../../../../tests/src/fakes/service_account.pem");

const BASE: &str = "network = \"regtest\"\n[bitcoind]\nrpc_url = \"http://127.0.0.1:1\"\nrpc_user = \"u\"\n\
                    rpc_password = \"p\"\n";

fn parse(push: &str, environment: &[(&str, &str)]) -> Result<Config, ConfigError> {
    let environment = environment.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
    Config::parse("/data".as_ref(), &format!("{BASE}{push}"), environment)
}

const APPS: &str = "[push.apns]\napps = [{ bundle_id = \"com.a\", key_file = \"a.p8\", key_id = \"ABC123DEFG\", \
                    team_id = \"DEF123GHIJ\" }]\n";

#[test]
fn providers_come_from_the_file_or_from_the_environment() {
    let none = parse("", &[]).unwrap().push;
    assert_eq!((none.apns, none.fcm), (None, None));
    let file = parse(&format!("{APPS}[push.fcm]\nservice_account_file = \"/keys/fcm.json\""), &[]).unwrap();
    let apns = file.push.apns.clone().unwrap();
    assert_eq!(apns.apps[0].key_file.to_str(), Some("/data/a.p8"), "relative to the data directory");
    assert_eq!(apns.production_url.as_str(), "https://api.push.apple.com/");
    assert_eq!(file.push.fcm.clone().unwrap().service_account_file.to_str(), Some("/keys/fcm.json"));
    let environment = parse(
        "",
        &[
            ("LSP__PUSH__APNS__APPS", "bundle_id=com.a,key_file=a.p8,key_id=ABC123DEFG,team_id=DEF123GHIJ;"),
            ("LSP__PUSH__FCM__SERVICE_ACCOUNT_FILE", "/keys/fcm.json"),
        ],
    )
    .unwrap();
    assert_eq!(environment.push, file.push);
}

#[test]
fn each_endpoint_has_a_setting_of_its_own() {
    let fcm = "[push.fcm]\nservice_account_file = \"/keys/fcm.json\"";
    let usual = parse(&format!("{APPS}{fcm}"), &[]).unwrap().push;
    assert_eq!(usual.apns.unwrap().sandbox_url.as_str(), "https://api.sandbox.push.apple.com/");
    let google = usual.fcm.unwrap();
    assert_eq!((google.url.as_str(), google.token_url), ("https://fcm.googleapis.com/", None));
    let set = [
        ("LSP__PUSH__APNS__PRODUCTION_URL", "https://proxy.internal/production"),
        ("LSP__PUSH__APNS__SANDBOX_URL", "https://proxy.internal/sandbox"),
        ("LSP__PUSH__FCM__URL", "https://proxy.internal/fcm"),
        ("LSP__PUSH__FCM__TOKEN_URL", "https://proxy.internal/token"),
    ];
    let config = parse(&format!("{APPS}{fcm}"), &set).unwrap().push;
    let (apns, google) = (config.apns.unwrap(), config.fcm.unwrap());
    let urls = [apns.production_url, apns.sandbox_url, google.url, google.token_url.unwrap()];
    assert_eq!(urls.map(String::from), set.map(|(_, url)| url.to_owned()));
}

#[test]
fn mistakes_are_named() {
    for (push, expected) in [
        ("[push.apns]\napps = [{ bundle_id = \"com.a\" }]", "push.apns.apps: expected a list of apps"),
        ("[push.apns]\napp = []", "push.apns.app: is unknown; did you mean push.apns.apps?"),
        ("[push.apsn]\napps = []", "push.apsn: is unknown"),
        ("[push.apns]\nproduction_url = \"http://a\"", "push.apns.production_url: expected an https URL"),
        ("[push.apns]\nsandbox_url = \"https://a:b@c/\"", "push.apns.sandbox_url: expected an https URL"),
        ("[push.fcm]\ntoken_url = \"http://a/token\"", "push.fcm.token_url: expected an https URL"),
        ("[push]\nin_flight_per_provider_max = 0", "push.in_flight_per_provider_max: expected 1 to 1000"),
    ] {
        let ConfigError::Mistakes { mistakes, .. } = parse(push, &[]).unwrap_err() else { panic!("{push}") };
        assert_eq!(mistakes.len(), 1, "{mistakes:?}");
        assert!(mistakes[0].to_string().starts_with(expected), "{}", mistakes[0]);
    }
}

#[test]
fn every_file_that_cannot_be_used_is_named_with_a_remedy() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let wrong_p8 = write("a.p8", "-----BEGIN CERTIFICATE-----\nsecret\n-----END CERTIFICATE-----\n");
    let broken = write("fcm.json", "{\"private_key\":\"secret");
    let config = parse(
        "",
        &[
            (
                "LSP__PUSH__APNS__APPS",
                &format!("bundle_id=com.a,key_file={wrong_p8},key_id=ABC123DEFG,team_id=DEF123GHIJ"),
            ),
            ("LSP__PUSH__FCM__SERVICE_ACCOUNT_FILE", &broken),
            ("LSP__PUSH__EXTRA_ROOT_CERTIFICATES", "missing.pem"),
        ],
    )
    .unwrap();
    let mistakes: Vec<_> = config.push.credentials().unwrap_err().iter().map(ToString::to_string).collect();
    assert_eq!(mistakes.len(), 3, "{mistakes:?}");
    assert!(mistakes[0].contains("/data/missing.pem: cannot be read"), "{}", mistakes[0]);
    assert!(mistakes[1].contains("AuthKey_"), "{}", mistakes[1]);
    assert!(mistakes[2].contains("Generate new private key"), "{}", mistakes[2]);
    assert!(!mistakes.concat().contains("secret"));
}

#[test]
fn a_file_that_cannot_be_used_is_no_other_providers_trouble() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let p8 = || rcgen::KeyPair::generate().unwrap().serialize_pem();
    let app = |bundle: &str, key_file: &str| {
        format!("bundle_id={bundle},key_file={key_file},key_id=ABC123DEFG,team_id=DEF123GHIJ;")
    };
    let missing = folder.path().join("missing.p8").display().to_string();
    let (good, broken) = (write("good.p8", &p8()), write("broken.p8", "wrong"));
    let apps = [app("com.a", &broken), app("com.b", &good), app("com.c", &missing)].concat();
    let account = json!({
        "type": "service_account",
        "project_id": "wallet-1",
        "private_key_id": "1",
        "private_key": FCM_KEY,
        "client_email": "push@wallet-1.iam.gserviceaccount.com",
        "token_uri": "https://oauth2.googleapis.com/token",
    });
    let account = write("good.json", &account.to_string());
    let with = |apps: &str, account: &str| {
        let set = [("LSP__PUSH__APNS__APPS", apps), ("LSP__PUSH__FCM__SERVICE_ACCOUNT_FILE", account)];
        let credentials = parse("", &set).unwrap().push_credentials().unwrap();
        let bundles: Vec<_> = credentials.apps.into_iter().map(|app| app.bundle_id).collect();
        let mistakes: Vec<_> = credentials.mistakes.iter().map(ToString::to_string).collect();
        (bundles, credentials.service_account.is_some(), mistakes)
    };
    let (bundles, has_account, mistakes) = with(&apps, &account);
    assert_eq!((bundles, has_account), (vec!["com.b".to_owned()], true));
    assert_eq!(mistakes.len(), 2, "{mistakes:?}");
    assert!(mistakes[0].contains("broken.p8") && mistakes[1].contains("missing.p8"), "{mistakes:?}");

    let (bundles, has_account, mistakes) = with(&app("com.b", &good), &write("broken.json", "{"));
    assert_eq!((bundles, has_account), (vec!["com.b".to_owned()], false));
    assert!(mistakes.len() == 1 && mistakes[0].contains("broken.json"), "{mistakes:?}");
}
