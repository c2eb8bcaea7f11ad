//! A chain source that hangs, stalls, lies or is gone: nothing new is held, and what is held is kept safe.

use lightning_types::payment::PaymentHash;
use protocol::ids::Pid;
use protocol::units::BlockHeight;
use protocol::wire::{BlockAnswer, RefusalReason};
use tests::bitcoind::{Lie, RpcProxy};
use tests::failure::{Failure, TestResult};
use tests::puppet::{Ended, PuppetStage};
use tests::stage::PAYMENT_TIMEOUT;
use tests::wait::{SOON, Seen, wait_until};

const AMOUNT_MSAT: u64 = 50_000_000;
const HOLD_BLOCKS: u32 = 50;

/// A stage whose LSP asks a proxy, with these settings on top, and serves its metrics.
async fn stage_behind_proxy(settings: &[(&str, &str)]) -> Result<(PuppetStage, RpcProxy), Failure> {
    let mut stage = PuppetStage::new(1, 1, &[]).await?;
    let proxy = RpcProxy::start(&stage.bitcoind).await?;
    let lsp = &mut stage.lsps[0];
    lsp.stop().await?;
    lsp.set("bitcoind.rpc_url", &proxy.url());
    settings.iter().for_each(|(key, value)| lsp.set(key, value));
    lsp.start().await?;
    stage.payer.wait_for_usable_channels(1).await?;
    stage.payee.wait_for_usable_channels(1).await?;
    Ok((stage, proxy))
}

/// Pays under a hold that ends at `deadline`, and waits until it is held.
async fn pay_held(stage: &PuppetStage, deadline: BlockHeight) -> Result<(Pid, PaymentHash), Failure> {
    let (payer, payee) = (&stage.payer, &stage.payee);
    let (invoice, pid) = (payee.invoice(AMOUNT_MSAT).await?, payer.new_pid());
    let hash = invoice.payment_hash();
    let answer = payer.block(&pid, vec![hash], deadline).await?;
    if answer != (BlockAnswer::Accepted { deadline }) {
        return Err(Failure::wrong(format!("{answer:?}")));
    }
    payer.pay(&invoice, HOLD_BLOCKS + 20).await?;
    payer.wait_until_held(&pid, 1).await?;
    Ok((pid, hash))
}

async fn wait_for_metric(stage: &PuppetStage, name: &str, value: f64) -> Result<(), Failure> {
    wait_until(&format!("{name} to be {value}"), PAYMENT_TIMEOUT, async || {
        let metrics = stage.lsps[0].metrics().await?;
        let seen = metrics.get(name);
        Ok(if seen == Some(value) { Seen::Done(()) } else { Seen::NotYet(format!("{seen:?}")) })
    })
    .await
}

fn trouble(kind: &str) -> String {
    format!("lightning_rod_chain_trouble{{kind=\"{kind}\"}}")
}

fn is_refused(answer: &BlockAnswer) -> bool {
    matches!(answer, BlockAnswer::Refused { reason: RefusalReason::Unavailable, text: Some(_) })
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_the_lie_nothing_new_is_held_and_what_is_held_is_still_paid() -> TestResult {
    let settings = [("chain.stall_secs", "20"), ("chain.ahead_secs_max", "7200")];
    let (stage, proxy) = stage_behind_proxy(&settings).await?;
    let (payer, payee) = (&stage.payer, &stage.payee);
    // At the start its newest block is older than it may be.
    wait_for_metric(&stage, &trouble("stalled"), 1.0).await?;
    stage.mine(1).await?;
    wait_for_metric(&stage, &trouble("stalled"), 0.0).await?;
    let before = stage.balances_msat().await?;

    let deadline = payer.height().plus(HOLD_BLOCKS);
    let (pid, hash) = pay_held(&stage, deadline).await?;
    wait_for_metric(&stage, "lightning_rod_hold_parts{state=\"held\"}", 1.0).await?;
    let held = stage.lsps[0].metrics().await?;
    assert_eq!(held.get("lightning_rod_holds{state=\"waiting\"}"), Some(1.0));
    assert!(held["lightning_rod_held_msat"] > AMOUNT_MSAT as f64);
    assert!(held["lightning_rod_blocks_to_deadline"] <= f64::from(HOLD_BLOCKS));
    assert!(held["lightning_rod_blocks_to_close"].is_infinite());
    let age = held["lightning_rod_oldest_age_seconds{row=\"part_held\"}"];

    for (lie, kind) in [
        (Lie::Lower(3), "went_back"),
        (Lie::MoreHeaders(5), "behind_headers"),
        (Lie::FromTheFuture(8_000), "ahead_of_clock"),
        (Lie::Gone, "unreachable"),
        (Lie::Frozen, "stalled"),
    ] {
        proxy.lie(lie);
        if kind != "stalled" {
            // So that it is this lie, and not that no block comes.
            stage.bitcoind.mine(1).await?;
        }
        wait_for_metric(&stage, &trouble(kind), 1.0).await?;
        let new = payer.new_pid();
        let new_hash = payee.invoice(AMOUNT_MSAT).await?.payment_hash();
        let answer = payer.block(&new, vec![new_hash], deadline).await?;
        assert!(is_refused(&answer), "{kind}: {answer:?}");
        // What was granted stays granted.
        let again = payer.block(&pid, vec![hash], deadline).await?;
        assert_eq!(again, BlockAnswer::Accepted { deadline }, "{kind}");
        assert!(stage.lsps[0].not_ready().await?.contains(&"chain".to_owned()), "{kind}");
        assert!(!stage.lsps[0].info().await?.alarms.is_empty(), "{kind}");
        if kind != "stalled" {
            proxy.lie(Lie::None);
            stage.bitcoind.mine(1).await?;
            wait_for_metric(&stage, &trouble(kind), 0.0).await?;
        }
    }
    let later = stage.lsps[0].metrics().await?["lightning_rod_oldest_age_seconds{row=\"part_held\"}"];
    assert!(later > age, "the oldest part was {age} s old, and is {later} s");

    // The payee comes while the chain stands still: the deadline is far, so it is paid.
    payee.unblock_along_own_path(hash, (payer.node_id(), payer.lsp()), pid)?;
    let ended = payer.wait_for_payment(hash, PAYMENT_TIMEOUT).await?;
    assert!(matches!(ended, Ended::Paid { .. }), "{ended:?}");
    proxy.lie(Lie::None);
    stage.mine(1).await?;
    wait_for_metric(&stage, &trouble("stalled"), 0.0).await?;
    wait_for_metric(&stage, "lightning_rod_hold_parts{state=\"held\"}", 0.0).await?;
    wait_for_metric(&stage, "lightning_rod_held_msat", 0.0).await?;

    let after = stage.balances_msat().await?;
    assert_eq!(after[1], before[1] + AMOUNT_MSAT);
    assert_eq!(after.iter().sum::<u64>(), before.iter().sum::<u64>());
    assert_eq!(stage.lsps[0].check_holds().await?.newest, []);
    stage.finish().await?;
    Ok(())
}

/// It takes connections and says nothing. Blocks may come meanwhile that nobody here sees: the clock says when it is too late.
#[tokio::test(flavor = "multi_thread")]
async fn a_bitcoind_that_hangs_leaves_the_deadline_to_the_clock() -> TestResult {
    let settings = [("chain.block_secs_min", "1")];
    let stage = PuppetStage::new(1, 1, &settings).await?;
    let (payer, payee) = (&stage.payer, &stage.payee);
    let before = stage.balances_msat().await?;
    // Its newest block is young, so that the estimate begins there.
    stage.mine(1).await?;
    let (near, far) = (payer.height().plus(30), payer.height().plus(HOLD_BLOCKS + 600));
    let (_, hash) = pay_held(&stage, near).await?;
    let granted = payer.height();
    let other = payer.new_pid();
    let other_hash = payee.invoice(AMOUNT_MSAT).await?.payment_hash();
    payer.block(&other, vec![other_hash], far).await?;

    stage.bitcoind.freeze();
    let ended = payer.wait_for_payment(hash, PAYMENT_TIMEOUT).await?;
    assert_eq!(ended, Ended::Failed, "no block was seen since {granted}");
    assert_eq!(payer.height(), granted);
    wait_until("only what was due to be over", SOON, async || {
        let live: Vec<_> = stage.lsps[0].holds().await?.into_iter().map(|hold| hold.deadline).collect();
        Ok::<_, Failure>(if live == [far] { Seen::Done(()) } else { Seen::NotYet(format!("{live:?}")) })
    })
    .await?;
    assert!(stage.lsps[0].log().contains("the chain cannot be relied on"));
    let new = payer.new_pid();
    let answer = payer.block(&new, vec![PaymentHash([5; 32])], far).await?;
    assert!(is_refused(&answer), "{answer:?}");

    stage.bitcoind.thaw();
    wait_until("new holds to be granted", SOON, async || {
        let answer = payer.block(&new, vec![PaymentHash([5; 32])], far).await?;
        let granted = matches!(answer, BlockAnswer::Accepted { .. });
        Ok::<_, Failure>(if granted { Seen::Done(()) } else { Seen::NotYet(format!("{answer:?}")) })
    })
    .await?;
    stage.mine(1).await?;
    assert_eq!(stage.balances_msat().await?, before);
    stage.finish().await?;
    Ok(())
}

/// It is stopped in good order and comes back, with a payment held and another one made in between.
#[tokio::test(flavor = "multi_thread")]
async fn a_bitcoind_that_was_away_is_followed_again() -> TestResult {
    let (mut stage, proxy) = stage_behind_proxy(&[]).await?;
    let before = stage.balances_msat().await?;
    let deadline = stage.payer.height().plus(HOLD_BLOCKS);
    let (pid, hash) = pay_held(&stage, deadline).await?;
    let (payer, payee, lsp) = (&stage.payer, &stage.payee, &stage.lsps[0]);
    let way_back = (payer.node_id(), payer.lsp());
    stage.bitcoind = stage
        .bitcoind
        .restart(async || {
            wait_until("the LSP to miss bitcoind", SOON, async || {
                let found = lsp.not_ready().await?;
                let missed = found.contains(&"chain".to_owned());
                Ok::<_, Failure>(if missed { Seen::Done(()) } else { Seen::NotYet(format!("{found:?}")) })
            })
            .await?;
            payee.unblock_along_own_path(hash, way_back, pid)?;
            let ended = payer.wait_for_payment(hash, PAYMENT_TIMEOUT).await?;
            if matches!(ended, Ended::Paid { .. }) {
                Ok(())
            } else {
                Err(Failure::wrong(format!("{ended:?}")))
            }
        })
        .await?;
    proxy.stand_before(&stage.bitcoind);
    wait_for_metric(&stage, &trouble("unreachable"), 0.0).await?;
    stage.bitcoind.mine(3).await?;
    stage.lsps[0].wait_for_height(stage.bitcoind.height().await?).await?;
    // What it heard of bitcoind may be a moment old.
    wait_until("the LSP to be ready", SOON, async || {
        let found = stage.lsps[0].not_ready().await?;
        Ok::<_, Failure>(if found.is_empty() { Seen::Done(()) } else { Seen::NotYet(format!("{found:?}")) })
    })
    .await?;
    let after = stage.balances_msat().await?;
    assert_eq!(after[1], before[1] + AMOUNT_MSAT);
    assert_eq!(after.iter().sum::<u64>(), before.iter().sum::<u64>());
    stage.finish().await?;
    Ok(())
}

/// The height goes down, stays there, and another chain grows past it.
#[tokio::test(flavor = "multi_thread")]
async fn a_hold_survives_a_reorganisation_and_is_paid_once() -> TestResult {
    let stage = PuppetStage::new(1, 1, &[]).await?;
    let (payer, payee) = (&stage.payer, &stage.payee);
    stage.mine(4).await?;
    let before = stage.balances_msat().await?;
    let top = payer.height();
    // As late as it may be: at the height after the reorganisation, a new request for it would be granted an earlier one.
    let deadline = top.plus(HOLD_BLOCKS);
    let (pid, hash) = pay_held(&stage, deadline).await?;

    let undone = stage.bitcoind.invalidate(3).await?;
    wait_until("the LSP to notice", SOON, async || {
        let found = stage.lsps[0].not_ready().await?;
        let noticed = found.contains(&"chain".to_owned());
        Ok::<_, Failure>(if noticed { Seen::Done(()) } else { Seen::NotYet(format!("{found:?}")) })
    })
    .await?;
    let new_hash = payee.invoice(AMOUNT_MSAT).await?.payment_hash();
    let answer = payer.block(&payer.new_pid(), vec![new_hash], deadline).await?;
    assert!(is_refused(&answer), "{answer:?}");
    assert_eq!(payer.block(&pid, vec![hash], deadline).await?, BlockAnswer::Accepted { deadline });

    // Another chain, longer by one: the old one is not the best any more when it comes back.
    stage.bitcoind.mine_others(3).await?;
    stage.bitcoind.mine_others(1).await?;
    stage.bitcoind.reconsider(&undone).await?;
    stage.lsps[0].wait_for_height(top.plus(1).0).await?;
    payer.wait_for("the other chain", |node| node.height() == top.plus(1)).await?;
    assert!(stage.lsps[0].log().contains("blocks disconnected"));
    assert_eq!(payer.height(), top.plus(1));
    assert_eq!(payer.block(&pid, vec![hash], deadline).await?, BlockAnswer::Accepted { deadline });
    let shown = stage.lsps[0].hold(&pid.hash().to_string()).await?;
    assert_eq!(
        shown.iter().map(|hold| (hold.summary.deadline, hold.summary.held_parts)).collect::<Vec<_>>(),
        [(deadline, 1)]
    );

    payee.unblock_along_own_path(hash, (payer.node_id(), payer.lsp()), pid)?;
    let ended = payer.wait_for_payment(hash, PAYMENT_TIMEOUT).await?;
    assert!(matches!(ended, Ended::Paid { .. }), "{ended:?}");
    assert_eq!(payee.times_paid(hash), 1);
    let after = stage.balances_msat().await?;
    assert_eq!(after[1], before[1] + AMOUNT_MSAT);
    assert_eq!(after.iter().sum::<u64>(), before.iter().sum::<u64>());
    assert_eq!(stage.lsps[0].check_holds().await?.newest, []);
    stage.finish().await?;
    Ok(())
}
