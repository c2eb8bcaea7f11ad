//! What is printed: lines for people, JSON for scripts.

use std::io::Write;

use protocol::units::Msat;
use serde::Serialize;
use wallet::Step;

use super::commands::Outcome;

/// Where answers go, and in which form.
#[derive(Clone, Copy, Debug)]
pub(super) struct Output {
    pub(super) json: bool,
}

impl Output {
    /// One answer.
    pub(super) fn answer(self, value: &impl Serialize, text: impl FnOnce() -> String) {
        let line = if self.json {
            serde_json::to_string(value).unwrap_or_else(|error| format!("{{\"error\":\"{error}\"}}"))
        } else {
            text()
        };
        let mut stdout = std::io::stdout().lock();
        // Whoever listened may be gone; that is no reason to leave the work undone.
        let _ = writeln!(stdout, "{line}").and_then(|()| stdout.flush());
    }

    /// One step, as it happens.
    pub(super) fn step(self, step: &Step) {
        self.answer(step, || sentence(step));
    }

    /// What a command gave.
    pub(super) fn outcome(self, outcome: &Outcome) {
        if let Outcome::Answer { json, text } = outcome {
            self.answer(json, || text.clone());
        }
    }
}

/// `12345.678 sat`
pub(super) fn sat(amount: Msat) -> String {
    match (amount.0 / 1000, amount.0 % 1000) {
        (sat, 0) => format!("{sat} sat"),
        (sat, msat) => format!("{sat}.{msat:03} sat"),
    }
}

fn sentence(step: &Step) -> String {
    match step {
        Step::Connected => "connected to the LSP".to_owned(),
        Step::ChannelPending { channel_id, funding } => {
            format!("channel {channel_id} waits for its funding transaction ({funding})")
        }
        Step::ChannelReady { channel_id } => format!("channel {channel_id} is ready"),
        Step::ChannelClosed { channel_id, reason } => format!("channel {channel_id} is closed: {reason}"),
        Step::Blocked { deadline, .. } => format!("the LSP holds the payment until block {deadline}"),
        Step::Paying { payment_hash } => format!("paying {payment_hash}"),
        Step::Held { parts, .. } => format!("the LSP holds the payment, in {parts} part(s)"),
        Step::PendingInCare { .. } => {
            "the LSP takes care that the payee is told: you may go offline".to_owned()
        }
        Step::RefusedByPayee { reason, .. } => {
            format!("the payee will not take it ({reason}): the money comes back")
        }
        Step::Settled { payment_hash, fee_msat } => {
            format!("paid {payment_hash}, for a fee of {}", sat(*fee_msat))
        }
        Step::Failed { payment_hash, reason } => format!("{payment_hash} was not paid: {reason}"),
        Step::PendingReceived { payment_hash, amount_msat, deadline } => {
            format!("{} wait for us, until block {deadline} (invoice {payment_hash})", sat(*amount_msat))
        }
        Step::Unblocked { .. } => "answered: the payment can come".to_owned(),
        Step::Refused { payment_hash, reason } => format!("{payment_hash} was refused: {reason}"),
        Step::Paid { payment_hash, amount_msat } => {
            format!("{} received (invoice {payment_hash})", sat(*amount_msat))
        }
        Step::Quiet => "nothing is left to do".to_owned(),
        Step::Unfinished => "not everything is done: wake again later".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_keep_every_millisatoshi() {
        assert_eq!(sat(Msat(0)), "0 sat");
        assert_eq!(sat(Msat(21_000)), "21 sat");
        assert_eq!(sat(Msat(21_005)), "21.005 sat");
    }
}
