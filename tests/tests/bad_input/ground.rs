//! What all tests here share: one chain, one running LSP, one wallet with a channel.

use std::sync::OnceLock;

use axum::extract::State;
use axum::routing::post;
use axum::{Json, Router};
use serde_json::{Value, json};
use tests::attempt::Attempt;
use tests::bitcoind::Bitcoind;
use tests::failure::{Failure, TestResult};
use tests::folder::Folder;
use tests::logs::Logs;
use tests::lsp::{FeePolicy, Lsp};
use tests::wallet::Wallet;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::Mutex;

/// The channel of [`Ground::payer`], all of it the payer's.
const CHANNEL_SAT: u64 = 500_000;
/// For fees and anchor reserves, on top of a channel's capacity.
const ON_CHAIN_EXTRA_SAT: u64 = 200_000;
const CONFIRMATIONS: u32 = 6;

pub(crate) const FEES: FeePolicy = FeePolicy { base_msat: 1_000, proportional_millionths: 100 };

pub(crate) struct Ground {
    runtime: Runtime,
    pub(crate) bitcoind: Bitcoind,
    /// It runs, and nobody stops it.
    pub(crate) lsp: Lsp,
    /// Whoever has the lock has the wallet for itself.
    pub(crate) payer: Mutex<Wallet>,
    pub(crate) folder: Folder,
}

/// Runs a test on the ground that all share: a bitcoind for each would take longer than the tests.
pub(crate) fn on_ground(test: impl AsyncFnOnce(&'static Ground) -> TestResult) -> TestResult {
    // Never dropped: what runs on it ends with this program.
    static GROUND: OnceLock<Ground> = OnceLock::new();
    let ground = GROUND.get_or_init(|| match Ground::new() {
        Ok(ground) => ground,
        Err(error) => panic!("no ground to test on: {}", xtask::with_causes(&error)),
    });
    let mut logs = Logs::default();
    logs.add("the LSP", ground.folder.path().join("lsp.log"));
    let outcome = ground.runtime.block_on(test(ground));
    if outcome.is_ok() {
        logs.not_needed();
    }
    outcome
}

impl Ground {
    fn new() -> Result<Self, Failure> {
        let failure = |source| Failure::Start { name: "a runtime".to_owned(), source };
        let runtime = Builder::new_multi_thread().enable_all().build().map_err(failure)?;
        let folder = Folder::new()?;
        let (bitcoind, lsp, payer) = runtime.block_on(async {
            let bitcoind =
                Bitcoind::start(&folder.path().join("bitcoind"), &mut |text| eprintln!("{text}")).await?;
            let lsp = Lsp::start_new("lsp", folder.path(), &bitcoind, FEES, &[]).await?;
            let payer = Wallet::init("payer", folder.path(), &bitcoind, &lsp).await?;
            let address = payer.ask(&["address"]).await?;
            let address = address["address"].as_str().unwrap_or_default();
            bitcoind.send(address, CHANNEL_SAT + ON_CHAIN_EXTRA_SAT).await?;
            bitcoind.mine(1).await?;
            payer.ask(&["open", "--capacity-sat", &CHANNEL_SAT.to_string()]).await?;
            bitcoind.mine(CONFIRMATIONS).await?;
            payer.follow(&["run", "--until-channels", "1"], |_| ()).await?;
            Ok::<_, Failure>((bitcoind, lsp, payer))
        })?;
        Ok(Self { runtime, bitcoind, lsp, payer: Mutex::new(payer), folder })
    }
}

/// The command ended with this code, and its last words say all this.
#[track_caller]
pub(crate) fn refused(attempt: &Attempt, code: i32, words: &[&str]) {
    assert_eq!(attempt.code, Some(code), "{attempt:#?}");
    for word in words {
        assert!(attempt.error().contains(word), "{word:?} is not in {:?}", attempt.error());
    }
    assert!(!attempt.stderr.contains("panicked"), "{attempt:#?}");
}

/// The URL of something that answers as a bitcoind of another chain would.
pub(crate) async fn bitcoind_of(chain: &'static str) -> Result<String, Failure> {
    let failure = |source| Failure::Start { name: "a bitcoind of another chain".to_owned(), source };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.map_err(failure)?;
    let url = format!("http://{}", listener.local_addr().map_err(failure)?);
    let answer = async |State(chain): State<&'static str>, Json(request): Json<Value>| {
        Json(json!({ "result": { "chain": chain }, "error": null, "id": request["id"] }))
    };
    let app = Router::new().route("/", post(answer)).with_state(chain);
    tokio::spawn(async { axum::serve(listener, app).await });
    Ok(url)
}
