//! Many payments at once: they share commits, and `kill -9` among them loses none.

use std::collections::HashMap;

use lightning_invoice::Bolt11Invoice;
use protocol::ids::Pid;
use protocol::wire::BlockAnswer;
use tests::failure::{Failure, TestResult};
use tests::puppet::{Ended, PuppetStage};
use tests::stage::PAYMENT_TIMEOUT;
use tests::wait::{Seen, wait_until};

const PAYMENTS: usize = 64;
/// A channel takes 50 HTLCs at a time (LDK's default): the payer has two, and the payee says yes to so many at once.
const PAYER_CHANNELS: usize = 2;
const RELEASED_AT_ONCE: usize = 64;
const AMOUNT_MSAT: u64 = 2_000_000;
const HOLD_BLOCKS: u32 = 50;

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_payments_share_commits_and_survive_kill() -> TestResult {
    let mut stage = PuppetStage::new(1, PAYER_CHANNELS, &[]).await?;
    let total: u64 = stage.balances_msat().await?.iter().sum();
    let payee_before = stage.payee.balance_msat();

    // Held, all of them, and counted in one run of the LSP.
    stage.lsps[0].stop().await?;
    stage.lsps[0].start().await?;
    stage.lsps[0].wait_for_usable_channels(PAYER_CHANNELS + 1).await?;
    let first = start_all(&stage).await?;
    wait_until_held(&stage, PAYMENTS).await?;
    stage.lsps[0].stop().await?;
    let (commits, writes) = commits_and_writes(&stage.lsps[0].log())?;
    println!("{PAYMENTS} payments were blocked and held with {writes} writes in {commits} commits");
    // A hold and a part for each, besides LDK's own.
    assert!(writes >= 2 * PAYMENTS as u64, "{writes} writes");
    assert!(commits < 2 * PAYMENTS as u64, "{writes} writes took {commits} commits");

    // Nothing is lost between the runs. Killed while they are released:
    stage.lsps[0].start().await?;
    wait_until_held(&stage, PAYMENTS).await?;
    stage.lsps[0].wait_for_usable_channels(PAYER_CHANNELS + 1).await?;
    unblock_all(&stage, &first[..RELEASED_AT_ONCE])?;
    wait_until("some of the payments", PAYMENT_TIMEOUT, async || {
        let paid = first.iter().filter(|(one, _)| stage.payee.times_paid(one.payment_hash()) > 0).count();
        Ok::<_, Failure>(if paid > 3 { Seen::Done(()) } else { Seen::NotYet(format!("{paid}")) })
    })
    .await?;
    stage.lsps[0].kill().await;
    stage.lsps[0].start().await?;
    for some in first.chunks(RELEASED_AT_ONCE) {
        end_all(&stage, some).await?;
    }

    // Killed while they arrive:
    let second = start_all(&stage).await?;
    wait_until_held(&stage, PAYMENTS / 4).await?;
    stage.lsps[0].kill().await;
    stage.lsps[0].start().await?;
    wait_until_held(&stage, PAYMENTS).await?;
    for some in second.chunks(RELEASED_AT_ONCE) {
        end_all(&stage, some).await?;
    }

    let paid_msat = 2 * PAYMENTS as u64 * AMOUNT_MSAT;
    let expected = payee_before + paid_msat;
    stage.payee.wait_for("its money", |node| node.balances().lightning.0 == expected).await?;
    wait_until("the balances to be what they were in all", PAYMENT_TIMEOUT, async || {
        let now: u64 = stage.balances_msat().await?.iter().sum();
        Ok(if now == total { Seen::Done(()) } else { Seen::NotYet(format!("{now} of {total}")) })
    })
    .await?;
    stage.finish().await?;
    Ok(())
}

/// Blocks every payment, then pays them all.
async fn start_all(stage: &PuppetStage) -> Result<Vec<(Bolt11Invoice, Pid)>, Failure> {
    stage.payer.wait_for_usable_channels(PAYER_CHANNELS).await?;
    stage.payee.wait_for_usable_channels(1).await?;
    let deadline = stage.payer.height().plus(HOLD_BLOCKS);
    let mut all = Vec::new();
    for _ in 0..PAYMENTS {
        all.push((stage.payee.invoice(AMOUNT_MSAT).await?, stage.payer.new_pid()));
    }
    let asked =
        all.iter().map(|(invoice, pid)| stage.payer.block(pid, vec![invoice.payment_hash()], deadline));
    for answer in futures::future::try_join_all(asked).await? {
        assert_eq!(answer, BlockAnswer::Accepted { deadline });
    }
    let paid = all.iter().map(|(invoice, _)| stage.payer.pay(invoice, HOLD_BLOCKS + 20));
    futures::future::try_join_all(paid).await?;
    Ok(all)
}

async fn wait_until_held(stage: &PuppetStage, count: usize) -> Result<(), Failure> {
    wait_until(&format!("{count} held HTLCs"), PAYMENT_TIMEOUT, async || {
        let held: usize = stage.payers_lsp().holds().await?.iter().map(|hold| hold.held_parts).sum();
        Ok(if held >= count { Seen::Done(()) } else { Seen::NotYet(format!("{held}")) })
    })
    .await
}

fn unblock_all(stage: &PuppetStage, all: &[(Bolt11Invoice, Pid)]) -> Result<(), Failure> {
    let way_back = (stage.payer.node_id(), stage.payer.lsp());
    for (invoice, pid) in all {
        stage.payee.unblock_along_own_path(invoice.payment_hash(), way_back, *pid)?;
    }
    Ok(())
}

/// Says yes until every payment has arrived, as a payee does whose yes may be lost.
async fn end_all(stage: &PuppetStage, all: &[(Bolt11Invoice, Pid)]) -> Result<(), Failure> {
    stage.payee.wait_for_usable_channels(1).await?;
    let mut looks = 0_u32;
    wait_until("all payments to end", PAYMENT_TIMEOUT, async || {
        // Every two seconds.
        if looks.is_multiple_of(40) && stage.payee.node().is_connected(stage.payee.lsp()) {
            unblock_all(stage, all)?;
        }
        looks += 1;
        let mut seen: HashMap<String, usize> = HashMap::new();
        for (invoice, _) in all {
            let hash = invoice.payment_hash();
            let what = match (stage.payer.payment_ended(hash), stage.payee.times_paid(hash)) {
                (Some(Ended::Paid { .. }), 1) => "paid".to_owned(),
                (ended, times) => format!("{ended:?}, claimed {times} times"),
            };
            *seen.entry(what).or_default() += 1;
        }
        let done = seen.get("paid") == Some(&all.len());
        Ok(if done { Seen::Done(()) } else { Seen::NotYet(format!("{seen:?}")) })
    })
    .await
}

/// What the LSP logged when it stopped last.
fn commits_and_writes(log: &str) -> Result<(u64, u64), Failure> {
    let line = log.lines().rev().find(|line| line.contains("commits="));
    let line = line.ok_or_else(|| Failure::wrong("the LSP did not say how often it committed"))?;
    let number = |key: &str| {
        let digits = line.split_once(&format!("{key}="))?.1;
        digits.split(|letter: char| !letter.is_ascii_digit()).next()?.parse::<u64>().ok()
    };
    let all = (number("commits"), number("transactions"), number("kv_writes"));
    let (Some(commits), Some(transactions), Some(kv_writes)) = all else {
        return Err(Failure::wrong(format!("cannot read {line:?}")));
    };
    Ok((commits, transactions + kv_writes))
}
