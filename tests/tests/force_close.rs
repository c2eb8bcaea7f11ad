//! A channel that its LSP has to close alone: the commitment confirms with the help of an anchor, and the money comes home.

use tests::failure::{Failure, TestResult};
use tests::puppet::PuppetStage;
use tests::stage::PAYMENT_TIMEOUT;
use tests::wait::{Seen, wait_until};

/// LDK's `BREAKDOWN_TIMEOUT`: how long whoever closes alone waits for its own money.
const TO_SELF_DELAY_BLOCKS: u32 = 144;
/// LDK calls an output spendable after this many confirmations (`ANTI_REORG_DELAY`).
const SPENDABLE_BLOCKS: u32 = 6;
/// What the commitment, its anchor's child and the sweep may cost.
const FEES_MAX_SAT: u64 = 20_000;

#[tokio::test(flavor = "multi_thread")]
async fn the_money_of_a_forced_close_is_swept_across_a_kill() -> TestResult {
    let mut stage = PuppetStage::new(1, 1, &[]).await?;
    let payee = stage.payee.node_id();
    let before = stage.lsps[0].info().await?.on_chain_total_sat;
    let channels = stage.lsps[0].channels().await?;
    let channel = channels
        .iter()
        .find(|channel| channel.peer == payee)
        .ok_or_else(|| Failure::wrong("the LSP has no channel with the payee"))?;
    let ours_sat = channel.balance_msat.0 / 1_000;
    let channel_id = channel.channel_id.to_string();
    stage.lsps[0].tell(&["node", "close", &channel_id, "--force"], None).await?;
    // The commitment pays too little by itself: its anchor is spent by a child that pays for both.
    stage.bitcoind.wait_for_transactions(2).await?;
    stage.mine(1).await?;

    // What LDK has still to do is stored: kill it between the close and the sweep.
    stage.lsps[0].kill().await;
    stage.lsps[0].start().await?;
    stage.mine(TO_SELF_DELAY_BLOCKS + SPENDABLE_BLOCKS).await?;
    let mut mined = 0;
    wait_until("the sweep to be in the on-chain wallet", PAYMENT_TIMEOUT, async || {
        let now = stage.lsps[0].info().await?.on_chain_total_sat;
        if now + FEES_MAX_SAT >= before + ours_sat {
            return Ok::<_, Failure>(Seen::Done(()));
        }
        // The sweep is broadcast some time after its block, and confirmed by another.
        if !stage.bitcoind.memory_pool().await?.is_empty() {
            stage.mine(1).await?;
            mined += 1;
        }
        Ok(Seen::NotYet(format!("{now} sat of {before} and {ours_sat}, {mined} blocks")))
    })
    .await?;
    stage.finish().await?;
    Ok(())
}
