//! Blocks that come in one go around a deadline, and a payer that never comes back.

use lightning_types::payment::PaymentHash;
use protocol::api::public::DeviceTarget;
use protocol::hold::{FailCause, HoldStateTag};
use protocol::ids::Pid;
use protocol::units::BlockHeight;
use reqwest::StatusCode;
use tests::books::{Books, Owner, ROUNDING_MSAT};
use tests::failure::{Failure, TestResult};
use tests::folder::Folder;
use tests::phone::PushBody;
use tests::puppet::{Ended, Puppet, PuppetStage};
use tests::stage::{APNS_TOKEN, PAYMENT_TIMEOUT, Providers};
use tests::wait::{Seen, wait_until};

/// No whole number of satoshi: on chain something of it is rounded off.
const AMOUNT_MSAT: u64 = 50_000_123;
const HOLD_BLOCKS: u32 = 20;
/// LDK fails an intercepted HTLC by itself so many blocks before it would expire at the next hop.
const LDK_FAIL_BLOCKS: u32 = 39;
/// LDK closes a channel so many blocks before a claimed HTLC expires on it.
const SETTLE_BLOCKS: u32 = 36;
/// LDK closes a channel so many blocks after an HTLC that it offered on it expired (`LATENCY_GRACE_PERIOD_BLOCKS`).
const GRACE_BLOCKS: u32 = 3;
/// So many blocks before the close the payer is called anew, and more urgently.
const EXPIRY_SOON_BLOCKS: u32 = 54;

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

/// What Apple was asked to bring to the payer, in order.
fn pushed(providers: &Providers) -> Result<Vec<PushBody>, Failure> {
    let read = |taken: tests::fakes::Taken| {
        serde_json::from_str(&taken.push).map_err(|error| Failure::wrong(format!("{}: {error}", taken.push)))
    };
    providers.apns.taken().into_iter().map(read).collect()
}

async fn wait_for_pushes(providers: &Providers, reason: &str, count: usize) -> Result<(), Failure> {
    wait_until(&format!("{count} pushes for {reason}"), PAYMENT_TIMEOUT, async || {
        let reasons: Vec<_> = pushed(providers)?.into_iter().map(|push| push.reason).collect();
        let found = reasons.iter().filter(|found| *found == reason).count();
        Ok(if found >= count { Seen::Done(()) } else { Seen::NotYet(format!("{reasons:?}")) })
    })
    .await
}

/// The payee is paid, and the payer's phone is gone for good: it is called ever more urgently, the operator hears of it in time, LDK
/// closes the channel in the end, and everybody's money is where it belongs.
#[tokio::test(flavor = "multi_thread")]
async fn a_payer_that_never_comes_costs_its_channel_and_nothing_else() -> TestResult {
    let keys = Folder::new()?;
    let providers = Providers::start(keys.path()).await?;
    let settings: Vec<(&str, &str)> = providers.settings().collect();
    let stage = PuppetStage::new(1, 1, &settings).await?;
    providers.apns.add_device(APNS_TOKEN);
    let iphone = DeviceTarget::new("apns", APNS_TOKEN);
    assert_eq!(stage.payer.register_device(&stage.lsps[0], iphone).await?, StatusCode::CREATED);

    let owners = [Owner::Lsp(&stage.lsps[0]), Owner::Phone(&stage.payer), Owner::Phone(&stage.payee)];
    let mut books = Books::open(&stage.bitcoind, &owners).await?;
    let [lsp_before, payer_before, payee_before] = totals_msat(owners).await?;
    let held = pay_held(&stage).await?;
    let way_back = (stage.payer.node_id(), stage.payer.lsp());
    let PuppetStage { payer, payee, mut lsps, bitcoind, mut logs, folder } = stage;
    let lsp = &mut lsps[0];
    let fee_msat = lsp.fees().fee_msat(AMOUNT_MSAT);
    payer.go_offline().await;
    payee.unblock_along_own_path(held.hash, way_back, held.pid)?;
    payee.wait_for("its money", |_| payee.times_paid(held.hash) == 1).await?;
    wait_for_pushes(&providers, "payment_settled", 1).await?;

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
    mine_to(held.inbound_expiry.minus(SETTLE_BLOCKS + EXPIRY_SOON_BLOCKS + 1)).await?;
    blocks_to_close(f64::from(EXPIRY_SOON_BLOCKS + 1)).await?;
    let calm = pushed(&providers)?;
    assert!(calm.iter().all(|push| push.reason == "payment_settled"), "{calm:?}");
    mine_to(held.inbound_expiry.minus(SETTLE_BLOCKS + EXPIRY_SOON_BLOCKS)).await?;
    // A wake of its own, that begins anew: its first pushes are seconds apart, whatever the other one's are by now.
    wait_for_pushes(&providers, "expiry_soon", 3).await?;
    let urgent: Vec<_> =
        pushed(&providers)?.into_iter().filter(|push| push.reason == "expiry_soon").collect();
    assert!(urgent.iter().all(|push| push.id == urgent[0].id && calm.iter().all(|one| one.id != push.id)));

    const ALARM: &str = "its channel is about to be closed";
    mine_to(held.inbound_expiry.minus(SETTLE_BLOCKS + 37)).await?;
    blocks_to_close(37.0).await?;
    assert!(!lsp.log().contains(ALARM));
    assert_eq!(lsp.info().await?.alarms, [""; 0]);
    mine_to(held.inbound_expiry.minus(SETTLE_BLOCKS + 36)).await?;
    blocks_to_close(36.0).await?;
    assert!(lsp.log().contains(ALARM), "the operator was not told");
    let alarms = lsp.info().await?.alarms;
    assert!(matches!(&alarms[..], [alarm] if alarm.contains("in 36 blocks")), "{alarms:?}");
    mine_to(held.inbound_expiry.minus(SETTLE_BLOCKS + 1)).await?;
    blocks_to_close(1.0).await?;
    assert_eq!(lsp.log().matches(ALARM).count(), 1, "it is said once");
    assert_eq!(lsp.channels().await?.len(), 2);

    mine_to(held.inbound_expiry.minus(SETTLE_BLOCKS)).await?;
    // The close, the claim with the preimage, and the sweep once `to_self_delay` is over. The LSP pays for all but the commitment,
    // and keeps the fee for forwarding.
    let mut idle = 0;
    let without_payer = wait_until("the HTLC to be in the LSP's wallet", 2 * PAYMENT_TIMEOUT, async || {
        let now_msat = Owner::Lsp(lsp).wealth().await?.total_msat();
        let left = lsp.channels().await?.len();
        let taken = books.taken(&bitcoind).await?;
        let due_msat = lsp_before + fee_msat + 1_000 * taken.anchors_spent_sat - 1_000 * taken.others_sat;
        let is_waited_for = !bitcoind.memory_pool().await?.is_empty();
        if left == 1
            && taken.closes == 1
            && now_msat.abs_diff(due_msat) < ROUNDING_MSAT
            && lsp.holds().await?.is_empty()
            && !is_waited_for
        {
            return Ok::<_, Failure>(Seen::Done(taken));
        }
        if is_waited_for {
            bitcoind.mine(1).await?;
        } else {
            idle += 1;
            if idle % 10 == 0 {
                bitcoind.mine(12).await?;
            }
        }
        Ok(Seen::NotYet(format!("{now_msat} msat of {due_msat}, {left} channels, {taken:?}")))
    })
    .await?;
    assert_eq!(lsp.wakes().await?, [], "there is nothing to wake it for any more");
    assert_eq!(lsp.info().await?.alarms, [""; 0]);

    // The phone comes after all: what was the payer's is in its wallet, less what it paid.
    let payer = Puppet::online("payer", folder.path(), &bitcoind, lsp).await?;
    let owners = [Owner::Lsp(lsp), Owner::Phone(&payer), Owner::Phone(&payee)];
    let taken = books.wait_until_even(&bitcoind, &owners).await?;
    let [_, payer_after, payee_after] = totals_msat(owners).await?;
    let sweeps_sat = taken.others_sat - without_payer.others_sat;
    let due_msat = payer_before - AMOUNT_MSAT - fee_msat - 1_000 * (taken.commitments_sat + sweeps_sat);
    assert!(payer_after.abs_diff(due_msat) < ROUNDING_MSAT, "{payer_after} of {due_msat} msat, {taken:?}");
    assert_eq!(payee_after, payee_before + AMOUNT_MSAT);
    assert_eq!(payer.node().balances().lightning.0, 0);
    assert_eq!(lsp.check_holds().await?.newest, []);
    payer.go_offline().await;
    payee.go_offline().await;
    lsp.stop().await?;
    logs.not_needed();
    Ok(())
}

async fn totals_msat<const N: usize>(owners: [Owner<'_>; N]) -> Result<[u64; N], Failure> {
    let mut totals = [0; N];
    for (total_msat, owner) in totals.iter_mut().zip(owners) {
        *total_msat = owner.wealth().await?.total_msat();
    }
    Ok(totals)
}

/// The hold fails, and the payer's phone comes so late that LDK would close its channel over the HTLC at sight of the blocks: it
/// hears its LSP first, which has failed it long ago.
#[tokio::test(flavor = "multi_thread")]
async fn a_payer_that_comes_after_its_htlc_expired_keeps_its_channel() -> TestResult {
    let stage = PuppetStage::new(1, 1, &[]).await?;
    let before = stage.balances_msat().await?;
    let held = pay_held(&stage).await?;
    let PuppetStage { payer, payee, lsps, bitcoind, logs, folder } = stage;
    payer.go_offline().await;
    // Further than a phone looks away from without its LSP.
    let late = held.inbound_expiry.plus(GRACE_BLOCKS + 80);
    bitcoind.mine(BlockHeight(bitcoind.height().await?).blocks_until(late)).await?;
    lsps[0].wait_for_height(late.0).await?;
    let shown = lsps[0].hold(&held.pid.hash().to_string()).await?.remove(0).summary;
    assert_eq!(shown.cause, Some(FailCause::Expired));
    assert_eq!(lsps[0].channels().await?.len(), 2, "nothing is the LSP's to claim");

    let payer = Puppet::online("payer", folder.path(), &bitcoind, &lsps[0]).await?;
    assert_eq!(payer.wait_for_payment(held.hash, PAYMENT_TIMEOUT).await?, Ended::Failed);
    payer.wait_for("all blocks", |node| node.height() == late).await?;
    let stage = PuppetStage { payer, payee, lsps, bitcoind, logs, folder };
    stage.mine(1).await?;
    stage.payer.wait_for_usable_channels(1).await?;
    assert_eq!(stage.payer.closed_channels(), [""; 0]);
    wait_until("the hold to be over, with its wakes and alarms", PAYMENT_TIMEOUT, async || {
        let lsp = &stage.lsps[0];
        let left = (lsp.holds().await?, lsp.wakes().await?, lsp.info().await?.alarms);
        let is_over = left.0.is_empty() && left.1.is_empty() && left.2.is_empty();
        Ok::<_, Failure>(if is_over { Seen::Done(()) } else { Seen::NotYet(format!("{left:?}")) })
    })
    .await?;
    assert_eq!(stage.balances_msat().await?, before);
    assert_eq!(stage.lsps[0].check_holds().await?.newest, []);
    stage.finish().await?;
    Ok(())
}
