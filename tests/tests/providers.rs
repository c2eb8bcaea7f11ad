//! An iPhone and an Android phone, woken by Apple's and Google's services.

use std::time::Duration;

use tests::failure::{Failure, TestResult};
use tests::fakes::server::{Answer, Behaviour};
use tests::stage::{PAYMENT_TIMEOUT, Setup, Stage};
use tests::wait::{Seen, wait_until};

const AMOUNT_MSAT: u64 = 300_000_000;

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
    stage.finish().await?;
    Ok(())
}

/// Google refuses the service account. That is an alarm, told once, and nobody else's trouble: Apple's phones ring as
/// before. When the operator has mended it, the phone that waited is woken.
#[tokio::test(flavor = "multi_thread")]
async fn a_service_account_that_is_refused_stops_no_other_provider() -> TestResult {
    let stage = Stage::new(Setup::lsps(1).with_providers()).await?;
    let providers = stage.providers()?;
    let refused = Answer::new(400, r#"{"error":"invalid_grant"}"#);
    providers.fcm.oauth().always(Behaviour::Answer(refused));
    let (invoice, _) = stage.invoice(AMOUNT_MSAT, &[]).await?;
    let paying = stage.payer.wallet().start(&["pay", &invoice, "--ordinary"])?;
    let lsp = stage.payers_lsp();
    let alarm = "a push provider refuses this server's configuration";
    wait_until("the alarm", PAYMENT_TIMEOUT, async || {
        let log = lsp.log();
        Ok::<_, Failure>(if log.contains(alarm) { Seen::Done(()) } else { Seen::NotYet(lsp.log_tail(3)) })
    })
    .await?;
    // The payee is opened by hand, and takes the payment; the payer is gone by then.
    paying.kill().await;
    stage.payee.follow(&["wake"], |_| ()).await?;
    let push = stage.payer.wait_for_push(1, PAYMENT_TIMEOUT).await?;
    assert!(push.body.reason.starts_with("payment_"), "{push:?}");
    assert_eq!(lsp.log().matches(alarm).count(), 1, "one alarm, not one for each push");
    assert!(providers.fcm.taken().is_empty());
    stage.payer.wait_for_step("connected", PAYMENT_TIMEOUT + Duration::from_secs(30)).await?;
    stage.finish().await?;
    Ok(())
}
