//! A payee that says no: the payer has its money back at once.

use lightning_invoice::Bolt11Invoice;
use protocol::units::Msat;
use protocol::wire::PayeeRefusal;
use tests::failure::{Failure, TestResult};
use tests::puppet::{Ended, Puppet, parse_invoice};
use tests::stage::{PAYMENT_TIMEOUT, Setup, Stage};

const AMOUNT_MSAT: u64 = 300_000_000;
const HOLD_BLOCKS: u32 = 50;

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_gives_the_money_back_at_once() -> TestResult {
    let stage = Stage::new(Setup::lsps(2)).await?;
    let payer = stage.puppet("puppet").await?;
    let before = stage.balances().await?;
    let height = stage.bitcoind.height().await?;

    // A wrong amount: less than the invoice asks for, or more.
    for amount_msat in [AMOUNT_MSAT / 2, AMOUNT_MSAT * 2] {
        let (invoice, _) = stage.invoice(AMOUNT_MSAT, &[]).await?;
        let reason = pays_in_vain(&stage, &payer, &parse_invoice(&invoice)?, amount_msat).await?;
        assert_eq!(reason, PayeeRefusal::WrongAmount);
    }

    // An unknown hash: LDK knows an invoice by its payment secret, the wallet by its own memory, and this one is not in there.
    let forgetful = Puppet::in_place_of(stage.payee.wallet(), &stage.bitcoind, stage.payees_lsp()).await?;
    forgetful.wait_for_usable_channels(1).await?;
    let invoice = forgetful.invoice(AMOUNT_MSAT).await?;
    forgetful.go_offline().await;
    assert_eq!(pays_in_vain(&stage, &payer, &invoice, AMOUNT_MSAT).await?, PayeeRefusal::UnknownHash);

    // An invoice that is paid already.
    let (invoice, _) = stage.invoice(AMOUNT_MSAT, &[]).await?;
    stage.pay(&invoice, &["--ordinary"]).await?;
    let reason = pays_in_vain(&stage, &payer, &parse_invoice(&invoice)?, AMOUNT_MSAT).await?;
    assert_eq!(reason, PayeeRefusal::AlreadyPaid);

    assert_eq!(stage.bitcoind.height().await?, height, "nobody waited for a deadline");
    let after = stage.settled_balances().await?;
    assert_eq!(after.payee_msat, before.payee_msat + AMOUNT_MSAT);
    payer.go_offline().await;
    stage.finish().await?;
    Ok(())
}

/// Holds a payment of the invoice, tells the payee that it is one of `told_msat`, and returns why the payee refused.
async fn pays_in_vain(
    stage: &Stage,
    payer: &Puppet,
    invoice: &Bolt11Invoice,
    told_msat: u64,
) -> Result<PayeeRefusal, Failure> {
    let before_msat = payer.balance_msat();
    let wakes = stage.payee.wakes().len();
    let (hash, pid, deadline) = (invoice.payment_hash(), payer.new_pid(), payer.height().plus(HOLD_BLOCKS));
    payer.block(&pid, vec![hash], deadline).await?;
    payer.pay(invoice, HOLD_BLOCKS + 20).await?;
    payer.wait_until_held(&pid, 1).await?;
    let mut pending = payer.pending_for(invoice, &pid, deadline);
    pending.amount = Msat(told_msat);
    payer.send_pending(invoice, pending)?;

    let reason = payer.wait_for_refusal(hash).await?;
    assert_eq!(payer.wait_for_payment(hash, PAYMENT_TIMEOUT).await?, Ended::Failed);
    assert_eq!(payer.balance_msat(), before_msat);
    stage.payee.wait_for_step_since(wakes, "refused", PAYMENT_TIMEOUT).await?;
    Ok(reason)
}
