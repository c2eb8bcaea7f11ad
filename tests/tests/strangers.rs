//! A payer's payment is nobody else's to hold.

use protocol::units::BlockHeight;
use protocol::wire::{BlockAnswer, RefusalReason};
use tests::failure::{Failure, TestResult};
use tests::puppet::{Ended, Puppet, PuppetStage};
use tests::stage::PAYMENT_TIMEOUT;

const AMOUNT_MSAT: u64 = 50_000_000;
const HOLD_BLOCKS: u32 = 50;

fn refused(answer: &BlockAnswer) -> Option<RefusalReason> {
    match answer {
        BlockAnswer::Refused { reason, .. } => Some(*reason),
        BlockAnswer::Accepted { .. } => None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hold_binds_only_who_signed_for_it() -> TestResult {
    let stage = PuppetStage::new(1, 1, &[]).await?;
    let (payer, payee) = (&stage.payer, &stage.payee);
    let stranger = stage.another("stranger").await?;
    let deadline = payer.height().plus(HOLD_BLOCKS);

    // A stranger with a channel of its own gets a hold on whatever hash it names, on its own channel.
    let invoice = payee.invoice(AMOUNT_MSAT).await?;
    let answer = stranger.block(&stranger.new_pid(), vec![invoice.payment_hash()], deadline).await?;
    assert_eq!(answer, BlockAnswer::Accepted { deadline });
    pays_at_once(payer, payee, &invoice).await?;

    // The same through the payer's own phone, which forwards it as any phone would.
    let invoice = payee.invoice(AMOUNT_MSAT).await?;
    let pid = stranger.new_pid();
    let request = stranger.block_request(&pid, vec![invoice.payment_hash()], deadline)?;
    stranger.send_to_lsp_through(payer.node_id(), request.into())?;
    assert_eq!(stranger.wait_for_ack(&pid).await?, BlockAnswer::Accepted { deadline });
    pays_at_once(payer, payee, &invoice).await?;

    // In the payer's name, but with its own signature; directly, and through the payer's phone.
    let invoice = payee.invoice(AMOUNT_MSAT).await?;
    for through_payers_phone in [false, true] {
        let pid = stranger.new_pid();
        let mut request = stranger.block_request(&pid, vec![invoice.payment_hash()], deadline)?;
        request.payer = payer.node_id();
        if through_payers_phone {
            stranger.send_to_lsp_through(payer.node_id(), request.into())?;
        } else {
            stranger.send_to_lsp(request.into())?;
        }
        let answer = stranger.wait_for_ack(&pid).await?;
        assert_eq!(refused(&answer), Some(RefusalReason::BadSignature));
    }
    pays_at_once(payer, payee, &invoice).await?;

    // Without a channel there is nothing to hold.
    let passer_by =
        Puppet::online("passer-by", stage.folder.path(), &stage.bitcoind, stage.payers_lsp()).await?;
    let answer = passer_by.block(&passer_by.new_pid(), vec![invoice.payment_hash()], deadline).await?;
    assert_eq!(refused(&answer), Some(RefusalReason::NoChannel));

    // What a payer may not do either.
    let invoice = payee.invoice(AMOUNT_MSAT).await?;
    let (hash, pid) = (invoice.payment_hash(), payer.new_pid());
    let far = payer.block(&pid, vec![hash], BlockHeight(u32::MAX)).await?;
    assert!(
        refused(&far) == Some(RefusalReason::DeadlineTooLate)
            || matches!(far, BlockAnswer::Accepted { deadline } if deadline < BlockHeight(u32::MAX)),
        "{far:?}"
    );
    let pid = payer.new_pid();
    let hash = payee.invoice(AMOUNT_MSAT).await?.payment_hash();
    assert_eq!(payer.block(&pid, vec![hash], deadline).await?, BlockAnswer::Accepted { deadline });
    assert_eq!(payer.block(&pid, vec![hash], deadline).await?, BlockAnswer::Accepted { deadline });
    let answer = payer.block(&pid, vec![invoice.payment_hash()], deadline).await?;
    assert_eq!(refused(&answer), Some(RefusalReason::PidReused));
    let answer = payer.block(&payer.new_pid(), vec![hash], deadline).await?;
    assert_eq!(refused(&answer), Some(RefusalReason::HashAlreadyHeld));

    stranger.go_offline().await;
    passer_by.go_offline().await;
    stage.finish().await?;
    Ok(())
}

async fn pays_at_once(
    payer: &Puppet,
    payee: &Puppet,
    invoice: &lightning_invoice::Bolt11Invoice,
) -> Result<(), Failure> {
    payer.pay(invoice, 0).await?;
    let ended = payer.wait_for_payment(invoice.payment_hash(), PAYMENT_TIMEOUT).await?;
    assert!(matches!(ended, Ended::Paid { .. }), "{ended:?}");
    assert_eq!(payee.times_paid(invoice.payment_hash()), 1);
    Ok(())
}
