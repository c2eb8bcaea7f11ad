//! What must be true after every story, whoever died in it.

use protocol::api::admin::HoldSummary;
use protocol::hold::FailCause;
use serde_json::Value;

use super::rows;
use super::stories::{STORY_TIMEOUT, Story, Told};
use crate::failure::Failure;
use crate::lsp::Lsp;
use crate::phone::Phone;
use crate::stage::{Balances, Setup, Stage};
use crate::wait::{Seen, wait_until};

/// What was so before.
pub(super) struct Before {
    balances: Balances,
    devices: Devices,
}

impl Before {
    pub(super) async fn look(stage: &Stage) -> Result<Self, Failure> {
        let balances = retry("everybody to answer", async || stage.balances().await).await?;
        Ok(Self { balances, devices: Devices::look(stage).await? })
    }
}

/// The registered phones, and the hooks that were set over Lightning. Each was acknowledged.
#[derive(Debug, Default, PartialEq, Eq)]
struct Devices {
    phones: Vec<String>,
    hooks: Vec<String>,
}

impl Devices {
    async fn look(stage: &Stage) -> Result<Self, Failure> {
        let mut found = Self::default();
        for lsp in &stage.lsps {
            for device in lsp.devices().await? {
                let kind = if device.platform == "lsps5" { &mut found.hooks } else { &mut found.phones };
                kind.push(format!("{}: {}", device.node_id, device.device_id));
            }
        }
        Ok(found)
    }

    /// Whether these are those, or what the story made of them.
    fn are_those(&self, before: &Self, story: Story) -> bool {
        let kept = before.hooks.iter().all(|hook| self.hooks.contains(hook));
        // The story sets one hook, which is the same one each time.
        let hooks = if story == Story::Ordinary { 1 } else { before.hooks.len() };
        self.phones == before.phones && kept && self.hooks.len() == hooks
    }
}

/// Looks until everything is as it must be. A phone may have to come once more for the last of it.
pub(super) async fn check(
    stage: &Stage,
    setup: &Setup,
    before: &Before,
    story: Story,
    told: &Told,
) -> Result<(), Failure> {
    let mut wrong_before = false;
    wait_until("everything to be as it must be", STORY_TIMEOUT, async || {
        if wrong_before {
            tokio::try_join!(stage.payer.follow(&["wake"], |_| ()), stage.payee.follow(&["wake"], |_| ()))?;
        }
        wrong_before = true;
        Ok::<_, Failure>(match look(stage, setup, before, story, told).await {
            Ok(wrong) if wrong.is_empty() => Seen::Done(()),
            Ok(wrong) => Seen::NotYet(wrong.join("; ")),
            Err(error) => Seen::NotYet(xtask::with_causes(&error)),
        })
    })
    .await
}

/// A list of what is wrong. The phones' wallets are started for it.
pub(super) async fn look(
    stage: &Stage,
    setup: &Setup,
    before: &Before,
    story: Story,
    told: &Told,
) -> Result<Vec<String>, Failure> {
    let mut wrong = look_at_lsps(stage, setup, before, story, told).await?;
    wrong.extend(look_at_phones(stage, before, story, told).await?);
    Ok(wrong)
}

/// What is wrong at the LSPs, while the phones may sleep.
pub(super) async fn look_at_lsps(
    stage: &Stage,
    setup: &Setup,
    before: &Before,
    story: Story,
    told: &Told,
) -> Result<Vec<String>, Failure> {
    let mut wrong = Vec::new();
    for lsp in &stage.lsps {
        let holds = lsp.holds().await?;
        if !holds.is_empty() {
            wrong.push(format!("{} still holds {holds:?}", lsp.name()));
        }
        let log = lsp.log();
        wrong.extend(panic_in(lsp.name(), &log));
        if let Some(line) = log.lines().find(|line| line.contains("the database and LDK do not agree")) {
            wrong.push(format!("{}: {line}", lsp.name()));
        }
        for channel in lsp.channels().await? {
            let htlcs = channel.pending_inbound_htlcs + channel.pending_outbound_htlcs;
            if htlcs > 0 {
                wrong.push(format!("{htlcs} HTLCs on {}", channel.channel_id));
            }
        }
    }
    if !stage.all_channels_open(setup).await? {
        wrong.push("a channel is closed".to_owned());
    }
    let devices = Devices::look(stage).await?;
    if !devices.are_those(&before.devices, story) {
        wrong.push(format!("what was registered was {:?} and is {devices:?}", before.devices));
    }
    let mut holds = holds_of(stage.payers_lsp(), &told.payment_hash).await?;
    // An LSP that dies between two parts gets one of them: that goes back, and the payment is tried again.
    holds.retain(|hold| story != Story::Mpp || hold.parts > 1 || hold.cause != Some(FailCause::Cancelled));
    if story != Story::Ordinary && holds.len() != 1 {
        // A grant that was acknowledged and forgotten, or a payment that failed for somebody's death, is tried again.
        wrong.push(format!("the payment took {} holds: {holds:?}", holds.len()));
    }
    wrong.extend(rows::look(stage, &told.devices).await?);
    Ok(wrong)
}

fn panic_in(name: &str, log: &str) -> Option<String> {
    log.lines().find(|line| line.contains("panicked at")).map(|line| format!("{name} panicked: {line}"))
}

async fn look_at_phones(
    stage: &Stage,
    before: &Before,
    story: Story,
    told: &Told,
) -> Result<Vec<String>, Failure> {
    let mut wrong = Vec::new();
    for (name, phone) in [("the payer", &stage.payer), ("the payee", &stage.payee)] {
        let log = std::fs::read_to_string(phone.wallet().log_path()).unwrap_or_default();
        wrong.extend(panic_in(name, &log));
    }
    let (of_payer, of_payee) =
        tokio::try_join!(status(&stage.payer, &told.payment_hash), status(&stage.payee, &told.payment_hash))?;
    let (payment, invoice) = (&of_payer["payments"][0], &of_payee["invoices"][0]);
    let expected = if told.paid { ("settled", "paid") } else { ("failed", "open") };
    if (payment["state"].as_str(), invoice["state"].as_str()) != (Some(expected.0), Some(expected.1)) {
        wrong.push(format!("the payer says {payment}, the payee {invoice}"));
    }
    if invoice["is_awaited"].as_bool() != Some(false) {
        // Its phone would stay awake for a payment that does not come.
        wrong.push("the payee was not told that the payment was taken back".to_owned());
    }
    if told.paid && invoice["paid_msat"].as_u64() != Some(told.amount_msat) {
        wrong.push(format!("the payee was not paid what it asked for: {invoice}"));
    }
    let is = stage.balances().await?;
    let should = expected_balances(stage, before, story, told).await?;
    if is != should {
        wrong.push(format!("balances are {is:?} and should be {should:?}"));
    }
    let fee_msat = before.balances.payer_msat.saturating_sub(should.payer_msat + told.amount_msat);
    if told.paid && payment["fee_msat"].as_u64() != Some(fee_msat) {
        wrong.push(format!("the payer's wallet says that it paid a fee of {}", payment["fee_msat"]));
    }
    Ok(wrong)
}

/// To the millisatoshi, from both LSPs' terms.
async fn expected_balances(
    stage: &Stage,
    before: &Before,
    story: Story,
    told: &Told,
) -> Result<Balances, Failure> {
    let mut balances = before.balances.clone();
    if !told.paid {
        return Ok(balances);
    }
    let (first, second) = (stage.payers_lsp(), stage.payees_lsp());
    let offered_msat = if story == Story::Ordinary {
        vec![told.amount_msat + second.fees().fee_msat(told.amount_msat)]
    } else {
        settled_parts_msat(first, &told.payment_hash).await?
    };
    for offered_msat in offered_msat {
        let forwarded_msat = second.fees().forwarded_msat(offered_msat);
        let fee_msat = first.fees().fee_msat(offered_msat);
        balances.payer_msat = balances.payer_msat.saturating_sub(offered_msat + fee_msat);
        balances.lsps_msat[0] += fee_msat;
        balances.lsps_msat[1] += offered_msat - forwarded_msat;
        balances.payee_msat += forwarded_msat;
    }
    Ok(balances)
}

/// The holds for this payment at the payer's LSP. A grant that was acknowledged must be among them.
async fn holds_of(lsp: &Lsp, payment_hash: &str) -> Result<Vec<HoldSummary>, Failure> {
    let mut holds: Vec<HoldSummary> = lsp.ask(&["holds", "list", "--ended"]).await?;
    holds.retain(|hold| hold.payment_hashes.iter().any(|hash| hash.to_string() == payment_hash));
    Ok(holds)
}

/// What the payer's LSP passed on in each part that was settled.
async fn settled_parts_msat(lsp: &Lsp, payment_hash: &str) -> Result<Vec<u64>, Failure> {
    let mut settled = Vec::new();
    for hold in holds_of(lsp, payment_hash).await? {
        for detail in lsp.hold(&hold.pid_hash.to_string()).await? {
            let parts = detail.parts.iter().filter(|part| part.state.as_str() == "settled");
            settled.extend(parts.map(|part| part.outbound_amount_msat.0));
        }
    }
    Ok(settled)
}

async fn status(phone: &Phone, payment_hash: &str) -> Result<Value, Failure> {
    phone.ask(&["status", payment_hash]).await
}

async fn retry<T>(what: &str, mut attempt: impl AsyncFnMut() -> Result<T, Failure>) -> Result<T, Failure> {
    wait_until(what, STORY_TIMEOUT, async || {
        Ok(match attempt().await {
            Ok(done) => Seen::Done(done),
            Err(error) => Seen::NotYet(xtask::with_causes(&error)),
        })
    })
    .await
}
