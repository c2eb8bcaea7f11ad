//! The story: what happens in which order.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use protocol::api::admin::HoldDetail;
use protocol::hold::HoldStateTag;
use tests::failure::Failure;
use tests::stage::{PAYMENT_TIMEOUT, Setup, Stage};
use tests::wait::{Seen, wait_until};

use crate::Options;
use crate::farewell;
use crate::timeline::Timeline;
use crate::verdict::{self, Facts};
use crate::words::{count, sat, text_at};

/// Each of the payer's channels, in satoshi.
const PAYER_CHANNEL_SAT: u64 = 1_000_000;
/// How much of each the payment takes: more than half, so that no fewer channels can carry it.
const SHARE_SAT: u64 = 900_000;
/// How long both phones are off while the payment is held.
const OFF_BLOCKS: u32 = 10;
/// How long the LSP may take to release after the payee's yes.
const RELEASE_TIMEOUT: Duration = Duration::from_secs(60);

pub(crate) async fn run(options: Options) -> Result<ExitCode, Failure> {
    let parts = usize::from(options.parts);
    let timeline = Timeline::new();
    println!("lightning-rod: a payment between two phones that are never online together.");
    timeline.chapter("The stage: a regtest chain, the LSPs, two phones");
    let mut progress = |text: &str| timeline.tell("", text);
    if !options.keep {
        progress("the payer has an iPhone (APNs), the payee an Android phone (FCM, sealed to its wallet)");
    }
    let stage = Stage::new_with_progress(setup(options), &mut progress).await?;
    let before = stage.balances().await?;
    timeline.tell("", &format!("ready; open: {}", open_channels(&stage, parts)));
    timeline.tell("", "both phones are off: their wallets do not run");

    timeline.chapter("The story");
    timeline.follow(&stage.payer);
    timeline.follow(&stage.payee);
    let facts = play(&stage, &timeline, parts).await?;
    let seconds = timeline.seconds();

    let after = stage.balances().await?;
    let good = verdict::check(&stage, &facts, &before, &after, parts).await?;
    println!("\nThe story took {seconds:.1} s.");
    if options.keep {
        farewell::keep(stage).await?;
    } else if good {
        stage.finish().await?;
    }
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn setup(options: Options) -> Setup {
    let channels = u64::from(options.parts);
    let carried_sat = channels * PAYER_CHANNEL_SAT;
    let mut setup = Setup::lsps(options.lsps.into());
    // What is left running has webhooks: the fakes of Apple's and Google's services end with this program.
    setup.providers = !options.keep;
    setup.payer_channels_sat = vec![PAYER_CHANNEL_SAT; options.parts.into()];
    setup.payee_channel_sat = carried_sat + 2_000_000;
    // Routes use a small share of a public channel only.
    setup.lsps_channel_sat = 10 * carried_sat;
    setup
}

fn open_channels(stage: &Stage, parts: usize) -> String {
    let payers = format!("{} of the payer", count(parts, "channel"));
    if stage.lsps.len() > 1 {
        format!("{payers} with lsp_a, an announced one of lsp_a with lsp_b, one of lsp_b with the payee")
    } else {
        format!("{payers} with its LSP, one of the LSP with the payee")
    }
}

/// What the verdict needs to know of the story.
async fn play(stage: &Stage, timeline: &Timeline, parts: usize) -> Result<Facts, Failure> {
    let amount_msat = u64::try_from(parts).unwrap_or(1) * SHARE_SAT * 1000;
    let (payers_lsp, payees_lsp) = (stage.payers_lsp(), stage.payees_lsp());

    let payee_on = Instant::now();
    timeline.tell("payee", &format!("ON, to make an invoice for {}", sat(amount_msat)));
    let amount = amount_msat.to_string();
    let invoice = stage.payee.ask(&["invoice", "--amount-msat", &amount, "--description", "demo"]).await?;
    let invoice = text_at(&invoice, "invoice")?.to_owned();
    timeline.tell("payee", "OFF, and out of coverage: pushes arrive, but its system starts nothing");
    let payee_off = Instant::now();
    stage.payee.leave_coverage();

    timeline.tell("payer", "ON, to pay the invoice");
    let said = |line: &tests::wallet::Line| {
        if let Some(text) = crate::words::step(line) {
            timeline.tell("payer", &format!("  {text}"));
        }
    };
    let pay = stage.payer.follow(&["pay", &invoice], said).await?;
    if !pay.success {
        return Err(Failure::wrong("the payer could not pay"));
    }
    timeline.tell("payer", "OFF, and out of coverage");
    stage.payer.leave_coverage();

    // The push reaches the phone at once, and is all that does.
    stage.payee.wait_for_push(1, PAYMENT_TIMEOUT).await?;
    let mailbox = payees_lsp.mailbox().await?.len();
    timeline
        .tell(payees_lsp.name(), &format!("  keeps {} for phones that are off", count(mailbox, "message")));

    let height = stage.bitcoind.height().await?;
    stage.mine(OFF_BLOCKS).await?;
    timeline.tell("chain", &format!("{OFF_BLOCKS} blocks pass: {height} to {}", height + OFF_BLOCKS));
    for lsp in &stage.lsps {
        if lsp.channels().await?.iter().any(|channel| channel.is_usable && !channel.is_announced) {
            return Err(Failure::wrong(format!("a phone of {} is online that should be off", lsp.name())));
        }
    }
    let held = held(stage, parts).await?;
    tell_hold(timeline, payers_lsp.name(), &held);

    timeline.tell("payee", "is back in coverage");
    stage.payee.enter_coverage();
    let woken = stage.payee.wait_for_step("paid", PAYMENT_TIMEOUT).await?;
    if !stage.payer.wakes().is_empty() {
        return Err(Failure::wrong("the payer's wallet ran while it was out of coverage"));
    }
    let released = released_after(stage, &held).await?;
    timeline.tell(
        payers_lsp.name(),
        &format!(
            "  had released the payment {:.1} ms after the payee's yes arrived",
            released.as_secs_f64() * 1000.0
        ),
    );

    stage.payer.wait_for_push(1, PAYMENT_TIMEOUT).await?;
    timeline.tell("payer", "is back in coverage");
    stage.payer.enter_coverage();
    let settled = stage.payer.wait_for_step("settled", PAYMENT_TIMEOUT).await?;

    let mut payee_online = vec![(payee_on, payee_off)];
    payee_online.extend(stage.payee.wakes().iter().map(|run| (run.started, run.ended)));
    let mut payer_online = vec![(pay.started, pay.ended)];
    payer_online.extend(stage.payer.wakes().iter().map(|run| (run.started, run.ended)));
    let number = |run: &tests::wallet::Run, step: &str, key: &str| {
        run.step(step).and_then(|line| line.value[key].as_u64()).unwrap_or_default()
    };
    Ok(Facts {
        amount_msat,
        paid_msat: number(&woken, "paid", "amount_msat"),
        fee_msat: number(&settled, "settled", "fee_msat"),
        held,
        payee_online,
        payer_online,
    })
}

/// What the payer's LSP says about the one hold that it has, once it holds all parts.
async fn held(stage: &Stage, parts: usize) -> Result<HoldDetail, Failure> {
    let lsp = stage.payers_lsp();
    let holds = lsp.holds().await?;
    let [summary] = holds.as_slice() else {
        return Err(Failure::wrong(format!("{} has {} holds instead of one", lsp.name(), holds.len())));
    };
    let details = lsp.hold(&summary.pid_hash.to_string()).await?;
    let detail = details.into_iter().next().ok_or_else(|| Failure::wrong("a hold without details"))?;
    let summary = &detail.summary;
    if summary.state == HoldStateTag::Waiting && summary.held_parts == parts && detail.parts.len() == parts {
        Ok(detail)
    } else {
        Err(Failure::wrong(format!("not {} held: {detail:?}", count(parts, "part"))))
    }
}

fn tell_hold(timeline: &Timeline, name: &str, held: &HoldDetail) {
    let summary = &held.summary;
    timeline.tell(
        name,
        &format!(
            "  `holds show`: {}, {} held, until block {}, state {}",
            count(summary.held_parts, "HTLC"),
            sat(summary.held_msat.0),
            summary.deadline,
            summary.state,
        ),
    );
    for part in &held.parts {
        timeline.tell(
            name,
            &format!(
                "    HTLC {} on channel {}..., {}, to be forwarded {}",
                part.inbound_htlc_id,
                part.inbound_channel_id.to_string().chars().take(8).collect::<String>(),
                sat(part.inbound_amount_msat.0),
                sat(part.outbound_amount_msat.0),
            ),
        );
    }
}

/// The time from the unblock message's arrival until LDK was told to forward, as the payer's LSP says.
async fn released_after(stage: &Stage, held: &HoldDetail) -> Result<Duration, Failure> {
    let lsp = stage.payers_lsp();
    let pid_hash = held.summary.pid_hash.to_string();
    wait_until("the LSP to say how fast it released", RELEASE_TIMEOUT, async || {
        let details = lsp.hold(&pid_hash).await?;
        Ok(match details.first().and_then(|detail| detail.release_latency_micros) {
            Some(micros) => Seen::Done(Duration::from_micros(micros)),
            None => Seen::NotYet(format!("{details:?}")),
        })
    })
    .await
}
