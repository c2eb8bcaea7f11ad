//! An iPhone and an Android phone, woken by Apple's and Google's services.

use std::time::Duration;

use protocol::api::ledger::WakeRecord;
use tests::attempt::Program;
use tests::failure::{Failure, TestResult};
use tests::fakes::server::{Answer, Behaviour};
use tests::lsp::Lsp;
use tests::metrics::Metrics;
use tests::phone::Phone;
use tests::stage::{FCM_TOKEN, PAYMENT_TIMEOUT, Setup, Stage};
use tests::wait::{SOON, Seen, wait_until};

const AMOUNT_MSAT: u64 = 300_000_000;

/// Longer than a gateway waits for its provider.
const ANSWER_MS_MAX: u64 = 15_000;

/// `wakes show NODE`: the newest first.
async fn wakes_of(lsp: &Lsp, phone: &Phone) -> Result<Vec<WakeRecord>, Failure> {
    let info = phone.ask(&["info"]).await?;
    let node_id = info["node_id"].as_str().unwrap_or_default();
    let wakes: Vec<WakeRecord> = lsp.ask(&["wakes", "show", node_id]).await?;
    assert!(wakes.iter().all(|wake| wake.node_id.to_string() == node_id), "{wakes:#?}");
    Ok(wakes)
}

/// The one wake with this reason that was pushed, by node and by its own id; its phone came.
async fn rang(lsp: &Lsp, phone: &Phone, reason: &str, platform: &str) -> TestResult {
    let wakes = wakes_of(lsp, phone).await?;
    let mut pushed = wakes.iter().filter(|wake| wake.reason.as_str() == reason && !wake.pushes.is_empty());
    let (Some(wake), None) = (pushed.next(), pushed.next()) else { panic!("{reason}: {wakes:#?}") };
    for push in &wake.pushes {
        assert_eq!(push.platform.as_deref(), Some(platform), "{wake:#?}");
        assert_eq!(push.verdict.as_deref(), Some("accepted"), "{wake:#?}");
        assert!(push.answered_ms.is_some_and(|ms| ms < ANSWER_MS_MAX), "{wake:#?}");
        assert!((wake.opened_at..=wake.expires_at).contains(&push.sent_at), "{wake:#?}");
    }
    let came = wake.pushes.last().and_then(|push| push.connected_after_seconds);
    let came = came.unwrap_or_else(|| panic!("the phone did not come: {wake:#?}"));
    assert_eq!(wake.explanation, format!("the phone came {came} s after the last push before it"));

    let wake_id = wake.wake_id.as_deref().unwrap_or_default();
    assert_eq!(lsp.ask::<Vec<WakeRecord>>(&["wakes", "show", wake_id]).await?, std::slice::from_ref(wake));
    // As somebody reads it who has to answer the phone's owner.
    let shown = Program::lsp_server(lsp.data_dir()).attempt(&["wakes", "show", wake_id]).await?;
    assert_eq!(shown.code, Some(0), "{shown:#?}");
    for word in [reason, platform, "accepted", " ms", " s later", &wake.explanation] {
        assert!(shown.stdout.contains(word), "{word:?} is not in {}", shown.stdout);
    }
    Ok(())
}

/// Waits until the ledger has what came of a push for this reason.
async fn tried(lsp: &Lsp, phone: &Phone, reason: &str) -> Result<WakeRecord, Failure> {
    wait_until(&format!("a push for {reason}"), SOON, async || {
        let wakes = wakes_of(lsp, phone).await?;
        let is_it = |wake: &&WakeRecord| {
            wake.reason.as_str() == reason && wake.pushes.iter().any(|push| push.verdict.is_some())
        };
        Ok(match wakes.iter().find(is_it) {
            Some(wake) => Seen::Done(wake.clone()),
            None => Seen::NotYet(format!("{wakes:#?}")),
        })
    })
    .await
}

/// Waits until an LSP's metrics say that all is done, and looks at what they say of one provider, which took `pushes`.
async fn measured(lsp: &Lsp, platform: &str, pushes: usize) -> TestResult {
    const ROWS: &str = "lightning_rod_unfinished_rows";
    let open = ["wake", "mailbox_message", "pending_message"];
    let metrics =
        wait_until(&format!("{}'s metrics to say that all is done", lsp.name()), SOON, async || {
            let metrics = lsp.metrics().await?;
            // They are not there at all before the rows are counted for the first time.
            let count = |row: &str| metrics.get(&format!("{ROWS}{{row=\"{row}\"}}"));
            let is_done = open.iter().all(|row| count(row) == Some(0.0))
                && metrics.sum("lightning_rod_holds", &[]) == 0.0
                && metrics.sum("lightning_rod_devices", &[]) == 1.0;
            Ok::<_, Failure>(if is_done {
                Seen::Done(metrics)
            } else {
                Seen::NotYet(format!("{:?}", open.map(|row| (row, count(row)))))
            })
        })
        .await?;
    let sum = |name: &str, labels: &[(&str, &str)]| metrics.sum(&format!("lightning_rod_{name}"), labels);
    let of_platform = ("platform", platform);
    assert_eq!(sum("pushes_total", &[of_platform, ("verdict", "accepted")]), pushes as f64);
    assert_eq!(sum("pushes_total", &[]), pushes as f64, "every push was accepted, and by this provider");
    assert_eq!(sum("push_answer_seconds_count", &[of_platform]), pushes as f64);
    assert_eq!(sum("push_answer_seconds_count", &[]), pushes as f64);
    let answered_seconds = sum("push_answer_seconds_sum", &[of_platform]);
    assert!(answered_seconds < pushes as f64 * ANSWER_MS_MAX as f64 / 1000.0, "{answered_seconds} s");
    let came = sum("wake_to_connect_seconds_count", &[]);
    assert!((1.0..=pushes as f64).contains(&came), "the phone came {came} times for {pushes} pushes");
    assert_eq!(sum("devices", &[of_platform]), 1.0);
    assert_eq!(sum("dead_devices_total", &[]), 0.0);
    let series = |name: &str| metrics.get(&format!("lightning_rod_{name}"));
    assert_eq!(series("oldest_due_wake_seconds"), Some(0.0));
    assert_eq!(series("held_msat"), Some(0.0));
    assert_eq!(series("blocks_to_deadline"), Some(f64::INFINITY));
    assert_eq!(sum("hold_parts", &[]), 0.0);
    assert_eq!(sum("reconcile_differences_total", &[]), 0.0);
    assert!(sum("reconcile_seconds_count", &[]) > 0.0, "nothing was compared");
    assert!(series("database_commits_total").is_some_and(|commits| commits > 0.0), "nothing was committed");
    assert!(writes(&metrics, "transaction") > 0.0 && writes(&metrics, "kv_write") > 0.0);
    Ok(())
}

fn writes(metrics: &Metrics, what: &str) -> f64 {
    metrics.sum("lightning_rod_database_writes_total", &[("what", what)])
}

/// The payee's pushes come through FCM, sealed to its wallet; the payer's through APNs. Neither tells what a push service
/// need not know.
#[tokio::test(flavor = "multi_thread")]
async fn a_payment_wakes_an_android_phone_and_then_an_iphone() -> TestResult {
    let stage = Stage::new(Setup::lsps(2).with_providers()).await?;
    let before = stage.balances().await?;
    let (invoice, payment_hash) = stage.invoice(AMOUNT_MSAT, &[]).await?;
    stage.payee.leave_coverage();
    stage.payer.leave_coverage();
    stage.pay(&invoice, &[]).await?;
    stage.payee.wait_for_push(1, PAYMENT_TIMEOUT).await?;
    stage.payee.enter_coverage();
    stage.payee.wait_for_step("paid", PAYMENT_TIMEOUT).await?;
    let push = stage.payer.wait_for_push(1, PAYMENT_TIMEOUT).await?;
    assert_eq!(push.body.reason, "payment_settled");
    stage.payer.enter_coverage();
    stage.payer.wait_for_step("settled", PAYMENT_TIMEOUT).await?;

    let after = stage.settled_balances().await?;
    assert_eq!(after.payee_msat, before.payee_msat + AMOUNT_MSAT);
    assert_eq!(after.total_msat(), before.total_msat());

    let providers = stage.providers()?;
    let (apple, google) = (providers.apns.taken(), providers.fcm.taken());
    assert!(!apple.is_empty() && !google.is_empty());
    for taken in apple.iter().chain(&google) {
        let text = String::from_utf8_lossy(&taken.request.body);
        assert!(!text.contains(&payment_hash) && !text.contains(&AMOUNT_MSAT.to_string()), "{text}");
    }
    assert!(google.iter().all(|taken| taken.push.starts_with("{\"sealed\":")));
    assert_eq!(stage.payee.webhook_pushes() + stage.payer.webhook_pushes(), 0, "nothing came another way");
    for lsp in &stage.lsps {
        assert!(!lsp.log().contains("APA91b"), "a token is in {}'s log", lsp.name());
    }
    rang(stage.payees_lsp(), &stage.payee, "onion_message", "fcm").await?;
    rang(stage.payers_lsp(), &stage.payer, "payment_settled", "apns").await?;
    measured(stage.payees_lsp(), "fcm", providers.fcm.taken_count()).await?;
    measured(stage.payers_lsp(), "apns", providers.apns.taken_count()).await?;
    stage.finish().await?;
    Ok(())
}

/// Google refuses the service account. That is an alarm as soon as the server runs, told once, and nobody else's trouble: Apple's
/// phones ring as before. When the operator has mended it, the phone that waited is woken.
#[tokio::test(flavor = "multi_thread")]
async fn a_service_account_that_is_refused_stops_no_other_provider() -> TestResult {
    let mut stage = Stage::new(Setup::lsps(1).with_providers()).await?;
    let refused = Answer::new(400, r#"{"error":"invalid_grant"}"#);
    stage.providers()?.fcm.oauth().always(Behaviour::Answer(refused));
    stage.payers_lsp_mut().stop().await?;
    stage.payers_lsp_mut().start().await?;
    let (lsp, providers) = (stage.payers_lsp(), stage.providers()?);
    let alarm = "a push provider refuses this server's configuration";
    wait_until("the alarm", PAYMENT_TIMEOUT, async || {
        let alarms = lsp.info().await?.alarms;
        let is_it = |words: &String| words.starts_with("fcm refuses") && words.contains("invalid_grant");
        Ok::<_, Failure>(if alarms.iter().any(is_it) {
            Seen::Done(())
        } else {
            Seen::NotYet(format!("{alarms:?}"))
        })
    })
    .await?;
    let (invoice, _) = stage.invoice(AMOUNT_MSAT, &[]).await?;
    let paying = stage.payer.wallet().start(&["pay", &invoice, "--ordinary"])?;
    // The payee is opened by hand, and takes the payment; the payer is gone by then.
    let silent = tried(lsp, &stage.payee, "payment_incoming").await?;
    paying.kill().await;
    let push = &silent.pushes[0];
    let verdict = (push.platform.as_deref(), push.verdict.as_deref(), push.connected_after_seconds);
    assert_eq!(verdict, (Some("fcm"), Some("configuration"), None), "{silent:#?}");
    assert!(push.why.as_deref().is_some_and(|why| why.contains("invalid_grant")), "{silent:#?}");
    assert!(silent.explanation.contains("refuses the server's credentials"), "{silent:#?}");
    stage.payee.follow(&["wake"], |_| ()).await?;
    let push = stage.payer.wait_for_push(1, PAYMENT_TIMEOUT).await?;
    assert!(push.body.reason.starts_with("payment_"), "{push:?}");
    assert_eq!(lsp.log().matches(alarm).count(), 1, "one alarm, not one for each push");
    assert!(providers.fcm.taken().is_empty());
    stage.payer.wait_for_step("connected", PAYMENT_TIMEOUT + Duration::from_secs(30)).await?;
    stage.finish().await?;
    Ok(())
}

/// Apple's key file is broken when the server starts. It starts all the same, says so, and Google's phones ring; an iPhone
/// is not told that all is well.
#[tokio::test(flavor = "multi_thread")]
async fn a_key_file_that_cannot_be_used_stops_no_other_provider() -> TestResult {
    let mut stage = Stage::new(Setup::lsps(1).with_providers()).await?;
    let p8 = stage.folder().join("AuthKey.p8");
    std::fs::write(&p8, "-----BEGIN CERTIFICATE-----\nhunter2\n-----END CERTIFICATE-----\n")
        .map_err(|source| Failure::File { path: p8.clone(), source })?;
    stage.payers_lsp_mut().stop().await?;
    stage.payers_lsp_mut().start().await?;
    let info = stage.payers_lsp().info().await?;
    let file = p8.display().to_string();
    let [alarm] = &info.alarms[..] else { panic!("{:?}", info.alarms) };
    for word in ["a push provider is left out", "push.apns.apps", &file, "AuthKey_"] {
        assert!(alarm.contains(word), "{word:?} is not in {alarm}");
    }

    // Neither phone's device is gone: the payer's is only not pushed to.
    let payer = Program::wallet(stage.payer.wallet().data_dir());
    let registering = ["register", "--platform", "apns", "--token", &"0a".repeat(32)];
    let refused = payer.attempt(&registering).await?;
    assert_eq!(refused.code, Some(1), "{refused:#?}");
    assert!(refused.error().contains("apns"), "{refused:#?}");

    stage.payee.leave_coverage();
    stage.payer.leave_coverage();
    let (invoice, _) = stage.invoice(AMOUNT_MSAT, &[]).await?;
    stage.pay(&invoice, &[]).await?;
    stage.payee.wait_for_push(1, PAYMENT_TIMEOUT).await?;
    stage.payee.enter_coverage();
    stage.payee.wait_for_step("paid", PAYMENT_TIMEOUT).await?;
    rang(stage.payees_lsp(), &stage.payee, "onion_message", "fcm").await?;
    assert!(stage.providers()?.apns.taken().is_empty(), "nobody signs for Apple");
    let why = tried(stage.payers_lsp(), &stage.payer, "payment_settled").await?;
    assert_eq!(why.pushes[0].verdict.as_deref(), Some("configuration"), "{why:#?}");
    assert!(why.explanation.contains("the operator must mend the settings"), "{why:#?}");
    for text in [stage.payers_lsp().log(), alarm.clone()] {
        assert!(!text.contains("hunter2"), "what the file holds is told");
    }
    stage.finish().await?;
    Ok(())
}

/// The payee took its app from its phone, so that its token is dead: the ledger says so, and it is forgotten. When the payee
/// has the app again and it registers, its phone rings.
#[tokio::test(flavor = "multi_thread")]
async fn an_app_that_is_gone_is_why_a_phone_does_not_ring_until_it_is_back() -> TestResult {
    let stage = Stage::new(Setup::lsps(1).with_providers()).await?;
    let (lsp, providers) = (stage.payees_lsp(), stage.providers()?);
    let before = stage.balances().await?;
    providers.fcm.remove_device(FCM_TOKEN);
    stage.payer.leave_coverage();
    let (invoice, _) = stage.invoice(AMOUNT_MSAT, &[]).await?;
    stage.pay(&invoice, &[]).await?;
    let silent = tried(lsp, &stage.payee, "onion_message").await?;
    assert_eq!(silent.pushes.len(), 1, "{silent:#?}");
    let push = &silent.pushes[0];
    let verdict = (push.platform.as_deref(), push.verdict.as_deref(), push.connected_after_seconds);
    assert_eq!(verdict, (Some("fcm"), Some("token_dead"), None), "{silent:#?}");
    assert!(push.why.as_deref().is_some_and(|why| why.contains("UNREGISTERED")), "{silent:#?}");
    for words in ["the device is gone", "the phone must register again", "UNREGISTERED"] {
        assert!(silent.explanation.contains(words), "{words:?} is not in {:?}", silent.explanation);
    }
    let forgotten = lsp.devices().await?;
    assert!(forgotten.iter().all(|device| device.platform != "fcm"), "{forgotten:?}");
    let metrics = lsp.metrics().await?;
    let count = |name: &str, labels: &[(&str, &str)]| metrics.sum(&format!("lightning_rod_{name}"), labels);
    assert_eq!(count("dead_devices_total", &[("platform", "fcm")]), 1.0);
    assert_eq!(count("pushes_total", &[("platform", "fcm"), ("verdict", "token_dead")]), 1.0);

    let token = FCM_TOKEN.replace("payee", "again");
    providers.fcm.add_phone(&token, stage.payee.receiver());
    let registered =
        stage.payee.ask(&["register", "--platform", "fcm", "--token", &token, "--sealed"]).await?;
    let device_id = registered["device_id"].as_str().unwrap_or_default();
    assert_ne!(device_id, push.device_id);
    // It went online to register, and may have had the message then: a push that is owed to nothing else.
    assert_eq!(stage.payee.ask(&["devices", "test", device_id]).await?["verdict"], "accepted");
    stage.payee.wait_for_push(1, PAYMENT_TIMEOUT).await?;
    stage.payer.enter_coverage();
    assert_eq!(stage.settled_balances().await?.payee_msat, before.payee_msat + AMOUNT_MSAT);
    let wakes = wakes_of(lsp, &stage.payee).await?;
    let mut rang =
        wakes.iter().flat_map(|wake| &wake.pushes).filter(|push| push.connected_after_seconds.is_some());
    assert!(rang.all(|push| push.verdict.as_deref() == Some("accepted")), "{wakes:#?}");
    // That the phone came is no answer to why it did not ring.
    let wake = wakes.iter().find(|wake| wake.wake_id == silent.wake_id);
    let wake = wake.unwrap_or_else(|| panic!("the wake is gone: {wakes:#?}"));
    assert_eq!(&wake.pushes[0], push);
    assert!(wake.explanation.contains("the device is gone"), "{wake:#?}");
    stage.finish().await?;
    Ok(())
}
