//! What a payment with no hold costs the LSP.

use tests::failure::TestResult;
use tests::puppet::PuppetStage;
use tests::stage::PAYMENT_TIMEOUT;

const AMOUNT_MSAT: u64 = 2_000_000;
const PAYMENTS: u64 = 12;
/// The outbox is tidied once a minute, whatever is paid.
const TIDYING_MAX: u64 = 2;

/// Between phones that are online, our side writes nothing: a look at one table says that there is no hold.
#[tokio::test(flavor = "multi_thread")]
async fn a_payment_without_a_hold_is_forwarded_without_a_write() -> TestResult {
    let stage = PuppetStage::new(1, 1, &[]).await?;
    stage.payer.wait_for_usable_channels(1).await?;
    stage.payee.wait_for_usable_channels(1).await?;
    let before = stage.payers_lsp().info().await?.database;
    for _ in 0..PAYMENTS {
        let invoice = stage.payee.invoice(AMOUNT_MSAT).await?;
        stage.payer.pay(&invoice, 0).await?;
        stage.payer.wait_for_payment(invoice.payment_hash(), PAYMENT_TIMEOUT).await?;
    }
    let after = stage.payers_lsp().info().await?.database;
    assert!(after.kv_writes >= before.kv_writes + PAYMENTS, "LDK stores what it forwards");
    let written = after.transactions - before.transactions;
    assert!(written <= TIDYING_MAX, "{written} transactions of ours for {PAYMENTS} payments");
    stage.finish().await?;
    Ok(())
}
