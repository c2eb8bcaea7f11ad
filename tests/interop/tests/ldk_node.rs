//! Stock ldk-node wallets behind `lsp-server`.

use interop::stage::{Balances, FEES, Stage};
use ldk_node::payment::PaymentStatus;
use tests::failure::{Failure, TestResult};
use tests::phone::webhook;
use tests::stage::PAYMENT_TIMEOUT;
use tokio::sync::mpsc;
use tokio::time::timeout;

#[tokio::test(flavor = "multi_thread")]
async fn stock_wallets_pay_each_other() -> TestResult {
    let stage = Stage::new().await?;
    let before = stage.balances().await?;
    let (there, back) = (50_000_000, 30_000_000);
    for (payer, payee, amount) in [(&stage.alice, &stage.bob, there), (&stage.bob, &stage.alice, back)] {
        let id = payer.pay(&payee.invoice(amount)?)?;
        let sent = payer.wait_for_payment(&id).await?;
        assert_eq!(sent.amount_msat, Some(amount));
        assert_eq!(sent.fee_paid_msat, Some(FEES.fee_msat(amount)));
        assert_eq!(payee.wait_for_payment(&id).await?.amount_msat, Some(amount));
    }
    let expected = Balances {
        alice_msat: before.alice_msat - there - FEES.fee_msat(there) + back,
        bob_msat: before.bob_msat + there - back - FEES.fee_msat(back),
        lsp_msat: before.lsp_msat + FEES.fee_msat(there) + FEES.fee_msat(back),
    };
    stage.wait_for_balances(expected).await?;
    assert_eq!(stage.lsp.holds().await?, [], "nobody asked for a hold");
    stage.finish().await?;
    Ok(())
}

/// The payee's app is closed when the payment comes. The LSP wakes its phone and waits; the app is opened, and is paid.
#[tokio::test(flavor = "multi_thread")]
async fn a_stock_wallet_is_paid_that_was_offline() -> TestResult {
    const AMOUNT_MSAT: u64 = 50_000_000;
    let mut stage = Stage::new().await?;
    let before = stage.balances().await?;
    let (on_push, mut pushes) = mpsc::unbounded_channel();
    let (url, _, _) = webhook::serve(0, move |push| drop(on_push.send(push))).await?;
    stage.bob.register_webhook(&stage.lsp, &url).await?;
    let invoice = stage.bob.invoice(AMOUNT_MSAT)?;
    stage.bob.stop()?;
    stage.wait_until_bob_is_offline().await?;

    let id = stage.alice.pay(&invoice)?;
    let Ok(Some(push)) = timeout(PAYMENT_TIMEOUT, pushes.recv()).await else {
        let what = "the push to bob's phone".to_owned();
        let last = Some(format!("{:?}", stage.lsp.wakes().await?));
        return Err(Failure::Timeout { what, timeout: PAYMENT_TIMEOUT, last }.into());
    };
    assert_eq!(push.body.reason, "payment_incoming");
    assert_eq!(stage.alice.payment(&id)?.status, PaymentStatus::Pending);

    stage.bob.start()?;
    assert_eq!(stage.bob.wait_for_payment(&id).await?.amount_msat, Some(AMOUNT_MSAT));
    let sent = stage.alice.wait_for_payment(&id).await?;
    assert_eq!(sent.fee_paid_msat, Some(FEES.fee_msat(AMOUNT_MSAT)));
    let expected = Balances {
        alice_msat: before.alice_msat - AMOUNT_MSAT - FEES.fee_msat(AMOUNT_MSAT),
        bob_msat: before.bob_msat + AMOUNT_MSAT,
        lsp_msat: before.lsp_msat + FEES.fee_msat(AMOUNT_MSAT),
    };
    stage.wait_for_balances(expected).await?;
    stage.finish().await?;
    Ok(())
}
