//! What the checks are worth: worlds in which something is wrong, each in one way.

use storage::{Database, StorageError};

use super::PATIENCE;
use super::check::{Before, check, look, look_at_lsps};
use super::lane::Lane;
use super::rows;
use super::stories::{Answered, STORY_TIMEOUT, Story, Told, tell};
use super::world::World;
use crate::doom::Fate;
use crate::failure::Failure;
use crate::stage::Stage;

/// Tells two stories while nobody dies, and then spoils one thing after the other. Each time the checks must say so.
///
/// # Errors
///
/// When they do not, or a story cannot be told.
pub async fn spoil_one_thing_after_the_other() -> Result<(), Failure> {
    let mut lane = Lane::new(false).await?;
    let fate = Fate::default();
    spoil_what_was_answered(&world(&lane.stage, &fate), &lane).await?;
    spoil_payments(&world(&lane.stage, &fate), &lane).await?;
    push_too_late(&lane.stage).await?;
    spoil_rows(&mut lane).await?;
    lane.finish().await
}

fn world<'a>(stage: &'a Stage, payees_fate: &'a Fate) -> World<'a> {
    World {
        bitcoind: &stage.bitcoind,
        payers_lsp: stage.payers_lsp(),
        payees_lsp: stage.payees_lsp(),
        payees_fate,
        payer: &stage.payer,
        payee: &stage.payee,
        providers: stage.providers.as_ref(),
        patience: PATIENCE,
    }
}

/// Fails unless one line of what is wrong has these words.
fn seen(what: &str, wrong: &[String], words: &str) -> Result<(), Failure> {
    if wrong.iter().any(|line| line.contains(words)) {
        return Ok(());
    }
    Err(Failure::wrong(format!("{what}, and the checks only say {wrong:?}")))
}

/// Devices, notifications and pushes that are not as somebody was told.
async fn spoil_what_was_answered(world: &World<'_>, lane: &Lane) -> Result<(), Failure> {
    let (stage, setup) = (&lane.stage, &lane.setup);
    let before = Before::look(stage).await?;
    let told = tell(Story::Ordinary, world).await?;
    check(stage, setup, &before, Story::Ordinary, &told).await?;
    let Answered { registered, removed, .. } = told.devices.clone();
    let lost = Answered { registered: removed, removed: registered, notified: vec!["nobody".to_owned()] };
    let wrong = rows::look(stage, &lost).await?;
    seen("a removed device counts as registered", &wrong, "was registered and is gone")?;
    seen("a registered device counts as removed", &wrong, "was removed and is there")?;
    seen("a notification is lost", &wrong, "was acknowledged and did not come")
}

async fn push_too_late(stage: &Stage) -> Result<(), Failure> {
    let late = serde_json::json!({ "reason": "onion_message", "id": "00", "expires_at": 1 }).to_string();
    let failure = |source| Failure::RpcTransport { method: "a late push".to_owned(), source };
    let client = crate::http::client(STORY_TIMEOUT)?;
    client.post(stage.payer.webhook_url()).body(late).send().await.map_err(failure)?;
    seen("a push comes too late", &rows::look(stage, &Answered::default()).await?, "too late: the push")
}

async fn spoil_payments(world: &World<'_>, lane: &Lane) -> Result<(), Failure> {
    let (stage, setup) = (&lane.stage, &lane.setup);
    let before = Before::look(stage).await?;
    let told = tell(Story::Main, world).await?;
    check(stage, setup, &before, Story::Main, &told).await?;
    let seen_by_all = async |what: &str, before: &Before, told: &Told, words: &str| {
        seen(what, &look(stage, setup, before, Story::Main, told).await?, words)
    };

    let more = Told { amount_msat: told.amount_msat + 1, ..told.clone() };
    seen_by_all("a millisatoshi is missing", &before, &more, "was not paid what it asked for").await?;
    let unpaid = Told { paid: false, ..told.clone() };
    seen_by_all("it was to fail", &before, &unpaid, "balances are").await?;
    seen_by_all("it was to fail", &before, &unpaid, "the payer says").await?;
    seen_by_all("nothing was paid meanwhile", &Before::look(stage).await?, &told, "balances are").await?;

    // A payment that nobody ends. Whoever looks at the payee's phone wakes it, and it says yes: only the LSPs are asked.
    let seen_by_lsps = async |what: &str, told: &Told, words: &str| {
        seen(what, &look_at_lsps(stage, setup, &before, Story::Main, told).await?, words)
    };
    stage.payee.leave_coverage();
    let (invoice, payment_hash) = stage.invoice(Story::Main.amount_msat(), &[]).await?;
    stage.pay(&invoice, &[]).await?;
    seen_by_lsps("a hold is live", &told, "still holds").await?;
    seen_by_lsps("an HTLC is held", &told, "HTLCs on").await?;
    seen_by_lsps("the payee is asleep", &told, "waits in the mailbox of").await?;
    seen_by_lsps("the payee has not answered", &told, "payment_pending of").await?;
    seen_by_lsps("the payee is being woken", &told, "is open: onion_message").await?;
    let other = Told { payment_hash: payment_hash.clone(), paid: false, ..told.clone() };
    cancel(stage, &payment_hash).await?;
    world.wait_for_the_end(&payment_hash).await?;
    seen_by_all("it is not settled", &before, &Told { paid: true, ..other.clone() }, "the payer says")
        .await?;

    // And the user tries again: two holds for one payment.
    stage.pay(&invoice, &[]).await?;
    seen_by_lsps("it took two holds", &other, "took 2 holds").await?;
    cancel(stage, &payment_hash).await?;
    world.wait_for_the_end(&payment_hash).await?;

    for device in world.payees_lsp.devices().await? {
        world.payees_lsp.tell(&["devices", "remove", &device.device_id], None).await?;
    }
    seen_by_all("a registered phone is forgotten", &before, &told, "what was registered was").await?;
    let channels = world.payees_lsp.channels().await?;
    let channel = channels.first().ok_or_else(|| Failure::wrong("there is no channel"))?;
    world.payees_lsp.tell(&["node", "close", &channel.channel_id.to_string(), "--force"], None).await?;
    seen_by_all("a channel is closed", &before, &told, "a channel is closed").await
}

/// What no LSP would write, in the rows of the payee's.
async fn spoil_rows(lane: &mut Lane) -> Result<(), Failure> {
    let failure = |error: StorageError| Failure::wrong(xtask::with_causes(&error));
    let lsp = lane.stage.payees_lsp_mut();
    lsp.stop().await?;
    let database = Database::open(&lsp.database_url()?, &[]).await.map_err(failure)?;
    let spoiled = database.submit("spoil", |tx| {
        Box::pin(async move {
            let expired = "UPDATE wake SET state = 'expired' WHERE id = (SELECT MAX(wake) FROM wake_attempt)";
            let lost = "UPDATE wake_attempt SET verdict = NULL WHERE wake = (SELECT MAX(wake) FROM wake_attempt)";
            let late = "UPDATE wake_attempt SET sent_at = 9000000000 WHERE wake = (SELECT MIN(wake) FROM wake_attempt)";
            let untold = "UPDATE notification SET state = 'refused', verdict = NULL";
            let mut rows = Vec::new();
            for sql in [expired, lost, late, untold] {
                rows.push(tx.execute(sql, &[]).await?);
            }
            Ok::<_, StorageError>(rows)
        })
    });
    let spoiled = spoiled.await.map_err(failure);
    database.close().await;
    let spoiled = spoiled?;
    if spoiled.contains(&0) {
        return Err(Failure::wrong(format!("there were no rows to spoil: {spoiled:?}")));
    }
    lsp.start().await?;
    // The payee's phones are forgotten by now, and wakes are looked at by whose phones there are.
    lane.stage.payee.ask(&["register", "--webhook", lane.stage.payee.webhook_url()]).await?;
    let wrong = rows::look(&lane.stage, &Answered::default()).await?;
    seen("a wake is over for no reason", &wrong, "a wake has neither")?;
    seen("a push left too late", &wrong, "a push was refused, or too late")?;
    seen("a notification is over for no reason", &wrong, "a notification has neither")
}

async fn cancel(stage: &Stage, payment_hash: &str) -> Result<(), Failure> {
    let run = stage.payer.follow(&["cancel", payment_hash], |_| ()).await?;
    if run.success { Ok(()) } else { Err(Failure::wrong(format!("the payment is not cancelled: {run:?}"))) }
}
