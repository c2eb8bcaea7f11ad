//! The payer is off when its payment ends, with no hold to see to it.

use tests::failure::{Failure, TestResult};
use tests::stage::{PAYMENT_TIMEOUT, Setup, Stage};
use tests::wait::{Seen, wait_until};

const AMOUNT_MSAT: u64 = 300_000_000;

/// An ordinary payment waits for its payee, and the payer's app is gone when the payee has taken it: the payer is woken, since
/// its channel would be closed in the end.
#[tokio::test(flavor = "multi_thread")]
async fn an_ordinary_payment_wakes_its_payer_to_settle() -> TestResult {
    let setup = Setup::lsps(1);
    let stage = Stage::new(setup.clone()).await?;
    let before = stage.balances().await?;
    let (invoice, _) = stage.invoice(AMOUNT_MSAT, &[]).await?;
    stage.payee.leave_coverage();
    let paying = stage.payer.wallet().start(&["pay", &invoice, "--ordinary"])?;
    let push = stage.payee.wait_for_push(1, PAYMENT_TIMEOUT).await?;
    assert_eq!(push.body.reason, "payment_incoming", "the HTLC waits at the LSP");
    paying.kill().await;
    assert_eq!(stage.payer.pushes().len(), 0);

    stage.payee.enter_coverage();
    stage.payee.wait_for_step("paid", PAYMENT_TIMEOUT).await?;
    let push = stage.payer.wait_for_push(1, PAYMENT_TIMEOUT).await?;
    assert_eq!(push.body.reason, "payment_settled");
    stage.payer.wait_for_step("settled", PAYMENT_TIMEOUT).await?;

    let after = stage.settled_balances().await?;
    assert_eq!(after.payee_msat, before.payee_msat + AMOUNT_MSAT);
    assert_eq!(after.total_msat(), before.total_msat());
    assert!(stage.all_channels_open(&setup).await?);
    wait_until("the wake to end with its HTLC", PAYMENT_TIMEOUT, async || {
        let open = stage.payers_lsp().wakes().await?;
        Ok::<_, Failure>(if open.is_empty() { Seen::Done(()) } else { Seen::NotYet(format!("{open:?}")) })
    })
    .await?;
    stage.finish().await?;
    Ok(())
}
