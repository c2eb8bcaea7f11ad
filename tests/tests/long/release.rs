//! A release that survives loss: of messages, of processes, of a part.

use std::time::Duration;

use lightning_types::payment::PaymentHash;
use protocol::hold::PartStateTag;
use protocol::wire::{BlockAnswer, HoldStateCode};
use tests::books::{Books, Owner};
use tests::doom::{Doom, Fate};
use tests::failure::{Failure, TestResult};
use tests::puppet::{Ended, Puppet, PuppetStage};
use tests::stage::{PAYMENT_TIMEOUT, Setup, Stage};
use tests::wait::{SOON, Seen, wait_until};

const AMOUNT_MSAT: u64 = 50_000_000;
/// More than one of the payer's channels can carry, and less than two.
const TWO_PARTS_MSAT: u64 = 1_500_000_000;
/// For one of its parts there is room on the payee's channel, and not for both: half a million satoshi are the payee's already.
const SMALL_CHANNEL_SAT: u64 = 2_000_000;
/// An LDK payee drops a payment of which a part is missing at its third tick, a minute each, and a fourth may have begun.
const PAYEE_GIVES_UP: Duration = Duration::from_secs(300);
const HOLD_BLOCKS: u32 = 50;
/// Blocks that the payer's route has on top of the hold.
const PAY_BLOCKS: u32 = HOLD_BLOCKS + 20;

/// The payer's LSP dies three times with the payee's word in its hands, and has not stored it. Nobody but the payee can say it
/// again: the payer is off.
#[tokio::test]
async fn a_payee_says_yes_until_the_payment_comes() -> TestResult {
    let setup = Setup::lsps(2);
    let mut stage = Stage::new(setup.clone()).await?;
    let before = stage.balances().await?;
    stage.payee.leave_coverage();
    stage.payer.leave_coverage();
    let (invoice, _) = stage.invoice(AMOUNT_MSAT, &[]).await?;
    stage.pay(&invoice, &[]).await?;

    let Stage { lsps, payee, .. } = &mut stage;
    let lost = ["unblock_seen", "unblock_seen", "unblock_seen"];
    let dooms = lost.iter().map(|point| Doom::At((*point).to_owned())).collect();
    let story = async |_: &tests::lsp::Lsp| {
        payee.enter_coverage();
        payee.wait_for_step("paid", PAYMENT_TIMEOUT).await
    };
    let (paid, deaths) = lsps[0].with_dooms(&Fate::default(), dooms, story).await?;
    assert_eq!(deaths, lost.len());
    assert!(paid.step("unblocked").is_some(), "{paid:?}");

    stage.payer.enter_coverage();
    stage.payer.wait_for_step("settled", PAYMENT_TIMEOUT).await?;
    let after = stage.settled_balances().await?;
    assert_eq!(after.payee_msat, before.payee_msat + AMOUNT_MSAT);
    assert_eq!(after.total_msat(), before.total_msat());
    assert!(stage.all_channels_open(&setup).await?);
    stage.finish().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payer_is_told_the_truth_at_each_stage() -> TestResult {
    let PuppetStage { payer, payee, mut lsps, bitcoind, mut logs, folder } =
        PuppetStage::new(1, 1, &[]).await?;
    let [lsp] = lsps.as_mut_slice() else { return Err(Failure::wrong("one LSP was asked for").into()) };
    let deadline = payer.height().plus(HOLD_BLOCKS);

    // Released while the payee is off, settled when it has come.
    let (invoice, pid) = (payee.invoice(AMOUNT_MSAT).await?, payer.new_pid());
    let hash = invoice.payment_hash();
    payee.go_offline().await;
    assert_eq!(payer.block(&pid, vec![hash], deadline).await?, BlockAnswer::Accepted { deadline });
    let status = payer.status(&pid).await?;
    assert_eq!((status.state, status.hashes[0].held_parts), (HoldStateCode::Waiting, 0));
    payer.pay(&invoice, PAY_BLOCKS).await?;
    let status = payer.wait_until_held(&pid, 1).await?;
    assert_eq!((status.state, status.pending_in_care), (HoldStateCode::Held, false));
    payer.send_pending(&invoice, payer.pending_for(&invoice, &pid, deadline))?;
    wait_until("the message to be in care", SOON, async || {
        let status = payer.status(&pid).await?;
        Ok::<_, Failure>(if status.pending_in_care {
            Seen::Done(())
        } else {
            Seen::NotYet(format!("{status:?}"))
        })
    })
    .await?;
    lsp.tell(&["holds", "release"], Some(&payer.pid_in_hex(&pid))).await?;
    let status = payer.status(&pid).await?;
    assert_eq!((status.state, status.hashes[0].held_parts), (HoldStateCode::Unblocked, 1));
    assert!(!status.pending_in_care, "it is answered");
    let payee = Puppet::online("payee", folder.path(), &bitcoind, lsp).await?;
    assert!(matches!(payer.wait_for_payment(hash, PAYMENT_TIMEOUT).await?, Ended::Paid { .. }));
    wait_for_state(&payer, &pid, HoldStateCode::Settled).await?;

    // Released, and then refused by the payee.
    payee.claim_nothing();
    let (invoice, pid) = (payee.invoice(AMOUNT_MSAT).await?, payer.new_pid());
    let hash = invoice.payment_hash();
    hold(&payer, &invoice, &pid, 1).await?;
    lsp.tell(&["holds", "release"], Some(&payer.pid_in_hex(&pid))).await?;
    wait_for_parts(&payee, 1).await?;
    assert_eq!(payer.status(&pid).await?.state, HoldStateCode::Released);
    assert_eq!(payer.payment_ended(hash), None);
    payee.node().refuse_payment(hash);
    assert_eq!(payer.wait_for_payment(hash, PAYMENT_TIMEOUT).await?, Ended::Failed);
    wait_for_state(&payer, &pid, HoldStateCode::Failed).await?;

    // Cancelled; and one whose deadline passes.
    let (invoice, pid) = (payee.invoice(AMOUNT_MSAT).await?, payer.new_pid());
    hold(&payer, &invoice, &pid, 1).await?;
    assert_eq!(payer.cancel(&pid).await?.state, HoldStateCode::Cancelled);
    assert_eq!(payer.wait_for_payment(invoice.payment_hash(), PAYMENT_TIMEOUT).await?, Ended::Failed);
    let (invoice, pid) = (payee.invoice(AMOUNT_MSAT).await?, payer.new_pid());
    hold(&payer, &invoice, &pid, 1).await?;
    bitcoind.mine(HOLD_BLOCKS).await?;
    assert_eq!(payer.wait_for_payment(invoice.payment_hash(), PAYMENT_TIMEOUT).await?, Ended::Failed);
    wait_for_state(&payer, &pid, HoldStateCode::Expired).await?;

    payer.go_offline().await;
    payee.go_offline().await;
    lsp.stop().await?;
    logs.not_needed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_go_together_and_come_back_together() -> TestResult {
    let stage = PuppetStage::new(2, 2, &[]).await?;
    let (payer, payee) = (&stage.payer, &stage.payee);
    let before = stage.balances_msat().await?;

    // Both reach the payee, who takes neither.
    payee.claim_nothing();
    let (invoice, pid) = (payee.invoice(TWO_PARTS_MSAT).await?, payer.new_pid());
    let hash = invoice.payment_hash();
    let deadline = hold(payer, &invoice, &pid, 2).await?;
    payer.send_pending(&invoice, payer.pending_for(&invoice, &pid, deadline))?;
    payee.unblock(&payee.wait_for_pending(hash).await?)?;
    wait_for_parts(payee, 2).await?;
    // LDK refuses what it has told of.
    payee.wait_until_claimable(hash).await?;
    payee.node().refuse_payment(hash);
    assert_eq!(payer.wait_for_payment(hash, PAYMENT_TIMEOUT).await?, Ended::Failed);
    assert_eq!(stage.balances_msat().await?, before);

    // The channel of one is closed while both are held: the other comes back without a block, and nothing is released.
    let owners =
        [Owner::Lsp(&stage.lsps[0]), Owner::Lsp(&stage.lsps[1]), Owner::Phone(payer), Owner::Phone(payee)];
    let mut books = Books::open(&stage.bitcoind, &owners).await?;
    let (invoice, pid) = (payee.invoice(TWO_PARTS_MSAT).await?, payer.new_pid());
    let hash = invoice.payment_hash();
    let deadline = hold(payer, &invoice, &pid, 2).await?;
    let lsp = stage.payers_lsp();
    let channels = lsp.channels().await?;
    let one =
        channels.iter().find(|channel| channel.peer == payer.node_id() && channel.pending_inbound_htlcs > 0);
    let one = one.ok_or_else(|| Failure::wrong(format!("no channel has a part: {channels:?}")))?;
    lsp.tell(&["node", "close", &one.channel_id.to_string(), "--force"], None).await?;
    payer.send_pending(&invoice, payer.pending_for(&invoice, &pid, deadline))?;
    payee.unblock(&payee.wait_for_pending(hash).await?)?;
    wait_until("the other part to come back", PAYMENT_TIMEOUT, async || {
        let channels = payer.node().channels();
        let pending: usize = channels.iter().map(|channel| channel.pending_outbound_htlcs).sum();
        let back = channels.len() == 1 && pending == 0;
        Ok::<_, Failure>(if back { Seen::Done(()) } else { Seen::NotYet(format!("{channels:?}")) })
    })
    .await?;
    assert_eq!(payee.balance_msat(), before[1]);
    assert!(payee.node().channels().iter().all(|channel| channel.pending_inbound_htlcs == 0));
    assert_eq!(payee.times_paid(hash), 0);

    // What was on the closed channel the payer has on chain in the end, its part too, which expires there.
    let shown = lsp.hold(&pid.hash().to_string()).await?;
    let expiry = shown.iter().flat_map(|hold| &hold.parts).filter_map(|part| part.inbound_expiry).max();
    let expiry = expiry.ok_or_else(|| Failure::wrong(format!("no part has an expiry: {shown:?}")))?;
    stage.mine(payer.height().blocks_until(expiry)).await?;
    let taken = books.wait_until_even(&stage.bitcoind, &owners).await?;
    assert_eq!(taken.closes, 1);
    assert_eq!(payee.balance_msat(), before[1]);
    assert_eq!(payer.node().channels().len(), 1);
    stage.finish().await?;
    Ok(())
}

/// The payee's LSP can carry one of two released parts, and fails the other. The payee waits for the whole, gives up as LDK does,
/// and the part that arrived goes back too: long before anything expires.
#[tokio::test(flavor = "multi_thread")]
async fn a_part_that_fails_downstream_takes_the_other_back() -> TestResult {
    let stage = PuppetStage::with_payee_channel(2, 2, &[], SMALL_CHANNEL_SAT).await?;
    let (payer, payee, lsp) = (&stage.payer, &stage.payee, stage.payers_lsp());
    let before = stage.balances_msat().await?;
    let (invoice, pid) = (payee.invoice(TWO_PARTS_MSAT).await?, payer.new_pid());
    let hash = invoice.payment_hash();
    let deadline = hold(payer, &invoice, &pid, 2).await?;
    let height = payer.height();
    payer.send_pending(&invoice, payer.pending_for(&invoice, &pid, deadline))?;
    payee.unblock(&payee.wait_for_pending(hash).await?)?;

    // One goes back at once, and is not the end of the other.
    let pending = |puppet: &Puppet| -> (usize, usize) {
        let channels = puppet.node().channels();
        let inbound = channels.iter().map(|channel| channel.pending_inbound_htlcs).sum();
        (inbound, channels.iter().map(|channel| channel.pending_outbound_htlcs).sum())
    };
    wait_until("one part to be back, and one at the payee", PAYMENT_TIMEOUT, async || {
        let (at_payer, at_payee) = (pending(payer).1, pending(payee).0);
        let shown = lsp.hold(&pid.hash().to_string()).await?;
        Ok::<_, Failure>(if (at_payer, at_payee) == (1, 1) {
            Seen::Done(())
        } else {
            Seen::NotYet(format!("{at_payer} on the payer's channels, {at_payee} on the payee's, {shown:?}"))
        })
    })
    .await?;
    assert_eq!(payer.payment_ended(hash), None, "the payee has one, and may still take it");
    assert_eq!(payer.status(&pid).await?.state, HoldStateCode::Released);

    assert_eq!(payer.wait_for_payment(hash, PAYEE_GIVES_UP).await?, Ended::Failed);
    wait_for_state(payer, &pid, HoldStateCode::Failed).await?;
    assert_eq!(payer.height(), height, "no block had to come for it");
    assert_eq!((payee.times_paid(hash), pending(payee), pending(payer)), (0, (0, 0), (0, 0)));
    let shown = lsp.hold(&pid.hash().to_string()).await?;
    let states: Vec<_> = shown.iter().flat_map(|hold| &hold.parts).map(|part| part.state).collect();
    assert_eq!(states, [PartStateTag::Failed; 2], "{shown:?}");
    assert!(lsp.holds().await?.is_empty());
    assert_eq!(stage.balances_msat().await?, before);
    assert_eq!(lsp.check_holds().await?.newest, []);
    stage.finish().await?;
    Ok(())
}

/// Blocks and pays, and waits until all parts are held.
async fn hold(
    payer: &Puppet,
    invoice: &lightning_invoice::Bolt11Invoice,
    pid: &protocol::ids::Pid,
    parts: u16,
) -> Result<protocol::units::BlockHeight, Failure> {
    let hash: PaymentHash = invoice.payment_hash();
    let deadline = payer.height().plus(HOLD_BLOCKS);
    let answer = payer.block(pid, vec![hash], deadline).await?;
    if answer != (BlockAnswer::Accepted { deadline }) {
        return Err(Failure::wrong(format!("the hold was not granted: {answer:?}")));
    }
    payer.pay(invoice, PAY_BLOCKS).await?;
    payer.wait_until_held(pid, parts).await?;
    Ok(deadline)
}

async fn wait_for_state(
    payer: &Puppet,
    pid: &protocol::ids::Pid,
    state: HoldStateCode,
) -> Result<(), Failure> {
    wait_until(&format!("the LSP to say {state}"), SOON, async || {
        let status = payer.status(pid).await?;
        Ok(if status.state == state { Seen::Done(()) } else { Seen::NotYet(format!("{status:?}")) })
    })
    .await
}

async fn wait_for_parts(payee: &Puppet, parts: usize) -> Result<(), Failure> {
    payee
        .wait_for(&format!("{parts} parts"), |node| {
            node.channels().iter().map(|channel| channel.pending_inbound_htlcs).sum::<usize>() == parts
        })
        .await
}
