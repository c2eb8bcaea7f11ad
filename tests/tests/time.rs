//! Blocks that come too slowly, too late, or not in time.

use tests::failure::{Failure, TestResult};
use tests::stage::{PAYMENT_TIMEOUT, Setup, Stage};
use tests::wait::{Seen, wait_until};

const AMOUNT_MSAT: u64 = 300_000_000;
/// So many blocks before a hold's deadline its payer is called.
const NEAR_BLOCKS: u32 = 2;

/// Blocks an hour and more apart, as the real chain has them at times.
#[tokio::test]
async fn slow_blocks_do_no_harm() -> TestResult {
    let setup = Setup::lsps(1);
    let stage = Stage::new(setup.clone()).await?;
    let before = stage.balances().await?;
    stage.payee.leave_coverage();
    stage.payer.leave_coverage();
    let (invoice, _) = stage.invoice(AMOUNT_MSAT, &[]).await?;
    stage.pay(&invoice, &[]).await?;
    stage.payee.wait_for_push(1, PAYMENT_TIMEOUT).await?;
    for _ in 0..4 {
        stage.bitcoind.mine_later(75 * 60).await?;
    }
    stage.mine(1).await?;

    stage.payee.enter_coverage();
    stage.payee.wait_for_step("paid", PAYMENT_TIMEOUT).await?;
    stage.payer.wait_for_push(1, PAYMENT_TIMEOUT).await?;
    stage.payer.enter_coverage();
    stage.payer.wait_for_step("settled", PAYMENT_TIMEOUT).await?;

    let after = stage.settled_balances().await?;
    assert_eq!(after.payee_msat, before.payee_msat + AMOUNT_MSAT);
    assert_eq!(after.total_msat(), before.total_msat());
    assert!(stage.all_channels_open(&setup).await?);
    stage.finish().await?;
    Ok(())
}

/// By block time the invoice has long expired when the payee comes: nobody loses anything, and the payer has its money back.
#[tokio::test]
async fn a_payee_that_comes_after_its_invoice_expired_is_not_paid() -> TestResult {
    let setup = Setup::lsps(1);
    let stage = Stage::new(setup.clone()).await?;
    let before = stage.balances().await?;
    stage.payee.leave_coverage();
    let day = 24 * 60 * 60;
    let expiry = (2 * day).to_string();
    let (invoice, hash) = stage.invoice(AMOUNT_MSAT, &["--expiry-secs", &expiry]).await?;
    // So short that blocks at a usual pace leave the invoice time enough.
    stage.pay(&invoice, &["--hold-blocks", "36"]).await?;
    stage.payee.wait_for_push(1, PAYMENT_TIMEOUT).await?;
    for _ in 0..12 {
        stage.bitcoind.mine_later(6 * 60 * 60).await?;
    }
    stage.mine(1).await?;

    stage.payee.enter_coverage();
    stage.payee.wait_for_step("refused", PAYMENT_TIMEOUT).await?;
    let failed = stage.payer.wait_for_step("failed", PAYMENT_TIMEOUT).await?;
    let failed = failed.step("failed").ok_or_else(|| Failure::wrong("no such step"))?;
    assert_eq!(failed.value["payment_hash"].as_str(), Some(hash.as_str()));
    assert_eq!(stage.settled_balances().await?, before);
    assert!(stage.all_channels_open(&setup).await?);
    stage.finish().await?;
    Ok(())
}

/// Nobody comes until the deadline: the HTLC fails back, with everybody off and every channel left open.
#[tokio::test]
async fn a_deadline_that_passes_gives_the_money_back() -> TestResult {
    let setup = Setup::lsps(2);
    let stage = Stage::new(setup.clone()).await?;
    let before = stage.balances().await?;
    stage.payee.leave_coverage();
    stage.payer.leave_coverage();
    let (invoice, hash) = stage.invoice(AMOUNT_MSAT, &[]).await?;
    let paid = stage.pay(&invoice, &["--hold-blocks", "20"]).await?;
    let deadline = paid.step("blocked").and_then(|line| line.value["deadline"].as_u64());
    let deadline = deadline.ok_or_else(|| Failure::wrong(format!("no deadline in {paid:?}")))?;
    stage.payee.wait_for_push(1, PAYMENT_TIMEOUT).await?;
    let pushes = stage.payer.pushes().len();

    // Up to the last block before it, the payment is held.
    let left = u32::try_from(deadline)?.saturating_sub(stage.bitcoind.height().await?);
    stage.mine(left - 1).await?;
    let holds = stage.payers_lsp().holds().await?;
    assert_eq!(holds.iter().map(|hold| hold.held_parts).collect::<Vec<_>>(), [1]);
    stage.mine(1).await?;
    // Before it the payer was told that the deadline is near.
    wait_until("the payer to be told that it failed", PAYMENT_TIMEOUT, async || {
        let reasons: Vec<_> =
            stage.payer.pushes()[pushes..].iter().map(|push| push.body.reason.clone()).collect();
        let told = reasons.iter().any(|reason| reason == "payment_failed");
        Ok::<_, Failure>(if told { Seen::Done(()) } else { Seen::NotYet(format!("{reasons:?}")) })
    })
    .await?;
    // As long as it likes to stay away, within the window that the LSP's delta leaves.
    stage.mine(20).await?;

    stage.payer.enter_coverage();
    let failed = stage.payer.wait_for_step("failed", PAYMENT_TIMEOUT).await?;
    let failed = failed.step("failed").ok_or_else(|| Failure::wrong("no such step"))?;
    assert_eq!(failed.value["payment_hash"].as_str(), Some(hash.as_str()));
    stage.payee.enter_coverage();
    assert_eq!(stage.settled_balances().await?, before);
    assert!(stage.all_channels_open(&setup).await?);
    stage.finish().await?;
    Ok(())
}

/// The payer sleeps, with a phone that a push reaches. Before the deadline it is called, so that it is there, or has just been, when
/// its money comes back.
#[tokio::test]
async fn a_sleeping_payer_is_called_before_its_deadline() -> TestResult {
    let setup = Setup::lsps(2);
    let stage = Stage::new(setup.clone()).await?;
    let before = stage.balances().await?;
    stage.payee.leave_coverage();
    let (invoice, hash) = stage.invoice(AMOUNT_MSAT, &[]).await?;
    let paid = stage.pay(&invoice, &["--hold-blocks", "20"]).await?;
    let deadline = paid.step("blocked").and_then(|line| line.value["deadline"].as_u64());
    let deadline =
        u32::try_from(deadline.ok_or_else(|| Failure::wrong(format!("no deadline in {paid:?}")))?)?;
    stage.payee.wait_for_push(1, PAYMENT_TIMEOUT).await?;
    let reasons = || -> Vec<_> { stage.payer.pushes().into_iter().map(|push| push.body.reason).collect() };

    stage.mine(deadline.saturating_sub(stage.bitcoind.height().await?) - NEAR_BLOCKS - 1).await?;
    assert_eq!(reasons(), [""; 0], "there is time");
    stage.mine(1).await?;
    let push = stage.payer.wait_for_push(1, PAYMENT_TIMEOUT).await?;
    assert_eq!(push.body.reason, "expiry_soon");
    let came = stage.payer.wait_for_step("connected", PAYMENT_TIMEOUT).await?;
    assert!(came.step("failed").is_none(), "it is held still: {came:?}");
    let holds = stage.payers_lsp().holds().await?;
    assert_eq!(holds.iter().map(|hold| hold.held_parts).collect::<Vec<_>>(), [1]);

    stage.mine(NEAR_BLOCKS).await?;
    let failed = stage.payer.wait_for_step("failed", PAYMENT_TIMEOUT).await?;
    let failed = failed.step("failed").ok_or_else(|| Failure::wrong("no such step"))?;
    assert_eq!(failed.value["payment_hash"].as_str(), Some(hash.as_str()));
    let reasons = reasons();
    assert!(
        reasons.iter().all(|reason| ["expiry_soon", "payment_failed"].contains(&reason.as_str())),
        "{reasons:?}"
    );
    stage.payee.enter_coverage();
    assert_eq!(stage.settled_balances().await?, before);
    assert!(stage.all_channels_open(&setup).await?);
    stage.finish().await?;
    Ok(())
}
