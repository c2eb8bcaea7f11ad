//! Whether everything is as it should be, to the millisatoshi.

use std::time::Instant;

use protocol::api::admin::HoldDetail;
use tests::failure::Failure;
use tests::stage::{Balances, Stage};

use crate::words::{sat, signed_sat};

/// What the story showed.
pub(crate) struct Facts {
    /// Of the invoice.
    pub(crate) amount_msat: u64,
    /// As the payee's wallet says.
    pub(crate) paid_msat: u64,
    /// As the payer's wallet says.
    pub(crate) fee_msat: u64,
    /// As the payer's LSP said while it held.
    pub(crate) held: HoldDetail,
    /// From when to when the payee's wallet ran.
    pub(crate) payee_online: Vec<(Instant, Instant)>,
    /// The same of the payer's.
    pub(crate) payer_online: Vec<(Instant, Instant)>,
}

/// Prints the balances and every check, and returns whether all are good.
pub(crate) async fn check(
    stage: &Stage,
    facts: &Facts,
    before: &Balances,
    after: &Balances,
    parts: usize,
) -> Result<bool, Failure> {
    print_balances(stage, before, after);
    let mut checks = Checks { good: true };
    let gained = |before: u64, after: u64| i128::from(after) - i128::from(before);

    println!("\nChecked:\n");
    checks.equal(
        "the payee has the invoice's amount more",
        gained(before.payee_msat, after.payee_msat),
        facts.amount_msat.into(),
    );
    checks.equal("and its wallet says so", facts.paid_msat.into(), facts.amount_msat.into());
    let fees: Vec<u64> = fees(stage, facts);
    for ((lsp, fee), (before, after)) in
        stage.lsps.iter().zip(&fees).zip(before.lsps_msat.iter().zip(&after.lsps_msat))
    {
        let policy = lsp.fees();
        let what = format!(
            "{} has its fee more: {} msat for each part and {} millionths of it",
            lsp.name(),
            policy.base_msat,
            policy.proportional_millionths
        );
        checks.equal(&what, gained(*before, *after), (*fee).into());
    }
    let fee: u64 = fees.iter().sum();
    checks.equal(
        "the payer has the amount and the fees less",
        gained(before.payer_msat, after.payer_msat),
        -i128::from(facts.amount_msat + fee),
    );
    checks.equal("and its wallet says so", facts.fee_msat.into(), fee.into());
    checks.equal(
        "nothing was lost, and nothing came from nowhere",
        after.total_msat().into(),
        before.total_msat().into(),
    );

    let mut channels: Vec<_> = facts.held.parts.iter().map(|part| part.inbound_channel_id).collect();
    channels.sort_unstable();
    channels.dedup();
    checks.equal("HTLCs held, each on a channel of its own", as_i128(channels.len()), as_i128(parts));
    checks.holds("the phones were never online together", !overlap(&facts.payer_online, &facts.payee_online));
    let mut pushed = true;
    for (phone, reason) in [(&stage.payee, "onion_message"), (&stage.payer, "payment_settled")] {
        let is_it = |reason_is: &str| reason_is == reason || reason_is == tests::phone::SEALED;
        pushed &= phone.pushes().iter().any(|push| is_it(&push.body.reason));
    }
    match stage.providers() {
        Ok(providers) => {
            let taken = !providers.apns.taken().is_empty() && !providers.fcm.taken().is_empty();
            let what = "the payer's iPhone was woken through APNs, the payee's Android phone through FCM";
            checks.holds(what, pushed && taken);
        }
        Err(_) => checks.holds("each phone was woken by a push that it received over HTTP", pushed),
    }
    // The payer's and the payee's; both ends of the one between the LSPs.
    let expected = parts + 1 + if stage.lsps.len() > 1 { 2 } else { 0 };
    let mut open = 0;
    for lsp in &stage.lsps {
        let channels = lsp.channels().await?;
        open += channels.iter().filter(|channel| channel.is_ready && !channel.is_shutting_down).count();
    }
    checks.equal("every channel is open", as_i128(open), as_i128(expected));
    Ok(checks.good)
}

/// What each LSP's policy says about the parts that the payer's LSP held.
fn fees(stage: &Stage, facts: &Facts) -> Vec<u64> {
    let first = stage.payers_lsp().fees();
    let outbound = || facts.held.parts.iter().map(|part| part.outbound_amount_msat.0);
    let mut fees = vec![outbound().map(|amount| first.fee_msat(amount)).sum()];
    if stage.lsps.len() > 1 {
        let second = stage.payees_lsp().fees();
        fees.push(outbound().map(|offered| offered - second.forwarded_msat(offered)).sum());
    }
    fees
}

fn overlap(one: &[(Instant, Instant)], other: &[(Instant, Instant)]) -> bool {
    one.iter().any(|(start, end)| other.iter().any(|(begin, finish)| start < finish && begin < end))
}

fn as_i128(number: usize) -> i128 {
    i128::try_from(number).unwrap_or(i128::MAX)
}

fn print_balances(stage: &Stage, before: &Balances, after: &Balances) {
    println!("\n{:<9} {:>22} {:>22} {:>22}", "in channels", "before", "after", "difference");
    let mut rows = vec![("payer", before.payer_msat, after.payer_msat)];
    for (index, lsp) in stage.lsps.iter().enumerate() {
        rows.push((lsp.name(), before.lsps_msat[index], after.lsps_msat[index]));
    }
    rows.push(("payee", before.payee_msat, after.payee_msat));
    for (name, before, after) in rows {
        println!("{name:<11} {:>22} {:>22} {:>22}", sat(before), sat(after), signed_sat(before, after));
    }
}

struct Checks {
    good: bool,
}

impl Checks {
    fn holds(&mut self, what: &str, good: bool) {
        println!("  {}  {what}", if good { "ok " } else { "BAD" });
        self.good &= good;
    }

    fn equal(&mut self, what: &str, is: i128, should: i128) {
        let difference = if is == should { String::new() } else { format!(", should be {should}") };
        self.holds(&format!("{what} ({is}{difference})"), is == should);
    }
}
