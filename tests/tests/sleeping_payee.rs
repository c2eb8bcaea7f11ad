//! The payee is off when the HTLC comes.

use lightning_types::payment::PaymentHash;
use protocol::api::admin::WakeView;
use protocol::ids::Pid;
use tests::failure::{Failure, TestResult};
use tests::puppet::Puppet;
use tests::stage::{PAYMENT_TIMEOUT, Setup, Stage};
use tests::wait::{SOON, Seen, wait_until};

const AMOUNT_MSAT: u64 = 300_000_000;

/// A payment to the stage's payee that is held. Answers its hash and its secret.
async fn hold(stage: &Stage, puppet: &Puppet) -> Result<(PaymentHash, Pid), Failure> {
    let (invoice, _) = stage.invoice(AMOUNT_MSAT, &[]).await?;
    let invoice = tests::puppet::parse_invoice(&invoice)?;
    let pid = puppet.new_pid();
    puppet.block(&pid, vec![invoice.payment_hash()], puppet.height().plus(50)).await?;
    puppet.pay(&invoice, 70).await?;
    puppet.wait_until_held(&pid, 1).await?;
    Ok((invoice.payment_hash(), pid))
}

/// A released HTLC finds the payee gone: the payee's LSP wakes it, and waits.
#[tokio::test(flavor = "multi_thread")]
async fn a_released_payment_wakes_the_payee() -> TestResult {
    let setup = Setup::lsps(2);
    let stage = Stage::new(setup.clone()).await?;
    let puppet = stage.puppet("puppet").await?;
    let (payment_hash, pid) = hold(&stage, &puppet).await?;
    assert_eq!(stage.payee.pushes().len(), 0, "nobody has told the payee");

    // Whoever has the pid releases: here the operator, who was given it.
    let pid_in_hex = puppet.pid_in_hex(&pid);
    stage.payers_lsp().tell(&["holds", "release"], Some(&pid_in_hex)).await?;
    let push = stage.payee.wait_for_push(1, PAYMENT_TIMEOUT).await?;
    assert_eq!(push.body.reason, "payment_incoming");
    stage.payee.wait_for_step("paid", PAYMENT_TIMEOUT).await?;
    puppet.wait_for_payment(payment_hash, PAYMENT_TIMEOUT).await?;
    puppet.go_offline().await;
    stage.finish().await?;
    Ok(())
}

/// The pid comes while the payee, a client of the payer's own LSP, is off: it is woken, and the payment waits for it. A payment that
/// its payer takes back meanwhile wakes nobody any more.
#[tokio::test(flavor = "multi_thread")]
async fn an_unblocked_payment_wakes_a_payee_of_the_same_lsp() -> TestResult {
    let stage = Stage::new(Setup::lsps(1)).await?;
    let puppet = stage.puppet("puppet").await?;
    let mut payments = Vec::new();
    for _ in 0..2 {
        payments.push(hold(&stage, &puppet).await?);
    }
    stage.payee.leave_coverage();
    for (_, pid) in &payments {
        stage.payers_lsp().tell(&["holds", "release"], Some(&puppet.pid_in_hex(pid))).await?;
    }
    let lsp = stage.payers_lsp();
    let wait_for_wakes = async |count: usize| {
        wait_until(&format!("{count} open wakes"), SOON, async || {
            let wakes = lsp.wakes().await?;
            let is_open = |wake: &&WakeView| wake.reason.as_str() == "payment_incoming";
            let open = wakes.iter().filter(is_open).count();
            Ok(if open == count { Seen::Done(()) } else { Seen::NotYet(format!("{wakes:#?}")) })
        })
        .await
    };
    wait_for_wakes(2).await?;
    let (taken_back, pid) = &payments[1];
    puppet.cancel(pid).await?;
    wait_for_wakes(1).await?;
    puppet.wait_for_failure(*taken_back).await?;

    stage.payee.enter_coverage();
    stage.payee.wait_for_step("paid", PAYMENT_TIMEOUT).await?;
    puppet.wait_for_payment(payments[0].0, PAYMENT_TIMEOUT).await?;
    puppet.go_offline().await;
    stage.finish().await?;
    Ok(())
}

/// An ordinary payment, of a payer that knows nothing of holds, to a phone that is off.
#[tokio::test]
async fn an_ordinary_payment_wakes_the_payee() -> TestResult {
    let setup = Setup::lsps(2);
    let stage = Stage::new(setup.clone()).await?;
    let before = stage.balances().await?;
    let (invoice, _) = stage.invoice(AMOUNT_MSAT, &[]).await?;
    let paid = stage.pay(&invoice, &["--ordinary"]).await?;
    assert!(paid.step("settled").is_some(), "{paid:?}");
    assert_eq!(
        stage.payee.pushes().first().map(|push| push.body.reason.clone()).as_deref(),
        Some("payment_incoming")
    );
    stage.payee.wait_for_step("paid", PAYMENT_TIMEOUT).await?;
    assert_eq!(stage.payers_lsp().holds().await?, []);

    // And with the payee's app open: no push, nothing held.
    let (second, _) = stage.invoice(AMOUNT_MSAT, &[]).await?;
    let pushes = stage.payee.pushes().len();
    let app = stage.payee.open_app().await?;
    let paid = stage.pay(&second, &["--ordinary"]).await?;
    assert!(paid.step("settled").is_some(), "{paid:?}");
    app.close().await?;
    assert_eq!(stage.payee.pushes().len(), pushes);

    let after = stage.settled_balances().await?;
    assert_eq!(after.payee_msat, before.payee_msat + 2 * AMOUNT_MSAT);
    assert_eq!(after.total_msat(), before.total_msat());
    assert!(stage.all_channels_open(&setup).await?);
    stage.finish().await?;
    Ok(())
}
