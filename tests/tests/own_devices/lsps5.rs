//! Webhooks that a wallet sets over Lightning, on real processes, with `lightning-liquidity`'s client and an HTTPS server.

use node::HookReason;
use protocol::api::admin::NotificationView;
use serde_json::{Value, json};
use tests::attempt::Program;
use tests::failure::{Failure, TestResult};
use tests::lsp::Lsp;
use tests::phone::Phone;
use tests::stage::{PAYMENT_TIMEOUT, Setup, Stage};
use tests::wait::{Seen, wait_until};

use super::hook::{Hook, Notification, is_to_the_letter};
use super::refused;

const AMOUNT_MSAT: u64 = 300_000_000;

/// One LSP that trusts the hook's certificate, and a payee that has no other device than the hook.
async fn with_hook(stage: &mut Stage) -> Result<Hook, Failure> {
    let hook = Hook::start(stage.payees_lsp().node_id()).await?;
    let roots = stage.folder().join("hook_authority.pem");
    std::fs::write(&roots, hook.authority().pem())
        .map_err(|source| Failure::File { path: roots.clone(), source })?;
    let lsp = stage.payees_lsp_mut();
    lsp.set("push.extra_root_certificates", &roots.display().to_string());
    lsp.stop().await?;
    lsp.start().await?;
    for device in stage.payee.ask(&["devices", "list"]).await?.as_array().into_iter().flatten() {
        stage.payee.ask(&["devices", "remove", device["device_id"].as_str().unwrap_or_default()]).await?;
    }
    Ok(hook)
}

async fn names(phone: &Phone) -> Result<Value, Failure> {
    Ok(phone.ask(&["webhooks", "list"]).await?["webhooks"].clone())
}

/// Waits until so many hooks were told that they are hooks, and it is on record.
async fn until_told(lsp: &Lsp, count: usize) -> Result<(), Failure> {
    wait_until(&format!("{count} hooks to be told"), PAYMENT_TIMEOUT, async || {
        let kept: Vec<NotificationView> = lsp.ask(&["notifications"]).await?;
        let is_told = |view: &NotificationView| {
            (&*view.template, &*view.platform, &*view.state) == ("webhook_registered", "lsps5", "accepted")
        };
        let is_over = kept.len() == count && kept.iter().all(is_told);
        Ok(if is_over { Seen::Done(()) } else { Seen::NotYet(format!("{kept:?}")) })
    })
    .await
}

/// The hook has rung: the phone's wallet wakes, and is paid.
async fn wake_and_be_paid(phone: &Phone) -> Result<(), Failure> {
    let run = phone.follow(&["wake"], |_| ()).await?;
    let paid = run.success && run.step("paid").is_some();
    if paid { Ok(()) } else { Err(Failure::wrong(format!("the woken phone was not paid: {run:?}"))) }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_phone_is_woken_through_a_hook_that_it_set_over_lightning() -> TestResult {
    let mut stage = Stage::new(Setup::lsps(1)).await?;
    let hook = with_hook(&mut stage).await?;
    assert_eq!(names(&stage.payee).await?, json!([]));
    let set = stage.payee.ask(&["webhooks", "set", "my app", &hook.url()]).await?;
    assert_eq!(set, json!({ "set": "my app", "webhooks_max": 10 }));
    // It is on disk when the answer comes.
    stage.payees_lsp_mut().kill().await;
    stage.payees_lsp_mut().start().await?;
    assert_eq!(names(&stage.payee).await?, json!(["my app"]));
    assert_eq!(names(&stage.payer).await?, json!([]), "another phone's is none of its");
    // The first notification says that the hook works: once, and once more if the kill cut its record off.
    assert_eq!(hook.wait_for(1).await?.reason, HookReason::Registered);
    until_told(stage.payees_lsp(), 1).await?;
    let came = hook.taken().len();
    stage.payee.ask(&["webhooks", "set", "my app", &format!("{}?moved", hook.url())]).await?;
    assert_eq!(hook.wait_for(came + 1).await?.reason, HookReason::Registered);
    until_told(stage.payees_lsp(), 2).await?;

    // A payment that is held for it: its payer's message wakes it.
    let came = hook.taken().len();
    let balances = stage.balances().await?;
    let (invoice, payment_hash) = stage.invoice(AMOUNT_MSAT, &[]).await?;
    stage.pay(&invoice, &[]).await?;
    let held = hook.wait_for(came + 1).await?;
    assert_eq!(held.reason, HookReason::OnionMessageIncoming);
    assert!(!is_to_the_letter(&held.timestamp), "stock LDK has checked it: {held:?}");
    assert_eq!(held.body, r#"{"jsonrpc":"2.0","method":"lsps5.onion_message_incoming","params":{}}"#);
    wake_and_be_paid(&stage.payee).await?;
    assert_eq!(stage.payee.pushes().len(), 0, "nothing came another way");

    // Nobody else rings: not with what was overheard, nor with a signature of his own, nor with another body.
    let came = hook.taken().len();
    let (timestamp, signature, body) = (held.timestamp, held.signature, held.body);
    let replayed = Notification { reason: held.reason, timestamp, signature, body };
    assert_eq!(hook.post(&replayed).await?, 403);
    assert_eq!(hook.refused().last().map(String::as_str), Some("the notification came before"));
    let body = replayed.body.replace("onion_message", "payment");
    for forged in [
        Notification { body, ..replayed.clone() },
        Notification { signature: "y".repeat(104), ..replayed.clone() },
        Notification { timestamp: replayed.timestamp.replace("+00:00", "Z"), ..replayed.clone() },
    ] {
        assert_eq!(hook.post(&forged).await?, 403, "{forged:?}");
    }
    let old = Notification { timestamp: "2026-01-01T00:00:00.000Z".into(), ..replayed };
    assert_eq!(hook.post(&old).await?, 403);
    assert_eq!(hook.taken().len(), came);

    // A server that goes by the letter of bLIP-55 gets that form, and an ordinary payment finds the phone.
    hook.go_by_the_letter();
    let (second, _) = stage.invoice(AMOUNT_MSAT, &[]).await?;
    let rung = async {
        let incoming = hook.wait_for(came + 1).await?;
        wake_and_be_paid(&stage.payee).await?;
        Ok(incoming)
    };
    let (paid, incoming) = tokio::try_join!(stage.pay(&second, &["--ordinary"]), rung)?;
    assert!(paid.step("settled").is_some(), "{paid:?}");
    assert_eq!(incoming.reason, HookReason::PaymentIncoming);
    assert!(is_to_the_letter(&incoming.timestamp), "{incoming:?}");
    assert!(hook.refused().last().is_some_and(|why| why.starts_with("timestamp ")), "{:?}", hook.refused());
    let after = stage.settled_balances().await?;
    assert_eq!(after.payee_msat, balances.payee_msat + 2 * AMOUNT_MSAT);

    // What was pushed, and why, is on record like everybody's; the hook's URL is in no log.
    let wakes = stage.payee.ask(&["wakes"]).await?;
    let pushes = wakes.as_array().into_iter().flatten().flat_map(|wake| wake["pushes"].as_array()).flatten();
    let verdicts: Vec<_> = pushes.map(|push| (push["platform"].as_str(), push["verdict"].as_str())).collect();
    assert!(verdicts.contains(&(Some("lsps5"), Some("accepted"))), "{wakes}");
    assert!(!wakes.to_string().contains(&payment_hash));
    assert!(!stage.payees_lsp().log().contains("/hook/"), "a hook's URL is in the log");

    stage.payee.ask(&["webhooks", "remove", "my app"]).await?;
    stage.payees_lsp_mut().kill().await;
    stage.payees_lsp_mut().start().await?;
    assert_eq!(names(&stage.payee).await?, json!([]));
    let program = Program::wallet(stage.payee.wallet().data_dir());
    refused(&program.attempt(&["webhooks", "remove", "my app"]).await?, "LSPS5 error 1010");
    stage.finish().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn hooks_have_bounds_and_lead_to_no_private_address() -> TestResult {
    let mut stage = Stage::new(Setup::lsps(1).setting("push.devices_per_node_max", "3")).await?;
    let hook = with_hook(&mut stage).await?;
    let phone = &stage.payee;
    let program = Program::wallet(phone.wallet().data_dir());
    for name in ["one", "two", "three"] {
        phone.ask(&["webhooks", "set", name, &hook.url()]).await?;
    }
    hook.wait_for(3).await?;
    refused(&program.attempt(&["webhooks", "set", "four", &hook.url()]).await?, "LSPS5 error 503");
    phone.ask(&["webhooks", "set", "two", &format!("{}?moved", hook.url())]).await?;
    hook.wait_for(4).await?;
    phone.ask(&["webhooks", "set", "two", &format!("{}?moved", hook.url())]).await?;
    phone.ask(&["webhooks", "remove", "one"]).await?;
    phone.ask(&["webhooks", "set", "four", &hook.url()]).await?;
    hook.wait_for(5).await?;
    let mut listed: Vec<String> = serde_json::from_value(names(phone).await?)?;
    listed.sort();
    assert_eq!(listed, ["four", "three", "two"]);
    assert!(hook.taken().iter().all(|one| one.reason == HookReason::Registered), "{:?}", hook.taken());
    assert_eq!(
        (hook.taken().len(), hook.refused().len()),
        (5, 0),
        "a hook that is the same is not told again"
    );
    let signatures: std::collections::HashSet<_> =
        hook.taken().into_iter().map(|one| one.signature).collect();
    assert_eq!(signatures.len(), 5, "no two notifications can be taken for one");

    let set = async |url: &str| program.attempt(&["webhooks", "set", "bad", url]).await;
    refused(&set("http://push.wallet.com/").await?, "LSPS5 error 502");
    refused(&set("nothing").await?, "LSPS5 error 501");
    refused(&set(&format!("https://push.wallet.com/{}", "a".repeat(1_024))).await?, "LSPS5 error 500");
    // As it is without the tests' setting.
    let lsp = stage.payees_lsp_mut();
    lsp.set("push.allow_private_addresses", "false");
    lsp.stop().await?;
    lsp.start().await?;
    for url in
        [&hook.url(), "https://127.0.0.1/", "https://10.0.0.1/", "https://[::1]/", "https://2130706433/"]
    {
        refused(&set(url).await?, "LSPS5 error 501");
    }
    assert_eq!(names(&stage.payee).await?.as_array().map(Vec::len), Some(3), "nothing else was lost");
    stage.finish().await?;
    Ok(())
}

/// The process dies as soon as the hook is on disk; another time while the hook's server is away.
#[tokio::test(flavor = "multi_thread")]
async fn a_new_hook_is_told_so_whenever_the_lsp_dies() -> TestResult {
    let mut stage = Stage::new(Setup::lsps(1)).await?;
    let hook = with_hook(&mut stage).await?;
    let program = Program::wallet(stage.payee.wallet().data_dir());
    let url = hook.url();
    let (_, died) = stage
        .payees_lsp_mut()
        .with_crash("webhook_stored", async |_| program.attempt(&["webhooks", "set", "one", &url]).await)
        .await?;
    assert!(died);
    assert_eq!(hook.wait_for(1).await?.reason, HookReason::Registered);
    assert_eq!(names(&stage.payee).await?, json!(["one"]));
    until_told(stage.payees_lsp(), 1).await?;
    let came = hook.taken().len();

    hook.close();
    stage.payee.ask(&["webhooks", "set", "two", &format!("{url}?two")]).await?;
    hook.wait_for_refusal("closed").await?;
    stage.payees_lsp_mut().kill().await;
    assert_eq!(hook.taken().len(), came);
    hook.open();
    stage.payees_lsp_mut().start().await?;
    assert_eq!(hook.wait_for(came + 1).await?.reason, HookReason::Registered);
    until_told(stage.payees_lsp(), 2).await?;
    assert!(!stage.payees_lsp().log().contains("/hook/"), "a hook's URL is in the log");
    stage.finish().await?;
    Ok(())
}
