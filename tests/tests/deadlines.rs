//! Blocks that come in one go around a deadline, and a payer that never comes back.

use lightning_types::payment::PaymentHash;
use protocol::hold::{FailCause, HoldStateTag};
use protocol::ids::Pid;
use protocol::units::BlockHeight;
use tests::failure::{Failure, TestResult};
use tests::puppet::{Ended, PAYER_CHANNEL_SAT, Puppet, PuppetStage};
use tests::stage::PAYMENT_TIMEOUT;
use tests::wait::{Seen, wait_until};

const AMOUNT_MSAT: u64 = 50_000_000;
const HOLD_BLOCKS: u32 = 20;
/// LDK fails an intercepted HTLC by itself so many blocks before it would expire at the next hop.
const LDK_FAIL_BLOCKS: u32 = 39;
/// LDK closes a channel so many blocks before a claimed HTLC expires on it.
const SETTLE_BLOCKS: u32 = 36;
/// What a close may cost: the commitment, its anchor's child, the claim of the HTLC and the sweep.
const FEES_MAX_SAT: u64 = 30_000;

struct Held {
    pid: Pid,
    hash: PaymentHash,
    inbound_expiry: BlockHeight,
    outgoing_expiry: BlockHeight,
}

/// Pays with few blocks to spare, and waits until it is held.
async fn pay_held(stage: &PuppetStage) -> Result<Held, Failure> {
    let (payer, payee) = (&stage.payer, &stage.payee);
    let (invoice, pid) = (payee.invoice(AMOUNT_MSAT).await?, payer.new_pid());
    let hash = invoice.payment_hash();
    payer.block(&pid, vec![hash], payer.height().plus(HOLD_BLOCKS)).await?;
    payer.pay(&invoice, HOLD_BLOCKS + 10).await?;
    payer.wait_until_held(&pid, 1).await?;
    let shown = stage.lsps[0].hold(&pid.hash().to_string()).await?;
    let part = shown.first().and_then(|hold| hold.parts.first());
    let part = part.ok_or_else(|| Failure::wrong(format!("no part in {shown:?}")))?;
    let inbound_expiry = part.inbound_expiry.ok_or_else(|| Failure::wrong("no inbound expiry"))?;
    Ok(Held { pid, hash, inbound_expiry, outgoing_expiry: part.outgoing_expiry })
}

/// Mines in one go up to `height`; the payer gets its money back, and the hold says that it was the deadline.
async fn jump_and_fail(stage: &PuppetStage, held: &Held, height: BlockHeight) -> TestResult {
    let before = stage.payer.height();
    stage.mine(before.blocks_until(height)).await?;
    assert_eq!(stage.payer.wait_for_payment(held.hash, PAYMENT_TIMEOUT).await?, Ended::Failed);
    wait_until("the hold to be over", PAYMENT_TIMEOUT, async || {
        let shown = stage.lsps[0].hold(&held.pid.hash().to_string()).await?.remove(0).summary;
        let is_over = (shown.state, shown.cause) == (HoldStateTag::Failed, Some(FailCause::Expired));
        Ok::<_, Failure>(if is_over { Seen::Done(()) } else { Seen::NotYet(format!("{shown:?}")) })
    })
    .await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_burst_of_blocks_fails_a_hold_back_before_ldk_does() -> TestResult {
    let stage = PuppetStage::new(1, 1, &[]).await?;
    let before = stage.balances_msat().await?;
    let held = pay_held(&stage).await?;
    // Well past the deadline, and one block before LDK's own limit: it can only be the deadline that fails it.
    jump_and_fail(&stage, &held, held.outgoing_expiry.minus(LDK_FAIL_BLOCKS + 1)).await?;

    let held = pay_held(&stage).await?;
    // Past every limit but the one at which the payer would close.
    jump_and_fail(&stage, &held, held.outgoing_expiry.plus(20)).await?;
    // An unblock that comes now moves nothing.
    stage.payee.unblock_along_own_path(held.hash, (stage.payer.node_id(), stage.payer.lsp()), held.pid)?;
    stage.mine(1).await?;

    assert_eq!(stage.balances_msat().await?, before);
    assert_eq!(stage.lsps[0].check_holds().await?.newest, []);
    assert_eq!(stage.lsps[0].channels().await?.len(), 2);
    stage.finish().await?;
    Ok(())
}

/// The payee is paid, and the payer's phone is gone for good: the operator hears of it in time, LDK closes the channel in the end,
/// and everybody's money is where it belongs.
#[tokio::test(flavor = "multi_thread")]
async fn a_payer_that_never_comes_costs_its_channel_and_nothing_else() -> TestResult {
    let stage = PuppetStage::new(1, 1, &[]).await?;
    let held = pay_held(&stage).await?;
    let way_back = (stage.payer.node_id(), stage.payer.lsp());
    let PuppetStage { payer, payee, mut lsps, bitcoind, mut logs, folder } = stage;
    let lsp = &mut lsps[0];
    payer.go_offline().await;
    payee.unblock_along_own_path(held.hash, way_back, held.pid)?;
    payee.wait_for("its money", |_| payee.times_paid(held.hash) == 1).await?;
    let on_chain = lsp.info().await?.on_chain_total_sat;

    let mine_to = async |height: BlockHeight| -> Result<(), Failure> {
        bitcoind.mine(BlockHeight(bitcoind.height().await?).blocks_until(height)).await?;
        lsp.wait_for_height(height.0).await
    };
    let blocks_to_close = async |blocks: f64| {
        wait_until(&format!("{blocks} blocks to the close"), PAYMENT_TIMEOUT, async || {
            let seen = lsp.metrics().await?.get("lightning_rod_blocks_to_close");
            Ok::<_, Failure>(if seen == Some(blocks) {
                Seen::Done(())
            } else {
                Seen::NotYet(format!("{seen:?}"))
            })
        })
        .await
    };
    const ALARM: &str = "its channel is about to be closed";
    mine_to(held.inbound_expiry.minus(SETTLE_BLOCKS + 37)).await?;
    blocks_to_close(37.0).await?;
    assert!(!lsp.log().contains(ALARM));
    mine_to(held.inbound_expiry.minus(SETTLE_BLOCKS + 36)).await?;
    blocks_to_close(36.0).await?;
    assert!(lsp.log().contains(ALARM), "the operator was not told");
    assert_eq!(lsp.info().await?.alarms.len(), 1);
    mine_to(held.inbound_expiry.minus(SETTLE_BLOCKS + 1)).await?;
    blocks_to_close(1.0).await?;
    assert_eq!(lsp.log().matches(ALARM).count(), 1, "it is said once");
    assert_eq!(lsp.channels().await?.len(), 2);

    mine_to(held.inbound_expiry.minus(SETTLE_BLOCKS)).await?;
    // The close, the claim with the preimage, and the sweep once `to_self_delay` is over.
    let claimed_sat = AMOUNT_MSAT / 1_000;
    let mut idle = 0;
    wait_until("the HTLC to be in the LSP's wallet", 2 * PAYMENT_TIMEOUT, async || {
        let now = lsp.info().await?.on_chain_total_sat;
        let left = lsp.channels().await?.len();
        if left == 1 && now + FEES_MAX_SAT >= on_chain + claimed_sat && lsp.holds().await?.is_empty() {
            return Ok::<_, Failure>(Seen::Done(()));
        }
        if !bitcoind.memory_pool().await?.is_empty() {
            bitcoind.mine(1).await?;
        } else {
            idle += 1;
            if idle % 10 == 0 {
                bitcoind.mine(12).await?;
            }
        }
        Ok(Seen::NotYet(format!("{now} sat of {on_chain} and {claimed_sat}, {left} channels")))
    })
    .await?;

    // The phone comes after all: what was the payer's is in its wallet, less what it paid.
    let payer = Puppet::online("payer", folder.path(), &bitcoind, lsp).await?;
    let rest_sat = PAYER_CHANNEL_SAT - claimed_sat;
    wait_until("the payer's money to be in its wallet", PAYMENT_TIMEOUT, async || {
        let total = payer.node().balances().on_chain.total_sat;
        if total + FEES_MAX_SAT >= rest_sat {
            return Ok::<_, Failure>(Seen::Done(()));
        }
        if !bitcoind.memory_pool().await?.is_empty() {
            bitcoind.mine(1).await?;
        }
        Ok(Seen::NotYet(format!("{total} of {rest_sat}")))
    })
    .await?;
    assert_eq!(lsp.check_holds().await?.newest, []);
    payer.go_offline().await;
    payee.go_offline().await;
    lsp.stop().await?;
    logs.not_needed();
    Ok(())
}
