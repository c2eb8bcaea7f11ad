//! The end of a world: the faults stop, everybody comes, and everything must come to its end.

use storage::StorageError;

use super::keys::PEERS_MAX;
use super::ldk::{At, Outer};
use super::process::Process;
use super::world::World;

/// Rounds from the last fault until nothing may be left: past every deadline and expiry.
const ROUNDS: u32 = 7;

/// Rounds after which a payment_pending in the LSP's care has reached its payee, who is there.
const CARE_ROUNDS: u32 = 3;

impl World {
    /// Lets everything that is under way come to its end, and checks that it did.
    pub fn finish(&mut self) {
        {
            let mut state = self.model.lock();
            state.trace.line("- the faults stop".to_owned());
            state.crash_in = None;
            if let Some(faults) = &state.faults {
                faults.clear();
                faults.spare();
            }
        }
        self.mail.clear();
        self.may_lose_connection = false;
        self.revive();
        for round in 0..ROUNDS {
            if round >= 2 && self.has_ended() {
                break;
            }
            for phone in 0..PEERS_MAX {
                self.comes(phone);
                self.reestablished(phone);
            }
            self.handle_events();
            self.write();
            self.passes();
            self.sleep(70);
            self.handle_events();
            self.model.lock().process_forwards();
            self.write();
            // Twice: a part that LDK no longer lists counts as gone after two looks.
            self.passes_for_htlcs();
            self.handle_events();
            self.write();
            self.hear();
            self.mail.clear();
            if round >= 3 {
                self.jump();
            } else {
                self.calm_block();
            }
            self.revive();
            if round + 1 == CARE_ROUNDS {
                self.model.lock().check_care();
            }
        }
        for _ in 0..3 {
            self.handle_events();
            self.write();
            self.passes();
            self.sleep(30);
        }
        self.check_ended();
    }

    /// Whether nothing is left that could still go wrong.
    fn has_ended(&self) -> bool {
        let at_rest = {
            let state = self.model.lock();
            (0..state.htlcs.len())
                .all(|htlc| state.at(htlc) == At::Gone && state.htlcs[htlc].outcome.is_some())
                && state.memory.events.is_empty()
        };
        at_rest && self.process.as_ref().and_then(unfinished).is_some_and(|rows| rows.is_empty())
    }

    /// Enough blocks, with everybody here, for one more deadline or expiry to pass.
    fn jump(&mut self) {
        let mut state = self.model.lock();
        let height = state.height + 120;
        state.set_height(height);
        if !state.dead {
            state.block_connected();
        }
        drop(state);
        self.calm_block();
    }

    fn check_ended(&mut self) {
        let rows = self.process.as_ref().and_then(unfinished).unwrap_or_default();
        let mut state = self.model.lock();
        let now = state.now;
        for ((_, message), _) in self.stored.iter().filter(|(_, until)| now < **until) {
            let payment = message.first().copied().unwrap_or_default();
            state
                .trace
                .violation(format!("the message of payment {payment} was kept and never reached anybody"));
        }
        for row in rows {
            state.trace.violation(format!("at the end there still is {row}"));
        }
        for htlc in 0..state.htlcs.len() {
            let known = state.htlcs[htlc].clone();
            let claimed = known.outer == Outer::Claimed;
            match known.outcome {
                None => state.trace.violation(format!("htlc {htlc} never ended")),
                Some(settled) if settled != claimed => state.trace.violation(format!(
                    "htlc {htlc}: the payer was charged: {settled}, the payee was paid: {claimed}"
                )),
                Some(_) => {}
            }
            if state.at(htlc) != At::Gone {
                let at = state.at(htlc);
                state.trace.violation(format!("htlc {htlc} is still {at:?}"));
            }
        }
        // Invariant 1: what the LSP has gained is its fees.
        let gained: i128 = state
            .channels
            .iter()
            .map(|channel| i128::from(channel.ours_msat) - i128::from(channel.ours_first_msat))
            .sum();
        let fees: i128 = state
            .htlcs
            .iter()
            .filter(|htlc| htlc.outcome == Some(true))
            .map(|htlc| i128::from(htlc.amount_msat) - i128::from(htlc.out_msat))
            .sum();
        if gained != fees {
            state.trace.violation(format!("the LSP gained {gained} msat, its fees were {fees}"));
        }
        for payment in 0..state.payments.len() {
            let sent = state.payments[payment].sent.clone();
            let settled = sent.iter().filter(|htlc| state.htlcs[**htlc].outcome == Some(true)).count();
            if settled == state.payments[payment].parts {
                state.trace.count("payment settled");
            } else if !sent.is_empty() {
                state.trace.count("payment failed");
            }
        }
    }
}

/// The rows that should have ended.
fn unfinished(process: &Process) -> Option<Vec<String>> {
    process.ask(|db| {
        Box::pin(async move {
            db.read("unfinished", |tx| {
                Box::pin(async move {
                    let mut rows = Vec::new();
                    let holds =
                        "SELECT id, state FROM hold WHERE state IN ('waiting', 'unblocked', 'failing')";
                    for row in tx.fetch_all(holds, &[]).await? {
                        rows.push(format!("hold {} {}", row.get_i64("id")?, row.get_text("state")?));
                    }
                    let parts =
                        "SELECT hold_id, state FROM hold_part WHERE state NOT IN ('settled', 'failed')";
                    for row in tx.fetch_all(parts, &[]).await? {
                        rows.push(format!(
                            "a part {} of hold {}",
                            row.get_text("state")?,
                            row.get_i64("hold_id")?
                        ));
                    }
                    for row in tx.fetch_all("SELECT hold_id FROM pending_message", &[]).await? {
                        rows.push(format!("a payment_pending of hold {}", row.get_i64("hold_id")?));
                    }
                    for row in tx.fetch_all("SELECT id FROM mailbox_message", &[]).await? {
                        rows.push(format!("message {}", row.get_i64("id")?));
                    }
                    let wakes = "SELECT reason FROM wake WHERE state = 'open' AND reason IN \
                                 ('payment_settled', 'payment_failed', 'expiry_soon')";
                    for row in tx.fetch_all(wakes, &[]).await? {
                        rows.push(format!("a wake for {}", row.get_text("reason")?));
                    }
                    Ok::<_, StorageError>(rows)
                })
            })
            .await
        })
    })
}
