//! `kill -9` in the middle of payments between two LSPs.

use protocol::units::Msat;
use tests::failure::{Failure, TestResult};
use tests::puppet::{Ended, PuppetStage};
use tests::stage::PAYMENT_TIMEOUT;
use tests::wait::{Seen, wait_until};

const AMOUNT_MSAT: u64 = 2_000_000;
const PAYMENTS: usize = 12;

/// Twice, once for each LSP: payments are under way, one LSP is killed at a moment that nobody chose, and starts again. Every
/// payment has ended then, both sides agree about each, no money is lost, and the channel works.
#[tokio::test(flavor = "multi_thread")]
async fn payments_end_and_channels_stay_when_an_lsp_is_killed() -> TestResult {
    let mut stage = PuppetStage::new(2, 1, &[]).await?;
    let total: u64 = stage.balances_msat().await?.iter().sum();
    for victim in [0, 1] {
        let mut invoices = Vec::new();
        for _ in 0..PAYMENTS {
            invoices.push(stage.payee.invoice(AMOUNT_MSAT).await?);
        }
        let payee_before = stage.payee.balance_msat();
        for invoice in &invoices {
            stage.payer.pay(invoice, 0).await?;
        }
        // As soon as one is through, the others are anywhere.
        wait_until("the first payment", PAYMENT_TIMEOUT, async || {
            let paid = invoices.iter().any(|invoice| stage.payee.times_paid(invoice.payment_hash()) > 0);
            Ok::<_, Failure>(if paid { Seen::Done(()) } else { Seen::NotYet("none".to_owned()) })
        })
        .await?;
        stage.lsps[victim].kill().await;
        stage.lsps[victim].start().await?;

        let mut paid = 0;
        for invoice in &invoices {
            let hash = invoice.payment_hash();
            let ended = stage.payer.wait_for_payment(hash, PAYMENT_TIMEOUT).await?;
            let times = stage.payee.times_paid(hash);
            assert_eq!(times, usize::from(matches!(ended, Ended::Paid { .. })), "{hash}: {ended:?}");
            paid += times as u64;
        }
        assert!(paid > 0);
        let expected = Msat(payee_before + paid * AMOUNT_MSAT);
        stage.payee.wait_for("its money", |node| node.balances().lightning == expected).await?;
        wait_until("the LSPs' balances to be what they were in all", PAYMENT_TIMEOUT, async || {
            let now: u64 = stage.balances_msat().await?.iter().sum();
            Ok(if now == total { Seen::Done(()) } else { Seen::NotYet(format!("{now} of {total}")) })
        })
        .await?;

        let invoice = stage.payee.invoice(AMOUNT_MSAT).await?;
        stage.lsps[0].wait_for_usable_channels(2).await?;
        stage.lsps[1].wait_for_usable_channels(2).await?;
        stage.payer.wait_for_usable_channels(1).await?;
        stage.payer.pay(&invoice, 0).await?;
        let ended = stage.payer.wait_for_payment(invoice.payment_hash(), PAYMENT_TIMEOUT).await?;
        assert!(matches!(ended, Ended::Paid { .. }), "after the kill of {victim}: {ended:?}");
    }
    stage.finish().await?;
    Ok(())
}
