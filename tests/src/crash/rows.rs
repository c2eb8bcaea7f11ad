//! What must be true of an LSP's rows after every story: nothing waits that nobody would ever take up.

use std::collections::BTreeSet;

use protocol::api::admin::{DeviceView, HoldSummary, NotificationView};
use protocol::api::ledger::{WakeRecord, WakeState};

use super::stories::Answered;
use crate::failure::Failure;
use crate::lsp::Lsp;
use crate::stage::Stage;

/// A list of what is wrong.
pub(super) async fn look(stage: &Stage, told: &Answered) -> Result<Vec<String>, Failure> {
    let mut wrong = Vec::new();
    for lsp in &stage.lsps {
        let name = lsp.name();
        let found = look_at(lsp, told, std::ptr::eq(lsp, stage.payees_lsp())).await?;
        wrong.extend(found.into_iter().map(|line| format!("{name}: {line}")));
    }
    wrong.extend(late_pushes(stage));
    wrong.extend(notifications_that_did_not_come(stage, told));
    Ok(wrong)
}

async fn look_at(lsp: &Lsp, told: &Answered, is_the_payees: bool) -> Result<Vec<String>, Failure> {
    let mut wrong = Vec::new();
    for message in lsp.mailbox().await? {
        wrong.push(format!(
            "a message of {} bytes waits in the mailbox of {}",
            message.bytes, message.recipient
        ));
    }
    let holds: Vec<HoldSummary> = lsp.ask(&["holds", "list", "--ended"]).await?;
    for hold in holds.iter().filter(|hold| hold.pending_in_care) {
        wrong.push(format!("the payment_pending of {} is kept still", hold.pid_hash));
    }
    let devices = lsp.devices().await?;
    if is_the_payees {
        wrong.extend(devices_that_differ(&devices, told));
    }
    for wake in lsp.wakes().await? {
        wrong.push(format!("a wake of {} is open: {}, {} pushes", wake.node_id, wake.reason, wake.attempts));
    }
    for node_id in devices.iter().map(|device| device.node_id).collect::<BTreeSet<_>>() {
        let wakes: Vec<WakeRecord> = lsp.ask(&["wakes", "show", &node_id.to_string()]).await?;
        wrong.extend(wakes.iter().filter_map(without_an_end));
        wrong.extend(wakes.iter().flat_map(refused_or_late));
    }
    let notifications: Vec<NotificationView> = lsp.ask(&["notifications"]).await?;
    wrong.extend(notifications.iter().filter_map(without_a_verdict));
    Ok(wrong)
}

/// What was answered about devices must be so.
fn devices_that_differ(devices: &[DeviceView], told: &Answered) -> Vec<String> {
    let is_there = |id: &String| devices.iter().any(|device| device.device_id == *id);
    let lost = told.registered.iter().filter(|id| !is_there(id));
    let kept = told.removed.iter().filter(|id| is_there(id));
    let lost = lost.map(|id| format!("the device {id} was registered and is gone"));
    lost.chain(kept.map(|id| format!("the device {id} was removed and is there"))).collect()
}

/// A wake is over because the phone came, because its reason is gone, or because its time is; then it was pushed before.
fn without_an_end(wake: &WakeRecord) -> Option<String> {
    let has_verdict = wake.pushes.iter().any(|push| push.verdict.is_some());
    let has_end = match wake.state {
        WakeState::Acknowledged | WakeState::Ended => true,
        WakeState::Open | WakeState::Expired => has_verdict,
    };
    (!has_end).then(|| format!("a wake has neither a verdict nor an end: {wake:?}"))
}

/// The push services of this world take every push that they are given in its time.
fn refused_or_late(wake: &WakeRecord) -> Vec<String> {
    let is_wrong = |verdict: &str| !matches!(verdict, "accepted" | "retry");
    let pushes = wake
        .pushes
        .iter()
        .filter(|push| push.verdict.as_deref().is_some_and(is_wrong) || push.sent_at >= wake.expires_at);
    pushes.map(|push| format!("a push was refused, or too late for {}: {push:?}", wake.expires_at)).collect()
}

fn without_a_verdict(notification: &NotificationView) -> Option<String> {
    let is_wrong = match notification.state.as_str() {
        "accepted" => false,
        "open" => notification.verdict.is_none(),
        // Removing a hook is an end to what it was to be told.
        _ => notification.verdict.is_none() && notification.why.is_none(),
    };
    is_wrong.then(|| format!("a notification has neither a verdict nor an end: {notification:?}"))
}

fn late_pushes(stage: &Stage) -> Vec<String> {
    let of_services = stage.providers.iter().flat_map(|providers| providers.late());
    let of_phones = [&stage.payer, &stage.payee].into_iter().flat_map(|phone| phone.late_pushes());
    of_services.chain(of_phones).map(|push| format!("too late: {push}")).collect()
}

fn notifications_that_did_not_come(stage: &Stage, told: &Answered) -> Vec<String> {
    let taken: Vec<_> = stage.providers.iter().flat_map(|providers| providers.fcm.taken()).collect();
    let lost = told.notified.iter().filter(|token| taken.iter().all(|push| push.token != **token));
    lost.map(|token| format!("a notification was acknowledged and did not come to {token}")).collect()
}
