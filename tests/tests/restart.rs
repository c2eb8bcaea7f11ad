//! LSPs that end while they hold.

use tests::failure::TestResult;
use tests::stage::{PAYMENT_TIMEOUT, Setup, Stage};

const AMOUNT_MSAT: u64 = 300_000_000;

/// Each LSP is stopped and started, and killed and started, while a payment is held and its message kept.
#[tokio::test]
async fn a_held_payment_outlives_both_lsps() -> TestResult {
    let setup = Setup::lsps(2);
    let mut stage = Stage::new(setup.clone()).await?;
    let before = stage.balances().await?;
    stage.payee.leave_coverage();
    stage.payer.leave_coverage();
    let (invoice, _) = stage.invoice(AMOUNT_MSAT, &[]).await?;
    stage.pay(&invoice, &[]).await?;
    stage.payee.wait_for_push(1, PAYMENT_TIMEOUT).await?;

    let held = stage.payers_lsp().holds().await?;
    stage.payers_lsp_mut().stop().await?;
    stage.payers_lsp_mut().start().await?;
    stage.payees_lsp_mut().kill().await;
    stage.payees_lsp_mut().start().await?;
    stage.mine(1).await?;
    stage.payers_lsp_mut().kill().await;
    stage.payers_lsp_mut().start().await?;
    stage.payees_lsp_mut().stop().await?;
    stage.payees_lsp_mut().start().await?;
    assert_eq!(stage.payers_lsp().holds().await?, held);
    assert_eq!(held.iter().map(|hold| hold.held_parts).collect::<Vec<_>>(), [1]);
    assert!(!stage.payees_lsp().mailbox().await?.is_empty(), "the payee's message is gone");

    stage.payee.enter_coverage();
    stage.payee.wait_for_step("paid", PAYMENT_TIMEOUT).await?;
    // The payee's LSP goes once more, and the payer's right after the payment.
    stage.payers_lsp_mut().kill().await;
    stage.payers_lsp_mut().start().await?;
    stage.payer.enter_coverage();
    stage.payer.wait_for_step("settled", PAYMENT_TIMEOUT).await?;

    let after = stage.settled_balances().await?;
    assert_eq!(after.payee_msat, before.payee_msat + AMOUNT_MSAT);
    assert_eq!(after.total_msat(), before.total_msat());
    assert!(stage.all_channels_open(&setup).await?);
    stage.finish().await?;
    Ok(())
}

/// The payee's LSP is away when payment_pending is sent. The payer has gone off; its LSP sends it again.
#[tokio::test]
async fn a_lost_message_is_sent_again_by_the_payers_lsp() -> TestResult {
    let setup = Setup::lsps(2);
    let mut stage = Stage::new(setup.clone()).await?;
    let before = stage.balances().await?;
    let (invoice, _) = stage.invoice(AMOUNT_MSAT, &[]).await?;
    stage.payees_lsp_mut().kill().await;
    let paid = stage.pay(&invoice, &[]).await?;
    assert!(paid.step("pending_in_care").is_some(), "{paid:?}");
    assert_eq!(stage.payee.pushes().len(), 0, "nobody could tell the payee");

    stage.payees_lsp_mut().start().await?;
    stage.payee.wait_for_step("paid", PAYMENT_TIMEOUT).await?;
    stage.payer.wait_for_step("settled", PAYMENT_TIMEOUT).await?;
    let after = stage.settled_balances().await?;
    assert_eq!(after.payee_msat, before.payee_msat + AMOUNT_MSAT);
    assert_eq!(after.total_msat(), before.total_msat());
    assert!(stage.all_channels_open(&setup).await?);
    stage.finish().await?;
    Ok(())
}
