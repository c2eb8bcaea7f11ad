//! Payments that go on whatever becomes of the LSP meanwhile.

use std::time::{Duration, Instant};

use lightning_invoice::Bolt11Invoice;
use lightning_types::payment::PaymentHash;
use protocol::ids::Pid;
use protocol::units::BlockHeight;
use protocol::wire::{BlockAnswer, HoldStateCode};
use tests::failure::Failure;
use tests::lsp::Lsp;
use tests::puppet::{Ended, Puppet};
use tests::stage::PAYMENT_TIMEOUT;
use tests::wait::{Seen, wait_until};

use super::lane::Phones;
use super::{Repeated, insist};

const AMOUNT_MSAT: u64 = 2_000_000;
const HOLD_BLOCKS: u32 = 50;
/// Longer than an LSP waits before it sends a payment_pending again: 10 s, and the pause between two looks.
const LATE: Duration = Duration::from_secs(20);

/// A payment under a hold.
struct Held {
    invoice: Bolt11Invoice,
    pid: Pid,
    deadline: BlockHeight,
}

impl Held {
    fn hash(&self) -> PaymentHash {
        self.invoice.payment_hash()
    }
}

/// The main story: neither phone is ever there with the other. The payee comes when a push came and `come` says so, or
/// after [`LATE`].
pub(crate) async fn asleep(phones: &mut Phones, lsp: &Lsp, come: impl Fn() -> bool) -> Result<(), Failure> {
    let invoice = invoice(phones).await?;
    phones.payee_goes().await;
    let pushes = phones.pushes();
    let held = hold(phones.payer()?, invoice).await?;
    send_pending(phones.payer()?, &held).await?;
    phones.payer_goes().await;
    wait_for_push(phones, pushes).await?;
    let pushed = Instant::now();
    wait_until("the payee to come", PAYMENT_TIMEOUT, async || {
        let comes = come() || pushed.elapsed() >= LATE;
        Ok::<_, Failure>(if comes { Seen::Done(()) } else { Seen::NotYet("later".to_owned()) })
    })
    .await?;

    phones.payee_comes(lsp).await?;
    let payee = phones.payee()?;
    let received = payee.wait_for_pending(held.hash()).await?;
    let mut yes = Repeated::new();
    wait_until("the payee to be paid", PAYMENT_TIMEOUT, async || {
        if yes.is_due() {
            // Not while its LSP is dead.
            let _ = payee.unblock(&received);
        }
        let paid = payee.times_paid(held.hash()) > 0;
        Ok::<_, Failure>(if paid { Seen::Done(()) } else { Seen::NotYet("nothing came".to_owned()) })
    })
    .await?;
    phones.payer_comes(lsp).await?;
    expect(phones, held.hash(), true).await
}

/// The payer changes its mind.
pub(crate) async fn cancelled(phones: &Phones) -> Result<(), Failure> {
    let held = hold(phones.payer()?, invoice(phones).await?).await?;
    insist("the hold to be cancelled", async || {
        let status = phones.payer()?.cancel(&held.pid).await?;
        match status.state {
            HoldStateCode::Cancelled => Ok(()),
            other => Err(Failure::wrong(format!("{other:?}"))),
        }
    })
    .await?;
    expect(phones, held.hash(), false).await
}

/// No hold: the HTLC waits at the LSP for a payee that sleeps.
pub(crate) async fn ordinary(phones: &mut Phones, lsp: &Lsp) -> Result<(), Failure> {
    let invoice = invoice(phones).await?;
    phones.payee_goes().await;
    let pushes = phones.pushes();
    phones.payer()?.pay(&invoice, 0).await?;
    wait_for_push(phones, pushes).await?;
    phones.payee_comes(lsp).await?;
    expect(phones, invoice.payment_hash(), true).await
}

async fn invoice(phones: &Phones) -> Result<Bolt11Invoice, Failure> {
    phones.payer()?.wait_for_usable_channels(1).await?;
    phones.payee()?.wait_for_usable_channels(1).await?;
    phones.payee()?.invoice(AMOUNT_MSAT).await
}

async fn hold(payer: &Puppet, invoice: Bolt11Invoice) -> Result<Held, Failure> {
    let held = Held { invoice, pid: payer.new_pid(), deadline: payer.height().plus(HOLD_BLOCKS) };
    let deadline = held.deadline;
    let answer = insist("an answer to payment_block", async || {
        payer.block(&held.pid, vec![held.hash()], deadline).await
    })
    .await?;
    if answer != (BlockAnswer::Accepted { deadline }) {
        return Err(Failure::wrong(format!("the hold was not granted: {answer:?}")));
    }
    payer.pay(&held.invoice, HOLD_BLOCKS + 20).await?;
    insist("the HTLC to be held", async || {
        let status = payer.status(&held.pid).await?;
        let parts: u16 = status.hashes.iter().map(|hash| hash.held_parts).sum();
        match (status.state, parts) {
            (HoldStateCode::Held, 1) => Ok(()),
            _ => Err(Failure::wrong(format!("{status:?}, {:?}", payer.payment_ended(held.hash())))),
        }
    })
    .await?;
    Ok(held)
}

/// Until the LSP says that it has it, and the payer may go.
async fn send_pending(payer: &Puppet, held: &Held) -> Result<(), Failure> {
    let mut pending = Repeated::new();
    insist("payment_pending to be in the LSP's care", async || {
        if pending.is_due() {
            payer.send_pending(&held.invoice, payer.pending_for(&held.invoice, &held.pid, held.deadline))?;
        }
        let status = payer.status(&held.pid).await?;
        if status.pending_in_care { Ok(()) } else { Err(Failure::wrong(format!("{status:?}"))) }
    })
    .await
}

async fn wait_for_push(phones: &Phones, before: usize) -> Result<(), Failure> {
    wait_until("a push on the payee's phone", PAYMENT_TIMEOUT, async || {
        let pushes = phones.pushes();
        Ok::<_, Failure>(if pushes > before { Seen::Done(()) } else { Seen::NotYet(format!("{pushes}")) })
    })
    .await
}

/// Both sides agree, and nobody was paid twice.
async fn expect(phones: &Phones, hash: PaymentHash, paid: bool) -> Result<(), Failure> {
    let ended = phones.payer()?.wait_for_payment(hash, PAYMENT_TIMEOUT).await?;
    let times = phones.payee()?.times_paid(hash);
    if matches!(ended, Ended::Paid { .. }) == paid && times == usize::from(paid) {
        return Ok(());
    }
    Err(Failure::wrong(format!("{hash}: {ended:?} for the payer, paid {times} times")))
}
