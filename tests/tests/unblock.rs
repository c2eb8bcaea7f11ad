//! What releases a hold, and what does not.

use protocol::units::Msat;
use protocol::wire::{BlockAnswer, HoldStateCode};
use tests::failure::{Failure, TestResult};
use tests::puppet::{Ended, PuppetStage};
use tests::stage::PAYMENT_TIMEOUT;
use tests::wait::{SOON, Seen, wait_until};

const AMOUNT_MSAT: u64 = 50_000_000;
const HOLD_BLOCKS: u32 = 50;

#[tokio::test(flavor = "multi_thread")]
async fn a_hold_is_released_by_its_pid_alone_and_once() -> TestResult {
    let stage = PuppetStage::new(2, 1, &[]).await?;
    let (payer, payee) = (&stage.payer, &stage.payee);
    let deadline = payer.height().plus(HOLD_BLOCKS);

    let (invoice, pid) = (payee.invoice(AMOUNT_MSAT).await?, payer.new_pid());
    let hash = invoice.payment_hash();
    payer.block(&pid, vec![hash], deadline).await?;
    payer.pay(&invoice, HOLD_BLOCKS + 20).await?;
    payer.wait_until_held(&pid, 1).await?;

    // A wrong pid. That it arrived shows in that a message behind it on the same way did: the refused hold's.
    let other = payer.new_pid();
    let other_hash = payee.invoice(AMOUNT_MSAT).await?.payment_hash();
    payer.block(&other, vec![other_hash], deadline).await?;
    let way_back = (payer.node_id(), payer.lsp());
    payee.unblock_along_own_path(hash, way_back, payee.new_pid())?;
    payee.unblock_along_own_path(other_hash, way_back, other)?;
    wait_until("the other hold to be unblocked", SOON, async || {
        let state = payer.status(&other).await?.state;
        let done = state == HoldStateCode::Unblocked;
        Ok::<_, Failure>(if done { Seen::Done(()) } else { Seen::NotYet(format!("{state:?}")) })
    })
    .await?;
    assert_eq!(payer.status(&pid).await?.state, HoldStateCode::Held);
    assert_eq!((payer.payment_ended(hash), payee.times_paid(hash)), (None, 0));

    // The right one, twice, along the payer's reply path.
    let before = stage.balances_msat().await?;
    payer.send_pending(&invoice, payer.pending_for(&invoice, &pid, deadline))?;
    let received = payee.wait_for_pending(hash).await?;
    assert_eq!(received.pending.payer_and_lsp, None, "nobody told the payee who pays");
    payee.unblock(&received)?;
    payee.unblock(&received)?;
    let Ended::Paid { fee } = payer.wait_for_payment(hash, PAYMENT_TIMEOUT).await? else {
        return Err(Failure::wrong("the payment failed").into());
    };
    payee.unblock(&received)?;
    assert_eq!(payee.times_paid(hash), 1);
    wait_for_payees_balance(&stage, before[1] + AMOUNT_MSAT).await?;
    assert!(fee > Msat(0));

    // A path that the payee built from what the payer told it.
    let (invoice, pid) = (payee.invoice(AMOUNT_MSAT).await?, payer.new_pid());
    let hash = invoice.payment_hash();
    payer.block(&pid, vec![hash], deadline).await?;
    payer.pay(&invoice, HOLD_BLOCKS + 20).await?;
    payer.wait_until_held(&pid, 1).await?;
    let mut pending = payer.pending_for(&invoice, &pid, deadline);
    pending.payer_and_lsp = Some(way_back);
    payer.send_pending(&invoice, pending)?;
    let received = payee.wait_for_pending(hash).await?.pending;
    let way_back = received.payer_and_lsp.ok_or_else(|| Failure::wrong("no node ids came"))?;
    payee.unblock_along_own_path(hash, way_back, received.pid)?;
    assert_eq!(payer.wait_for_payment(hash, PAYMENT_TIMEOUT).await?, Ended::Paid { fee });

    // Before the HTLC is there: it is let through when it comes.
    let (invoice, pid) = (payee.invoice(AMOUNT_MSAT).await?, payer.new_pid());
    let hash = invoice.payment_hash();
    let granted = payer.block(&pid, vec![hash], deadline).await?;
    assert_eq!(granted, BlockAnswer::Accepted { deadline });
    payee.unblock_along_own_path(hash, way_back, pid)?;
    wait_until("the hold to be unblocked", SOON, async || {
        let state = payer.status(&pid).await?.state;
        let done = state == HoldStateCode::Unblocked;
        Ok::<_, Failure>(if done { Seen::Done(()) } else { Seen::NotYet(format!("{state:?}")) })
    })
    .await?;
    payer.pay(&invoice, HOLD_BLOCKS + 20).await?;
    assert_eq!(payer.wait_for_payment(hash, PAYMENT_TIMEOUT).await?, Ended::Paid { fee });

    wait_for_payees_balance(&stage, before[1] + 3 * AMOUNT_MSAT).await?;
    stage.finish().await?;
    Ok(())
}

async fn wait_for_payees_balance(stage: &PuppetStage, msat: u64) -> Result<(), Failure> {
    stage.payee.wait_for("its money", |node| node.balances().lightning == Msat(msat)).await
}
