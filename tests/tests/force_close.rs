//! A channel that its LSP has to close alone: the commitment confirms with the help of an anchor, and the money comes home.

use tests::books::{Books, Owner, ROUNDING_MSAT, Taken};
use tests::failure::{Failure, TestResult};
use tests::puppet::{Puppet, PuppetStage};
use tests::stage::PAYMENT_TIMEOUT;
use tests::wait::{Seen, wait_until};

/// LDK's `BREAKDOWN_TIMEOUT`: how long whoever closes alone waits for its own money.
const TO_SELF_DELAY_BLOCKS: u32 = 144;
/// LDK calls an output spendable after this many confirmations (`ANTI_REORG_DELAY`).
const SPENDABLE_BLOCKS: u32 = 6;

#[tokio::test(flavor = "multi_thread")]
async fn the_money_of_a_forced_close_is_swept_across_a_kill() -> TestResult {
    let stage = PuppetStage::new(1, 1, &[]).await?;
    let owners = [Owner::Lsp(&stage.lsps[0]), Owner::Phone(&stage.payer), Owner::Phone(&stage.payee)];
    let mut books = Books::open(&stage.bitcoind, &owners).await?;
    let lsp_before = owners[0].wealth().await?.total_msat();
    let payee_before = owners[2].wealth().await?.total_msat();
    let PuppetStage { payer, payee, mut lsps, bitcoind, mut logs, folder } = stage;
    let lsp = &mut lsps[0];
    let channels = lsp.channels().await?;
    let channel = channels
        .iter()
        .find(|channel| channel.peer == payee.node_id())
        .ok_or_else(|| Failure::wrong("the LSP has no channel with the payee"))?;
    let channel_id = channel.channel_id.to_string();
    payee.go_offline().await;
    lsp.tell(&["node", "close", &channel_id, "--force"], None).await?;
    // The commitment pays too little by itself: its anchor is spent by a child that pays for both.
    bitcoind.wait_for_transactions(2).await?;
    let mine = async |lsp: &tests::lsp::Lsp, blocks: u32| -> Result<(), Failure> {
        bitcoind.mine(blocks).await?;
        lsp.wait_for_height(bitcoind.height().await?).await
    };
    mine(lsp, 1).await?;

    // What LDK has still to do is stored: kill it between the close and the sweep.
    lsp.kill().await;
    lsp.start().await?;
    mine(lsp, TO_SELF_DELAY_BLOCKS + SPENDABLE_BLOCKS).await?;
    // It opened the channel, and it alone was there: each fee so far is its own.
    let without_payee: Taken =
        wait_until("the sweep to be in the on-chain wallet", PAYMENT_TIMEOUT, async || {
            // The sweep is broadcast some time after its block, and confirmed by another.
            if !bitcoind.memory_pool().await?.is_empty() {
                mine(lsp, 1).await?;
            }
            let now_msat = Owner::Lsp(lsp).wealth().await?.total_msat();
            let taken = books.taken(&bitcoind).await?;
            let fees_sat = taken.commitments_sat + taken.others_sat;
            let due_msat = lsp_before + 1_000 * taken.anchors_spent_sat - 1_000 * fees_sat;
            Ok::<_, Failure>(if now_msat.abs_diff(due_msat) < ROUNDING_MSAT && taken.closes == 1 {
                Seen::Done(taken)
            } else {
                Seen::NotYet(format!("{now_msat} of {due_msat} msat, {taken:?}"))
            })
        })
        .await?;

    // The phone comes, and sweeps its own.
    let payee = Puppet::online("payee", folder.path(), &bitcoind, lsp).await?;
    let owners = [Owner::Lsp(lsp), Owner::Phone(&payer), Owner::Phone(&payee)];
    let taken = books.wait_until_even(&bitcoind, &owners).await?;
    let sweep_sat = taken.others_sat - without_payee.others_sat;
    assert!(sweep_sat > 0 && without_payee.others_sat > 0, "{without_payee:?}, {taken:?}");
    let payee_after = Owner::Phone(&payee).wealth().await?;
    assert_eq!(payee_after.channels_msat, 0);
    assert_eq!(payee_after.total_msat(), payee_before - 1_000 * sweep_sat);
    payer.go_offline().await;
    payee.go_offline().await;
    lsp.stop().await?;
    logs.not_needed();
    Ok(())
}
