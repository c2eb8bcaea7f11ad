//! Where a device's pushes go, and what its owner hears of them: by the settings and the command line of real processes.

use serde_json::Value;
use tests::attempt::Program;
use tests::bitcoind::Bitcoind;
use tests::failure::{Failure, TestResult};
use tests::folder::Folder;
use tests::logs::Logs;
use tests::lsp::{FeePolicy, Lsp};
use tests::stage::Providers;
use tests::wallet::Wallet;

/// An LSP with all three push services, and nothing else.
pub(crate) struct Alone {
    pub(crate) lsp: Lsp,
    pub(crate) providers: Providers,
    pub(crate) bitcoind: Bitcoind,
    pub(crate) logs: Logs,
    pub(crate) folder: Folder,
}

impl Alone {
    pub(crate) async fn new(settings: &[(&str, &str)]) -> Result<Self, Failure> {
        let folder = Folder::new()?;
        let mut logs = Logs::default();
        logs.add("lsp", folder.path().join("lsp.log"));
        let bitcoind =
            Bitcoind::start(&folder.path().join("bitcoind"), &mut |text| eprintln!("{text}")).await?;
        let providers = Providers::start(folder.path()).await?;
        let settings: Vec<_> = providers.settings().chain(settings.iter().copied()).collect();
        let fees = FeePolicy { base_msat: 0, proportional_millionths: 0 };
        let lsp = Lsp::start_new("lsp", folder.path(), &bitcoind, fees, &settings).await?;
        Ok(Self { lsp, providers, bitcoind, logs, folder })
    }
}

async fn answer(wallet: &Program, arguments: &[&str]) -> Result<Value, Failure> {
    let arguments: Vec<_> = ["--json"].iter().chain(arguments).copied().collect();
    let attempt = wallet.attempt(&arguments).await?;
    assert_eq!(attempt.code, Some(0), "{attempt:#?}");
    let name = arguments.join(" ");
    serde_json::from_str(&attempt.stdout).map_err(|source| Failure::Output {
        name,
        output: attempt.stdout,
        source,
    })
}

/// Registers a device, has it tried, and answers what the push service said, and why.
async fn tried(wallet: &Program, target: &[&str]) -> Result<(String, String), Failure> {
    let registering: Vec<_> = ["register"].iter().chain(target).copied().collect();
    let registered = answer(wallet, &registering).await?;
    let id = registered["device_id"].as_str().unwrap_or_default();
    let said = answer(wallet, &["devices", "test", id]).await?;
    let text = |key: &str| said[key].as_str().unwrap_or_default().to_owned();
    Ok((text("verdict"), text("why")))
}

/// A development build's token goes to Apple's sandbox, a released app's to production, and each is dead at the other. Google's
/// access token is asked for where the setting says, with the assertion that Google takes.
#[tokio::test(flavor = "multi_thread")]
async fn a_device_is_pushed_where_it_belongs_and_its_owner_hears_that_a_token_is_dead() -> TestResult {
    let mut alone = Alone::new(&[]).await?;
    let Alone { lsp, providers, .. } = &alone;
    let wallet = Wallet::init("phone", alone.folder.path(), &alone.bitcoind, lsp).await?;
    let wallet = Program::wallet(wallet.data_dir());
    let (released, developed, gone) = ("0a".repeat(32), "0b".repeat(32), "g".repeat(140));
    let android = "f".repeat(140);
    providers.apns.add_device(&released);
    providers.sandbox.add_device(&developed);
    providers.fcm.add_device(&android);
    let accepted = ("accepted".to_owned(), String::new());
    let apns = |token| ["--platform", "apns", "--token", token];
    let sandbox = |token| ["--platform", "apns", "--token", token, "--environment", "sandbox"];
    let fcm = |token| ["--platform", "fcm", "--token", token];
    assert_eq!(tried(&wallet, &apns(&released)).await?, accepted);
    assert_eq!(tried(&wallet, &sandbox(&developed)).await?, accepted);
    assert_eq!(tried(&wallet, &fcm(&android)).await?, accepted);
    let tokens = |taken: Vec<tests::fakes::Taken>| -> Vec<String> {
        taken.into_iter().map(|taken| taken.token).collect()
    };
    assert_eq!(tokens(providers.apns.taken()), [released.as_str()]);
    assert_eq!(tokens(providers.sandbox.taken()), [developed.as_str()]);
    assert_eq!(tokens(providers.fcm.taken()), [android.as_str()]);
    assert_eq!(providers.fcm.access_tokens(), 1);

    // As it happens with development builds.
    let mistaken = "0e".repeat(32);
    providers.sandbox.add_device(&mistaken);
    let (verdict, why) = tried(&wallet, &apns(&mistaken)).await?;
    assert!(
        verdict == "token_dead" && why.contains("a development build's is of sandbox"),
        "{verdict}: {why}"
    );
    let (verdict, why) = tried(&wallet, &sandbox(&"0c".repeat(32))).await?;
    assert!(verdict == "token_dead" && why.contains("a released app's is of production"), "{verdict}: {why}");
    let (verdict, why) = tried(&wallet, &fcm(&gone)).await?;
    assert!(verdict == "token_dead" && why.contains("UNREGISTERED"), "{verdict}: {why}");
    let mut platforms: Vec<_> = lsp.devices().await?.into_iter().map(|device| device.platform).collect();
    platforms.sort();
    assert_eq!(platforms, ["apns", "apns", "fcm"], "a dead one is forgotten");
    assert_eq!(answer(&wallet, &["devices", "list"]).await?.as_array().map(Vec::len), Some(3));
    let metrics = lsp.metrics().await?;
    let count = |name: &str, labels: &[(&str, &str)]| metrics.sum(&format!("lightning_rod_{name}"), labels);
    assert_eq!(count("dead_devices_total", &[("platform", "apns")]), 2.0);
    assert_eq!(count("dead_devices_total", &[("platform", "fcm")]), 1.0);
    assert_eq!(count("pushes_total", &[("verdict", "accepted")]), 3.0);
    alone.logs.not_needed();
    Ok(())
}

/// What the two APIs say of themselves is what the documentation has.
#[tokio::test(flavor = "multi_thread")]
async fn a_running_server_serves_both_of_its_documents() -> TestResult {
    let mut alone = Alone::new(&[]).await?;
    let failure = |source| Failure::RpcTransport { method: "GET /v1/openapi.json".to_owned(), source };
    let public = tests::http::client(std::time::Duration::from_secs(20))?;
    let admin = reqwest::Client::builder()
        .unix_socket(alone.lsp.data_dir().join("admin.sock"))
        .no_proxy()
        .build()
        .map_err(failure)?;
    for (client, base, copy) in [
        (public, alone.lsp.api_url(), include_str!("../../../docs/openapi/public.json")),
        (admin, "http://lsp-server".to_owned(), include_str!("../../../docs/openapi/admin.json")),
    ] {
        let answer = client.get(format!("{base}/v1/openapi.json")).send().await.map_err(failure)?;
        assert_eq!(answer.headers()["content-type"], "application/json");
        let served: Value = answer.json().await.map_err(failure)?;
        let copy: Value = serde_json::from_str(copy)?;
        assert_eq!(served, copy, "{base}");
        assert!(served["paths"].as_object().is_some_and(|paths| paths.len() > 9), "{base}");
    }
    alone.logs.not_needed();
    Ok(())
}
