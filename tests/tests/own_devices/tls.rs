//! An LSP that serves HTTPS itself, from the certificate in its config.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use tests::attempt::{Attempt, Program};
use tests::bitcoind::Bitcoind;
use tests::failure::{Failure, TestResult};
use tests::fakes::authority::Authority;
use tests::folder::Folder;
use tests::logs::Logs;
use tests::lsp::{FeePolicy, Lsp};
use tests::wait::{SOON, Seen, wait_until};
use tests::wallet::Wallet;

/// Nothing listens there: nobody is to be woken here.
const WEBHOOK: &str = "https://127.0.0.1:9/push";

/// The wallet, on a phone that trusts these certificates and no others.
fn trusting(data_dir: &Path, certificates: &Path) -> Program {
    Program::wallet(data_dir).variable("SSL_CERT_FILE", certificates.display().to_string())
}

async fn devices(wallet: &Program) -> Result<Value, Failure> {
    let listed = wallet.attempt(&["--json", "devices", "list"]).await?;
    assert_eq!(listed.code, Some(0), "{listed:#?}");
    let name = "devices list".to_owned();
    serde_json::from_str(&listed.stdout).map_err(|source| Failure::Output {
        name,
        output: listed.stdout,
        source,
    })
}

fn cannot_run(attempt: &Attempt, code: i32, words: &[&str]) {
    assert_eq!(attempt.code, Some(code), "{attempt:#?}");
    for word in words {
        assert!(attempt.error().contains(word), "{word:?} is not in {:?}", attempt.error());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn phones_register_over_https_and_a_renewed_certificate_needs_no_restart() -> TestResult {
    let folder = Folder::new()?;
    let mut logs = Logs::default();
    logs.add("lsp", folder.path().join("lsp.log"));
    let bitcoind = Bitcoind::start(&folder.path().join("bitcoind"), &mut |text| eprintln!("{text}")).await?;
    let path = |name: &str| folder.path().join(name);
    let write = |name: &str, text: &str| {
        std::fs::write(path(name), text).map_err(|source| Failure::File { path: path(name), source })
    };
    let (first, second) = (Authority::new()?, Authority::new()?);
    write("first.pem", first.pem())?;
    write("second.pem", second.pem())?;
    let (certificate, key) = (path("fullchain.pem"), path("privkey.pem"));
    first.write_certificate(&certificate, &key)?;

    let settings = [
        ("http.tls_certificate", certificate.display().to_string()),
        ("http.tls_key", key.display().to_string()),
    ];
    let settings = settings.each_ref().map(|(key, value)| (*key, value.as_str()));
    let fees = FeePolicy { base_msat: 0, proportional_millionths: 0 };
    let mut lsp = Lsp::start_new("lsp", folder.path(), &bitcoind, fees, &settings).await?;
    assert!(lsp.api_url().starts_with("https://"));
    let wallet = Wallet::init("phone", folder.path(), &bitcoind, &lsp).await?;

    let stranger = trusting(wallet.data_dir(), &path("second.pem"));
    let registering = ["register", "--webhook", WEBHOOK];
    super::refused(&stranger.attempt(&registering).await?, "certificate");
    assert!(lsp.devices().await?.is_empty(), "who does not trust the certificate has sent nothing");
    let phone = trusting(wallet.data_dir(), &path("first.pem"));
    let registered = phone.attempt(&registering).await?;
    assert_eq!(registered.code, Some(0), "{registered:#?}");
    assert_eq!(devices(&phone).await?.as_array().map(Vec::len), Some(1));
    assert_eq!(lsp.devices().await?.len(), 1);

    // There is no other way in: no token ever travels in the open.
    let client = tests::http::client(Duration::from_secs(20))?;
    let in_the_open = lsp.api_url().replace("https://", "http://");
    let answer = client.get(format!("{in_the_open}/health")).send().await;
    assert!(answer.is_err(), "plain HTTP was answered: {answer:?}");

    second.write_certificate(&certificate, &key)?;
    wait_until("the renewed certificate to be served", SOON, async || {
        let listed = stranger.attempt(&["--json", "devices", "list"]).await?;
        Ok::<_, Failure>(if listed.code == Some(0) { Seen::Done(()) } else { Seen::NotYet(listed.stderr) })
    })
    .await?;
    assert_eq!(devices(&stranger).await?.as_array().map(Vec::len), Some(1));
    super::refused(&phone.attempt(&["devices", "list"]).await?, "certificate");

    // The next start says what is wrong with the files, and never falls back to plain HTTP.
    lsp.stop().await?;
    let server = |http: &[(&str, &Path)]| {
        http.iter().fold(Program::lsp_server(lsp.data_dir()), |server, (setting, path)| {
            server.variable(&format!("LSP__HTTP__{setting}"), path.display().to_string())
        })
    };
    let both = [("TLS_CERTIFICATE", certificate.as_path()), ("TLS_KEY", key.as_path())];
    first.write_certificate(&certificate, &path("other.pem"))?;
    let file = key.display().to_string();
    cannot_run(&server(&both).attempt(&["run"]).await?, 1, &["http.tls_key", &file, "cannot be used with"]);
    std::fs::remove_file(&key).map_err(|source| Failure::File { path: key.clone(), source })?;
    cannot_run(&server(&both).attempt(&["run"]).await?, 1, &["http.tls_key", &file, "cannot read"]);
    cannot_run(&server(&both[..1]).attempt(&["run"]).await?, 2, &["http.tls_key", "is missing"]);
    let open = SocketAddr::from(([0, 0, 0, 0], tests::ports::free_port()?)).to_string();
    let exposed = Program::lsp_server(lsp.data_dir()).variable("LSP__HTTP__LISTEN", &open);
    let words =
        ["LSP__HTTP__LISTEN", &open, "http.tls_certificate and http.tls_key", "http.allow_plain_http"];
    cannot_run(&exposed.attempt(&["run"]).await?, 2, &words);
    logs.not_needed();
    Ok(())
}
