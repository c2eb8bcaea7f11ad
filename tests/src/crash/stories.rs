//! Payments that go on whoever dies meanwhile. Phones are real wallets: a push or their user starts them.

use std::fmt;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::world::World;
use crate::failure::Failure;
use crate::lsp::Lsp;
use crate::phone::Phone;
use crate::wait::{Seen, wait_until};
use crate::wallet::Run;

/// How long anything in a story may take that somebody died in.
pub(super) const STORY_TIMEOUT: Duration = Duration::from_secs(120);

const AMOUNT_MSAT: u64 = 20_000_000;
/// More than one of the payer's small channels can carry, and less than two.
const MPP_AMOUNT_MSAT: u64 = 350_000_000;
/// How long the payer's LSP may hold a payment that nobody takes, in blocks.
const EXPIRY_HOLD_BLOCKS: u32 = 4;
/// Longer than an LSP waits before it sends a `payment_pending` again: 10 s, and the pause between two looks.
const LATE: Duration = Duration::from_secs(20);
/// Longer than an LSP needs to keep a message for another that is off.
const KEPT: Duration = Duration::from_secs(10);
/// How often a test push is asked for.
const TEST_PUSHES_MAX: usize = 3;
/// How long a request of another service may take.
const NOTIFY_TIMEOUT: Duration = Duration::from_secs(20);

/// What services know that ask for notifications.
pub(super) const NOTIFY_SECRET: &str = "a-secret-of-this-test-and-nothing-else";

/// What is told while somebody dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Story {
    /// The phones are never there together; pushes wake them.
    Main,
    /// As `Main`, in two parts at least.
    Mpp,
    /// The payer changes its mind while the payee is away.
    Cancel,
    /// A payment with no hold to a payee that sleeps, after its phone was registered again and got another push token; another
    /// device of the payee's came and went, and another service asked for a notification.
    Ordinary,
    /// The payee refuses a payment that its invoice does not ask for.
    Refuse,
    /// The payee never comes: a block passes, and then the deadline.
    Expire,
    /// As `Main`, with a payee whose LSP is off when the payer pays, and that is out of coverage itself until the payer's LSP has
    /// sent its message again.
    Late,
}

impl Story {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Main => "main",
            Self::Mpp => "mpp",
            Self::Cancel => "cancel",
            Self::Ordinary => "ordinary",
            Self::Refuse => "refuse",
            Self::Expire => "expire",
            Self::Late => "late",
        }
    }

    /// Every story, those first that are quickest to tell.
    pub(super) const ALL: [Self; 7] =
        [Self::Main, Self::Cancel, Self::Refuse, Self::Ordinary, Self::Expire, Self::Late, Self::Mpp];

    /// Whether the payee has the money in the end; else the payer has it back.
    pub(super) fn is_paid(self) -> bool {
        match self {
            Self::Main | Self::Mpp | Self::Ordinary | Self::Late => true,
            Self::Cancel | Self::Refuse | Self::Expire => false,
        }
    }

    pub(super) fn amount_msat(self) -> u64 {
        if self == Self::Mpp { MPP_AMOUNT_MSAT } else { AMOUNT_MSAT }
    }
}

impl fmt::Display for Story {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::str::FromStr for Story {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let known = Self::ALL.into_iter().find(|story| story.as_str() == text);
        known.ok_or_else(|| format!("expected one of {}", Self::ALL.map(Self::as_str).join(", ")))
    }
}

/// What was told.
#[derive(Clone, Debug)]
pub(super) struct Told {
    pub(super) payment_hash: String,
    pub(super) amount_msat: u64,
    /// The payee has the money; else the payer has it back.
    pub(super) paid: bool,
    /// What was answered besides.
    pub(super) devices: Answered,
}

/// What the payee's LSP answered about devices and notifications.
#[derive(Clone, Debug, Default)]
pub(super) struct Answered {
    /// Devices that it registered, or gave another token.
    pub(super) registered: Vec<String>,
    /// Devices that it forgot.
    pub(super) removed: Vec<String>,
    /// What it took for a phone of another app: stands in the push.
    pub(super) notified: Vec<String>,
}

/// Tells a story to its end.
pub(super) async fn tell(story: Story, world: &World<'_>) -> Result<Told, Failure> {
    let nursed = async { tokio::join!(world.nurse(world.payer), world.nurse(world.payee)) };
    tokio::select! {
        told = tell_undisturbed(story, world) => told,
        _ = nursed => Err(Failure::wrong("nobody looks after the phones")),
    }
}

async fn tell_undisturbed(story: Story, world: &World<'_>) -> Result<Told, Failure> {
    let (payer, payee) = (world.payer, world.payee);
    let devices = match story {
        Story::Ordinary => devices_come_and_go(world).await?,
        _ => Answered::default(),
    };
    let amount_msat = story.amount_msat();
    let (invoice, payment_hash) = invoice(payee, amount_msat).await?;
    match story {
        Story::Main => pay(payer, &invoice, &payment_hash, &[]).await?,
        Story::Mpp => pay(payer, &invoice, &payment_hash, &["--parts-min", "2"]).await?,
        Story::Ordinary => pay(payer, &invoice, &payment_hash, &["--ordinary"]).await?,
        Story::Late => {
            payee.leave_coverage();
            let sent = || world.payers_lsp.log().matches("payment_pending sent again").count();
            let before = sent();
            let paid = without_payees_lsp(world, &invoice, &payment_hash).await;
            world.payees_fate.resume();
            paid?;
            let since = Instant::now();
            wait_until("the payer's LSP to send its message again", STORY_TIMEOUT, async || {
                let over = sent() > before || since.elapsed() >= LATE;
                Ok::<_, Failure>(if over { Seen::Done(()) } else { Seen::NotYet("not yet".to_owned()) })
            })
            .await?;
            payee.enter_coverage();
        }
        Story::Cancel => {
            payee.leave_coverage();
            pay(payer, &invoice, &payment_hash, &[]).await?;
            insist("to cancel", payer, &["cancel", &payment_hash]).await?;
            payee.enter_coverage();
        }
        Story::Refuse => {
            payee.leave_coverage();
            pay(payer, &invoice, &payment_hash, &[]).await?;
            lower_invoice(payee).await?;
            payee.enter_coverage();
        }
        Story::Expire => {
            payee.leave_coverage();
            let hold_blocks = EXPIRY_HOLD_BLOCKS.to_string();
            pay(payer, &invoice, &payment_hash, &["--hold-blocks", &hold_blocks]).await?;
            for blocks in [1, EXPIRY_HOLD_BLOCKS - 1] {
                world.bitcoind.mine(blocks).await?;
                world.wait_for_the_lsps(world.bitcoind.height().await?).await?;
            }
            world.wait_for_the_end(&payment_hash).await?;
            payee.enter_coverage();
        }
    }
    if story == Story::Main {
        // Everybody sees a block in the middle of it.
        world.bitcoind.mine(1).await?;
    }
    world.wait_for_the_end(&payment_hash).await?;
    Ok(Told { payment_hash, amount_msat, paid: story.is_paid(), devices })
}

/// The payee's wallet remembers each invoice of its as one of a millisatoshi less than what is being paid. So little too much
/// would be taken (BOLT 4): nothing keeps the wallet from taking it but the no that it has said.
async fn lower_invoice(payee: &Phone) -> Result<(), Failure> {
    let failure = |error: storage::StorageError| Failure::wrong(xtask::with_causes(&error));
    payee
        .while_off(async |wallet| {
            let url = storage::DatabaseUrl::Sqlite(wallet.database_path());
            let database = storage::Database::open(&url, &[]).await.map_err(failure)?;
            let lowered = database.submit("lower_invoice", |tx| {
                Box::pin(async move {
                    let sql = "UPDATE invoice SET amount_msat = amount_msat - 1 WHERE paid_at IS NULL";
                    tx.execute(sql, &[]).await
                })
            });
            let lowered = lowered.await.map_err(failure);
            database.close().await;
            match lowered? {
                0 => Err(Failure::wrong("the payee has no open invoice")),
                _ => Ok(()),
            }
        })
        .await
}

async fn invoice(payee: &Phone, amount_msat: u64) -> Result<(String, String), Failure> {
    let amount = amount_msat.to_string();
    let run = insist(
        "to make an invoice",
        payee,
        &["invoice", "--amount-msat", &amount, "--description", "a test"],
    )
    .await?;
    let answer = run.lines.first().map(|line| &line.value).unwrap_or(&Value::Null);
    let text = |key: &str| {
        let text = answer[key].as_str().map(str::to_owned);
        text.ok_or_else(|| Failure::wrong(format!("no {key} in {answer}")))
    };
    Ok((text("invoice")?, text("payment_hash")?))
}

/// The user pays, again if the wallet died or something else did, until the wallet says that it may go off, or has paid.
async fn pay(payer: &Phone, invoice: &str, payment_hash: &str, more: &[&str]) -> Result<(), Failure> {
    let mut arguments = vec!["pay", invoice];
    arguments.extend(more);
    wait_until("the payer to pay", STORY_TIMEOUT, async || {
        let run = payer.follow(&arguments, |_| ()).await?;
        if run.success {
            return Ok(Seen::Done(()));
        }
        if !run.died {
            // It says that the payment is under way or done; or it failed, and the money is back.
            let status = payer.follow(&["status", payment_hash], |_| ()).await?;
            let state = status.lines.first().map(|line| line.value["payments"][0]["state"].clone());
            if state.as_ref().and_then(Value::as_str) == Some("settled") {
                return Ok(Seen::Done(()));
            }
            payer.follow(&["wake"], |_| ()).await?;
        }
        Ok(Seen::NotYet(said(&run)))
    })
    .await
}

/// Pays while the payee's LSP is off, until the payer's LSP keeps the message for it, or had time to.
async fn without_payees_lsp(world: &World<'_>, invoice: &str, payment_hash: &str) -> Result<(), Failure> {
    world.payees_fate.rest();
    wait_until("the payee's LSP to be off", STORY_TIMEOUT, async || {
        let is_off = world.payees_lsp.info().await.is_err();
        Ok::<_, Failure>(if is_off { Seen::Done(()) } else { Seen::NotYet("it answers".to_owned()) })
    })
    .await?;
    pay(world.payer, invoice, payment_hash, &[]).await?;
    let since = Instant::now();
    wait_until("the payer's LSP to call the payee's", STORY_TIMEOUT, async || {
        // It may be starting.
        let kept = world.payers_lsp.mailbox().await.unwrap_or_default();
        let over = since.elapsed() >= KEPT
            || kept.iter().any(|one| one.recipient.to_string() == world.payees_lsp.node_id());
        Ok::<_, Failure>(if over { Seen::Done(()) } else { Seen::NotYet(format!("{kept:?}")) })
    })
    .await
}

/// The payee's phone and another device of its, hooks, and what other services want of phones: each until it is answered.
async fn devices_come_and_go(world: &World<'_>) -> Result<Answered, Failure> {
    let (payee, providers) = (world.payee, world.providers);
    let providers = providers.ok_or_else(|| Failure::wrong("a story about devices without push services"))?;
    let mut answered = Answered::default();
    // The phone gets its place anew, and then tells the LSP another token of it, as push services have it.
    let token = providers.payees_token();
    let device_id = register(payee, &fcm(&token, true)).await?;
    let renewed = providers.renew_payees_token(payee);
    let refresh = [vec!["devices", "refresh", &device_id], fcm(&renewed, true)].concat();
    insist("to refresh its device", payee, &refresh).await?;
    // A push to the old one would be a refresh that was answered and forgotten: the device would be, too.
    providers.retire(&token);
    answered.registered.push(device_id);

    // Another device comes, is tried and goes.
    let token = providers.fresh_token();
    providers.fcm.add_device(&token);
    let device_id = register(payee, &fcm(&token, false)).await?;
    for _ in 0..TEST_PUSHES_MAX {
        // One that was asked for and died with the LSP may not be asked for again at once. Nobody's money waits for it.
        if payee.follow(&["devices", "test", &device_id], |_| ()).await?.success {
            break;
        }
    }
    remove(payee, &["devices", "remove", &device_id], &["devices", "list"], &device_id).await?;
    answered.removed.push(device_id);

    // Hooks over Lightning, one of which stays. Port 9 refuses: no push comes this way.
    insist("to set a hook", payee, &["webhooks", "set", "a test", "https://localhost:9/hook"]).await?;
    insist("to set a hook", payee, &["webhooks", "set", "another", "https://localhost:9/other"]).await?;
    remove(payee, &["webhooks", "remove", "another"], &["webhooks", "list"], "another").await?;

    let token = providers.fresh_token();
    providers.fcm.add_device(&token);
    notify(world.payees_lsp, &token).await?;
    answered.notified.push(token);
    Ok(answered)
}

/// What the wallet is told of a phone that Google knows by this token.
fn fcm(token: &str, sealed: bool) -> Vec<&str> {
    let mut arguments = vec!["--platform", "fcm", "--token", token];
    arguments.extend(sealed.then_some("--sealed"));
    arguments
}

async fn register(phone: &Phone, target: &[&str]) -> Result<String, Failure> {
    let registered = insist("to register", phone, &[&["register"], target].concat()).await?;
    let device_id = registered.lines.iter().find_map(|line| line.value["device_id"].as_str());
    let device_id = device_id.map(str::to_owned);
    device_id.ok_or_else(|| Failure::wrong(format!("no device_id: {}", said(&registered))))
}

/// Removes something until that is answered, or it is not listed any more: the answer may have died with whoever gave it.
async fn remove(phone: &Phone, arguments: &[&str], list: &[&str], name: &str) -> Result<(), Failure> {
    wait_until(&format!("{} to {}", phone.wallet().name(), arguments.join(" ")), STORY_TIMEOUT, async || {
        let run = phone.follow(arguments, |_| ()).await?;
        if run.success {
            return Ok(Seen::Done(()));
        }
        let listed = phone.follow(list, |_| ()).await?;
        let is_there = listed.lines.iter().any(|line| line.value.to_string().contains(name));
        Ok(if listed.success && !is_there { Seen::Done(()) } else { Seen::NotYet(said(&run)) })
    })
    .await
}

/// Another service asks for a notification on a phone with this token, until it is taken.
async fn notify(lsp: &Lsp, token: &str) -> Result<(), Failure> {
    let url = format!("{}/api/v1/notify?platform=android&token={token}", lsp.api_url());
    let body =
        serde_json::json!({ "template": "payment_received", "data": { "payment_hash": token } }).to_string();
    let client = crate::http::client(NOTIFY_TIMEOUT)?;
    wait_until("a notification to be taken", STORY_TIMEOUT, async || {
        let request = client.post(&url).bearer_auth(NOTIFY_SECRET).header("content-type", "application/json");
        Ok(match request.body(body.clone()).send().await {
            Ok(answer) if answer.status().is_success() => Seen::Done(()),
            Ok(answer) => {
                Seen::NotYet(format!("{} {}", answer.status(), answer.text().await.unwrap_or_default()))
            }
            // It may be starting.
            Err(error) => Seen::NotYet(error.to_string()),
        })
    })
    .await
}

/// The user does something until it works.
async fn insist(what: &str, phone: &Phone, arguments: &[&str]) -> Result<Run, Failure> {
    wait_until(&format!("{} {what}", phone.wallet().name()), STORY_TIMEOUT, async || {
        let run = phone.follow(arguments, |_| ()).await?;
        Ok(if run.success { Seen::Done(run) } else { Seen::NotYet(said(&run)) })
    })
    .await
}

fn said(run: &Run) -> String {
    let steps: Vec<String> = run.lines.iter().map(|line| line.value.to_string()).collect();
    format!("it {} after {steps:?}", if run.died { "died" } else { "failed" })
}
