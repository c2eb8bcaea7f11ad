//! What the checks are worth: worlds in which something is wrong, each in one way.

use super::PATIENCE;
use super::check::{Before, check, look, look_at_lsps};
use super::lane::Lane;
use super::stories::{Story, Told, tell};
use super::world::World;
use crate::failure::Failure;
use crate::stage::Stage;

/// Tells the main story while nobody dies, and then spoils one thing after the other. Each time the checks must say so.
///
/// # Errors
///
/// When they do not, or the story cannot be told.
pub async fn spoil_one_thing_after_the_other() -> Result<(), Failure> {
    let lane = Lane::new(false).await?;
    let (stage, setup) = (&lane.stage, &lane.setup);
    let world = World {
        bitcoind: &stage.bitcoind,
        payers_lsp: stage.payers_lsp(),
        payees_lsp: stage.payees_lsp(),
        payer: &stage.payer,
        payee: &stage.payee,
        patience: PATIENCE,
    };
    let before = Before::look(stage).await?;
    let told = tell(Story::Main, &world).await?;
    check(stage, setup, &before, Story::Main, &told).await?;
    let seen = async |what: &str, before: &Before, told: &Told, words: &str| {
        let wrong = look(stage, setup, before, Story::Main, told).await?;
        if wrong.iter().any(|line| line.contains(words)) {
            return Ok(());
        }
        Err(Failure::wrong(format!("{what}, and the checks only say {wrong:?}")))
    };

    let more = Told { amount_msat: told.amount_msat + 1, ..told.clone() };
    seen("a millisatoshi is missing", &before, &more, "was not paid what it asked for").await?;
    let unpaid = Told { paid: false, ..told.clone() };
    seen("it was to fail", &before, &unpaid, "balances are").await?;
    seen("it was to fail", &before, &unpaid, "the payer says").await?;
    seen("nothing was paid meanwhile", &Before::look(stage).await?, &told, "balances are").await?;

    // A payment that nobody ends. Whoever looks at the payee's phone wakes it, and it says yes: only the LSPs are asked.
    let seen_by_lsps = async |what: &str, told: &Told, words: &str| {
        let wrong = look_at_lsps(stage, setup, &before, Story::Main, told).await?;
        if wrong.iter().any(|line| line.contains(words)) {
            return Ok(());
        }
        Err(Failure::wrong(format!("{what}, and the checks only say {wrong:?}")))
    };
    stage.payee.leave_coverage();
    let (invoice, payment_hash) = stage.invoice(Story::Main.amount_msat(), &[]).await?;
    stage.pay(&invoice, &[]).await?;
    seen_by_lsps("a hold is live", &told, "still holds").await?;
    seen_by_lsps("an HTLC is held", &told, "HTLCs on").await?;
    let other = Told { payment_hash: payment_hash.clone(), paid: false, ..told.clone() };
    cancel(stage, &payment_hash).await?;
    world.wait_for_the_end(&payment_hash).await?;
    seen("it is not settled", &before, &Told { paid: true, ..other.clone() }, "the payer says").await?;

    // And the user tries again: two holds for one payment.
    stage.pay(&invoice, &[]).await?;
    seen_by_lsps("it took two holds", &other, "took 2 holds").await?;
    cancel(stage, &payment_hash).await?;
    world.wait_for_the_end(&payment_hash).await?;

    for device in world.payees_lsp.devices().await? {
        world.payees_lsp.tell(&["devices", "remove", &device.device_id], None).await?;
    }
    seen("a registered phone is forgotten", &before, &told, "what was registered was").await?;
    let channels = world.payees_lsp.channels().await?;
    let channel = channels.first().ok_or_else(|| Failure::wrong("there is no channel"))?;
    world.payees_lsp.tell(&["node", "close", &channel.channel_id.to_string(), "--force"], None).await?;
    seen("a channel is closed", &before, &told, "a channel is closed").await?;
    lane.finish().await
}

async fn cancel(stage: &Stage, payment_hash: &str) -> Result<(), Failure> {
    let run = stage.payer.follow(&["cancel", payment_hash], |_| ()).await?;
    if run.success { Ok(()) } else { Err(Failure::wrong(format!("the payment is not cancelled: {run:?}"))) }
}
