//! A payer changes its mind.

use protocol::units::Msat;
use protocol::wire::{BlockAnswer, HoldStateCode};
use tests::failure::{Failure, TestResult};
use tests::puppet::{Ended, PuppetStage};
use tests::stage::{PAYMENT_TIMEOUT, Setup, Stage};

const AMOUNT_MSAT: u64 = 50_000_000;
const HOLD_BLOCKS: u32 = 50;

#[tokio::test(flavor = "multi_thread")]
async fn a_hold_can_be_cancelled_until_it_is_released() -> TestResult {
    let stage = PuppetStage::new(1, 1, &[]).await?;
    let (payer, payee) = (&stage.payer, &stage.payee);
    let before = stage.balances_msat().await?;

    // Before the HTLC: one that comes later goes back at once.
    let (invoice, pid) = (payee.invoice(AMOUNT_MSAT).await?, payer.new_pid());
    let hash = invoice.payment_hash();
    let deadline = payer.height().plus(HOLD_BLOCKS);
    assert_eq!(payer.block(&pid, vec![hash], deadline).await?, BlockAnswer::Accepted { deadline });
    assert_eq!(payer.cancel(&pid).await?.state, HoldStateCode::Cancelled);
    payer.pay(&invoice, HOLD_BLOCKS + 20).await?;
    assert_eq!(payer.wait_for_payment(hash, PAYMENT_TIMEOUT).await?, Ended::Failed);
    assert_eq!(stage.balances_msat().await?, before);

    // While it is held.
    let (invoice, pid) = (payee.invoice(AMOUNT_MSAT).await?, payer.new_pid());
    let hash = invoice.payment_hash();
    payer.block(&pid, vec![hash], deadline).await?;
    payer.pay(&invoice, HOLD_BLOCKS + 20).await?;
    let held = payer.wait_until_held(&pid, 1).await?;
    assert!(held.hashes[0].held > Msat(AMOUNT_MSAT), "the LSP's fee is on top: {held:?}");
    assert_eq!(payer.payment_ended(hash), None);
    assert_eq!(payer.cancel(&pid).await?.state, HoldStateCode::Cancelled);
    assert_eq!(payer.wait_for_payment(hash, PAYMENT_TIMEOUT).await?, Ended::Failed);
    assert_eq!(stage.balances_msat().await?, before);

    // The payee's yes comes too late. What it was for stays cancelled.
    payer.send_pending(&invoice, payer.pending_for(&invoice, &pid, deadline))?;
    let pending = payee.wait_for_pending(hash).await?;
    payee.unblock(&pending)?;

    // A third one is released first; then it is too late to cancel.
    let (invoice, pid) = (payee.invoice(AMOUNT_MSAT).await?, payer.new_pid());
    let hash_of_third = invoice.payment_hash();
    payer.block(&pid, vec![hash_of_third], deadline).await?;
    payer.pay(&invoice, HOLD_BLOCKS + 20).await?;
    payer.wait_until_held(&pid, 1).await?;
    payer.send_pending(&invoice, payer.pending_for(&invoice, &pid, deadline))?;
    payee.unblock(&payee.wait_for_pending(hash_of_third).await?)?;
    assert!(matches!(payer.wait_for_payment(hash_of_third, PAYMENT_TIMEOUT).await?, Ended::Paid { .. }));
    let status = payer.cancel(&pid).await?;
    assert!(
        matches!(status.state, HoldStateCode::Settled | HoldStateCode::Claimed),
        "a paid hold cannot be cancelled: {status:?}"
    );
    assert_eq!((payee.times_paid(hash), payee.times_paid(hash_of_third)), (0, 1));

    stage.finish().await?;
    Ok(())
}

/// The payee sleeps through all of it but the last attempt: each cancellation comes before its answer.
#[tokio::test(flavor = "multi_thread")]
async fn an_invoice_can_be_paid_and_cancelled_until_its_payee_has_answered() -> TestResult {
    let stage = Stage::new(Setup::lsps(2)).await?;
    let before = stage.balances().await?;
    let (invoice, payment_hash) = stage.invoice(AMOUNT_MSAT, &[]).await?;
    let cancel = async || {
        let run = stage.payer.follow(&["cancel", &payment_hash], |_| ()).await?;
        Ok::<_, Failure>((run.success, run.lines.first().map(|line| line.value["cancelled"].clone())))
    };

    stage.payee.leave_coverage();
    for attempt in 1..=2 {
        stage.pay(&invoice, &[]).await?;
        let held = stage.payers_lsp().holds().await?;
        assert!(matches!(held.as_slice(), [hold] if hold.held_parts == 1), "attempt {attempt}: {held:?}");
        assert_eq!(cancel().await?, (true, Some("done".into())), "attempt {attempt}");
        assert_eq!(stage.settled_balances().await?, before, "attempt {attempt}");
    }
    stage.pay(&invoice, &[]).await?;
    // Now it finds three payments of one invoice, of which two were taken back.
    let (paid_before, settled_before) = (stage.payee.wakes().len(), stage.payer.wakes().len());
    stage.payee.enter_coverage();
    stage.payee.wait_for_step_since(paid_before, "paid", PAYMENT_TIMEOUT).await?;
    stage.payer.wait_for_step_since(settled_before, "settled", PAYMENT_TIMEOUT).await?;
    assert_eq!(cancel().await?, (false, None), "it is paid");

    let after = stage.settled_balances().await?;
    assert_eq!(after.payee_msat, before.payee_msat + AMOUNT_MSAT);
    assert_eq!(after.total_msat(), before.total_msat());
    let status = stage.payee.ask(&["status", &payment_hash]).await?;
    assert_eq!(status["invoices"][0]["is_awaited"], false, "nobody is waited for any more: {status}");
    stage.finish().await?;
    Ok(())
}
