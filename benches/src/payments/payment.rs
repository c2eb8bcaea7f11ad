//! One payment, from the payer's first message to its end.

use std::time::{Duration, Instant};

use lightning_invoice::Bolt11Invoice;
use node::{Destination, Node};
use protocol::ids::Pid;
use protocol::path::pending_path;
use protocol::units::Msat;
use protocol::wire::{
    BlockAnswer, HoldStateCode, Message, PaymentBlock, PaymentPending, PaymentStatus, PaymentUnblock,
};
use tests::failure::Failure;
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::phone::{Ended, Phone, wrong};

/// Above the dust limit, so that every HTLC has an output and a signature, and above the least that is held.
pub(crate) const AMOUNT: Msat = Msat(2_000_000);
/// The hold's length.
const HOLD_BLOCKS: u32 = 50;
/// The payee's LSP needs some, too.
const HEADROOM_BLOCKS: u32 = HOLD_BLOCKS + 20;
/// When a question that was not answered is asked again. Onion messages get lost.
const ASK_AGAIN: Duration = Duration::from_secs(2);
/// How long after it paid a phone asks for the first time whether the HTLC is held. It waits twice as long each time after that.
const FIRST_STATUS: Duration = Duration::from_millis(80);
/// No payment takes longer.
const PAYMENT_TIMEOUT: Duration = Duration::from_secs(120);

/// How long the phones waited.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Times {
    /// From the payer's request for a hold until it knows that its HTLC is held; zero for a plain payment.
    pub(crate) hold: Duration,
    /// From the payer's `payment_pending`, which the payee answers at once, until the payee has the HTLC. For a plain payment, from
    /// the start.
    pub(crate) release: Duration,
    /// From there until the payer has the preimage.
    pub(crate) settle: Duration,
}

/// A payment that did not arrive, for reasons that real phones meet too.
pub(crate) enum Outcome {
    Paid(Times),
    Failed(String),
}

/// An ordinary payment.
pub(crate) async fn plain(payer: &Phone, payee: &Phone) -> Result<Outcome, Failure> {
    let invoice = payee.invoice(AMOUNT, false)?;
    let started = Instant::now();
    let arrival = Arrival::expect(payer, payee, &invoice);
    payer.pay(&invoice, 0).await?;
    arrival.outcome(Duration::ZERO, started).await
}

/// A payment that is held, announced to the payee, unblocked, released, and settled.
pub(crate) async fn held(payer: &Phone, payee: &Phone) -> Result<Outcome, Failure> {
    let invoice = payee.invoice(AMOUNT, true)?;
    let started = Instant::now();
    let arrival = Arrival::expect(payer, payee, &invoice);
    let pid = hold(payer, &invoice).await?;
    let held_after = started.elapsed();
    let released = Instant::now();
    announce(payer, payee, &invoice, pid).await?;
    arrival.outcome(held_after, released).await
}

/// Blocks and pays; returns when the payer knows that its HTLC is held.
pub(crate) async fn hold(payer: &Phone, invoice: &Bolt11Invoice) -> Result<Pid, Failure> {
    let pid = Pid(payer.node.random_bytes());
    let deadline = payer.node.height().plus(HOLD_BLOCKS);
    let hashes = vec![invoice.payment_hash()];
    let request =
        PaymentBlock::sign(payer.node.node_id(), pid.hash(), hashes, deadline, &payer.lsp, sign(payer))
            .map_err(|error| wrong(&error))?;
    let answer = ask(payer, &request.into(), || payer.ears.acks.expect(pid.hash())).await?;
    if !matches!(answer, BlockAnswer::Accepted { .. }) {
        return Err(Failure::wrong(format!("the LSP does not hold: {answer:?}")));
    }
    payer.pay(invoice, HEADROOM_BLOCKS).await?;
    let question = PaymentStatus::sign(payer.node.node_id(), Some(pid.hash()), &payer.lsp, sign(payer))
        .map_err(|error| wrong(&error))?;
    let question = Message::from(question);
    let paid = Instant::now();
    let mut pause = FIRST_STATUS;
    while paid.elapsed() < PAYMENT_TIMEOUT {
        tokio::time::sleep(pause).await;
        pause *= 2;
        let status = ask(payer, &question, || payer.ears.statuses.expect(pid.hash())).await?;
        match status.state {
            HoldStateCode::Held if status.hashes.iter().all(|hash| hash.held_parts == 1) => return Ok(pid),
            HoldStateCode::Waiting | HoldStateCode::Held => {}
            state => return Err(Failure::wrong(format!("a hold is {state:?}"))),
        }
    }
    Err(Failure::wrong("an HTLC was not held"))
}

/// Sends payment_pending; the payee says yes as soon as it has it.
async fn announce(payer: &Phone, payee: &Phone, invoice: &Bolt11Invoice, pid: Pid) -> Result<(), Failure> {
    let payment_hash = invoice.payment_hash();
    let deadline = payer.node.height().plus(HOLD_BLOCKS);
    let sent = Instant::now();
    while sent.elapsed() < PAYMENT_TIMEOUT {
        let heard = payee.ears.asked.expect(payment_hash);
        let pending = PaymentPending { payment_hash, amount: AMOUNT, pid, deadline, payer_and_lsp: None };
        let session_key = payer.node.session_key().map_err(|error| wrong(&error))?;
        let payees_lsp = Node::payees_lsp(invoice);
        let path = pending_path(&session_key, payer.lsp, payees_lsp, payee.node.node_id(), pid.hash())
            .map_err(|error| wrong(&error))?;
        let reply_path = payer
            .node
            .unblocking_reply_path(payer.lsp, &pid, b"pending".to_vec())
            .map_err(|error| wrong(&error))?;
        payer.node.send_along(path, pending.into(), Some(reply_path)).map_err(|error| wrong(&error))?;
        if let Ok(Ok(reply_to)) = timeout(ASK_AGAIN, heard).await {
            let yes = PaymentUnblock { payment_hash };
            return payee.node.reply(reply_to, yes.into()).map_err(|error| wrong(&error));
        }
    }
    Err(Failure::wrong("payment_pending does not arrive"))
}

fn sign(phone: &Phone) -> impl FnOnce(&[u8]) -> Result<String, ()> {
    |text| phone.node.sign(std::str::from_utf8(text).map_err(|_| ())?).map_err(|_| ())
}

/// Asks the LSP until it answers.
async fn ask<T>(
    phone: &Phone,
    question: &Message,
    expect: impl Fn() -> oneshot::Receiver<T>,
) -> Result<T, Failure> {
    let asked = Instant::now();
    while asked.elapsed() < PAYMENT_TIMEOUT {
        let answer = expect();
        phone
            .node
            .send(question.clone(), Destination::Node(phone.lsp), Some(b"ask".to_vec()))
            .map_err(|error| wrong(&error))?;
        if let Ok(Ok(answer)) = timeout(ASK_AGAIN, answer).await {
            return Ok(answer);
        }
    }
    Err(Failure::wrong("the LSP does not answer"))
}

/// The end of a payment, listened for from before its start.
pub(crate) struct Arrival {
    claimable: oneshot::Receiver<Instant>,
    ended: oneshot::Receiver<Ended>,
}

impl Arrival {
    pub(crate) fn expect(payer: &Phone, payee: &Phone, invoice: &Bolt11Invoice) -> Self {
        let payment_hash = invoice.payment_hash();
        Self {
            claimable: payee.ears.claimable.expect(payment_hash),
            ended: payer.ears.ended.expect(payment_hash),
        }
    }

    /// Waits for it. `hold` is what the hold took, `released` when the release began.
    pub(crate) async fn outcome(self, hold: Duration, released: Instant) -> Result<Outcome, Failure> {
        let late = |_| Failure::wrong("a payment does not end");
        let gone = |_| Failure::wrong("a payment was forgotten");
        let ended = timeout(PAYMENT_TIMEOUT, self.ended).await.map_err(late)?.map_err(gone)?;
        Ok(match ended {
            Ended::Failed(reason) => Outcome::Failed(reason),
            Ended::Paid(paid) => {
                let arrived = timeout(PAYMENT_TIMEOUT, self.claimable).await.map_err(late)?.map_err(gone)?;
                let release = arrived.saturating_duration_since(released);
                Outcome::Paid(Times { hold, release, settle: paid.saturating_duration_since(arrived) })
            }
        })
    }
}
