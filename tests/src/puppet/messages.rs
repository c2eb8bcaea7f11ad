//! What a puppet says.

use bitcoin::secp256k1::PublicKey;
use hex::DisplayHex;
use lightning_invoice::Bolt11Invoice;
use lightning_types::payment::PaymentHash;
use node::{Destination, Node, NodeError, ReplyTo};
use protocol::ids::{Pid, PidHash};
use protocol::path::{HopTlvs, build_path, payee_unblock_path, pending_path};
use protocol::units::{BlockHeight, Msat};
use protocol::wire::{
    BlockAnswer, HoldStateCode, HoldStatus, Message, PayeeRefusal, PaymentBlock, PaymentBlockAck,
    PaymentCancel, PaymentPending, PaymentRefused, PaymentStatus, PaymentStatusReply, PaymentUnblock,
};

use super::Puppet;
use crate::failure::Failure;
use crate::wait::{SOON, Seen, wait_until};

/// A payment_pending that came, and where its answer goes.
#[derive(Clone, Debug)]
pub struct ReceivedPending {
    /// What it says.
    pub pending: PaymentPending,
    /// The payer's reply path.
    pub reply_to: ReplyTo,
}

fn wrong(error: &NodeError) -> Failure {
    Failure::wrong(xtask::with_causes(error))
}

impl Puppet {
    fn sign(&self, text: &[u8]) -> Result<String, ()> {
        let text = std::str::from_utf8(text).map_err(|_| ())?;
        self.node.sign(text).map_err(|_| ())
    }

    /// A pid that nobody else has.
    pub fn new_pid(&self) -> Pid {
        Pid(self.node.random_bytes())
    }

    /// Sends a message to its LSP with a reply path, and waits for the first answer that `pick` takes. Onion messages get lost,
    /// so it asks until it is answered.
    async fn ask<T>(
        &self,
        question: &Message,
        mut pick: impl FnMut(&Message) -> Option<T>,
    ) -> Result<T, Failure> {
        let mut looks = 0_u32;
        wait_until(&format!("an answer to {}", self.name), SOON, async || {
            // Every two seconds.
            if looks.is_multiple_of(40) {
                self.send_to_lsp(question.clone())?;
            }
            looks += 1;
            Ok(match self.strings.take_message(|incoming| pick(&incoming.message)) {
                Some(answer) => Seen::Done(answer),
                None => Seen::NotYet("nothing".to_owned()),
            })
        })
        .await
    }

    /// A signed request to hold HTLCs with these hashes.
    ///
    /// # Errors
    ///
    /// When it cannot be signed.
    pub fn block_request(
        &self,
        pid: &Pid,
        payment_hashes: Vec<PaymentHash>,
        deadline: BlockHeight,
    ) -> Result<PaymentBlock, Failure> {
        PaymentBlock::sign(self.node_id(), pid.hash(), payment_hashes, deadline, &self.lsp, |text| {
            self.sign(text)
        })
        .map_err(|error| Failure::wrong(xtask::with_causes(&error)))
    }

    /// Sends a payment_block to its LSP and waits for the answer.
    ///
    /// # Errors
    ///
    /// When none comes.
    pub async fn block(
        &self,
        pid: &Pid,
        payment_hashes: Vec<PaymentHash>,
        deadline: BlockHeight,
    ) -> Result<BlockAnswer, Failure> {
        let request = self.block_request(pid, payment_hashes, deadline)?;
        self.ask(&request.into(), |message| match message {
            Message::PaymentBlockAck(PaymentBlockAck { pid_hash, answer }) if *pid_hash == pid.hash() => {
                Some(answer.clone())
            }
            _ => None,
        })
        .await
    }

    /// A pid as operators are given it.
    pub fn pid_in_hex(&self, pid: &Pid) -> String {
        pid.0.to_lower_hex_string()
    }

    /// Sends a message to its LSP, with a reply path.
    ///
    /// # Errors
    ///
    /// When it cannot be sent.
    pub fn send_to_lsp(&self, message: Message) -> Result<(), Failure> {
        self.node
            .send(message, Destination::Node(self.lsp), Some(b"ask".to_vec()))
            .map_err(|error| wrong(&error))
    }

    /// Sends a message to its LSP through somebody else's phone, as if that phone's owner had something to do with it.
    ///
    /// # Errors
    ///
    /// When it cannot be sent.
    pub fn send_to_lsp_through(&self, phone: PublicKey, message: Message) -> Result<(), Failure> {
        let hops = [
            (self.lsp, HopTlvs::forward_to(phone).plaintext()),
            (phone, HopTlvs::forward_to(self.lsp).plaintext()),
            (self.lsp, HopTlvs::last().plaintext()),
        ];
        let session_key = self.node.session_key().map_err(|error| wrong(&error))?;
        let path =
            build_path(&session_key, &hops).map_err(|error| Failure::wrong(xtask::with_causes(&error)))?;
        // An answer goes the short way.
        let reply_path = self
            .node
            .unblocking_reply_path(self.lsp, &self.new_pid(), b"ask".to_vec())
            .map_err(|error| wrong(&error))?;
        self.node.send_along(path, message, Some(reply_path)).map_err(|error| wrong(&error))
    }

    /// Waits for a payment_block_ack that nobody here waits for yet.
    ///
    /// # Errors
    ///
    /// When none comes.
    pub async fn wait_for_ack(&self, pid: &Pid) -> Result<BlockAnswer, Failure> {
        wait_until(&format!("an ack for {}", self.name), SOON, async || {
            let taken = self.strings.take_message(|incoming| match &incoming.message {
                Message::PaymentBlockAck(ack) if ack.pid_hash == pid.hash() => Some(ack.answer.clone()),
                _ => None,
            });
            Ok(taken.map_or_else(|| Seen::NotYet("nothing".to_owned()), Seen::Done))
        })
        .await
    }

    /// Asks what became of a hold.
    ///
    /// # Errors
    ///
    /// When no answer comes, or one without this hold.
    pub async fn status(&self, pid: &Pid) -> Result<HoldStatus, Failure> {
        let pid_hash = pid.hash();
        let question = PaymentStatus::sign(self.node_id(), Some(pid_hash), &self.lsp, |text| self.sign(text))
            .map_err(|error| Failure::wrong(xtask::with_causes(&error)))?;
        self.ask(&question.into(), |message| hold_in(message, pid_hash)).await
    }

    /// Cancels a hold, and returns what became of it.
    ///
    /// # Errors
    ///
    /// When no answer comes.
    pub async fn cancel(&self, pid: &Pid) -> Result<HoldStatus, Failure> {
        let pid_hash = pid.hash();
        let question = PaymentCancel::sign(self.node_id(), pid_hash, &self.lsp, |text| self.sign(text))
            .map_err(|error| Failure::wrong(xtask::with_causes(&error)))?;
        self.ask(&question.into(), |message| hold_in(message, pid_hash)).await
    }

    /// Waits until the LSP says that it holds `parts` HTLCs.
    ///
    /// # Errors
    ///
    /// When it does not in time.
    pub async fn wait_until_held(&self, pid: &Pid, parts: u16) -> Result<HoldStatus, Failure> {
        wait_until(&format!("{parts} HTLCs of {} to be held", self.name), SOON, async || {
            let status = self.status(pid).await?;
            let held: u16 = status.hashes.iter().map(|hash| hash.held_parts).sum();
            Ok(if status.state == HoldStateCode::Held && held == parts {
                Seen::Done(status)
            } else {
                Seen::NotYet(format!("{status:?}"))
            })
        })
        .await
    }

    /// A truthful payment_pending for an invoice. Tests change it.
    pub fn pending_for(&self, invoice: &Bolt11Invoice, pid: &Pid, deadline: BlockHeight) -> PaymentPending {
        PaymentPending {
            payment_hash: invoice.payment_hash(),
            amount: Msat(invoice.amount_milli_satoshis().unwrap_or_default()),
            pid: *pid,
            deadline,
            payer_and_lsp: None,
        }
    }

    /// Sends a payment_pending to the payee of `invoice`, whatever it says.
    ///
    /// # Errors
    ///
    /// When it cannot be sent.
    pub fn send_pending(&self, invoice: &Bolt11Invoice, pending: PaymentPending) -> Result<(), Failure> {
        let payee = invoice.get_payee_pub_key();
        let session_key = self.node.session_key().map_err(|error| wrong(&error))?;
        let path = pending_path(&session_key, self.lsp, Node::payees_lsp(invoice), payee, pending.pid.hash())
            .map_err(|error| Failure::wrong(xtask::with_causes(&error)))?;
        let reply_path = self
            .node
            .unblocking_reply_path(self.lsp, &pending.pid, b"pending".to_vec())
            .map_err(|error| wrong(&error))?;
        self.node.send_along(path, pending.into(), Some(reply_path)).map_err(|error| wrong(&error))
    }

    /// Waits for a payment_pending with this hash.
    ///
    /// # Errors
    ///
    /// When none comes.
    pub async fn wait_for_pending(&self, hash: PaymentHash) -> Result<ReceivedPending, Failure> {
        wait_until(&format!("payment_pending at {}", self.name), SOON, async || {
            let taken = self.strings.take_message(|incoming| match &incoming.message {
                Message::PaymentPending(pending) if pending.payment_hash == hash => {
                    let reply_to = incoming.reply_to.clone()?;
                    Some(ReceivedPending { pending: pending.clone(), reply_to })
                }
                _ => None,
            });
            Ok(taken.map_or_else(|| Seen::NotYet("nothing".to_owned()), Seen::Done))
        })
        .await
    }

    /// How many payment_pending messages came, but for those that were waited for.
    pub fn pending_heard(&self) -> usize {
        self.strings.count_messages(|incoming| matches!(incoming.message, Message::PaymentPending(_)))
    }

    /// Waits for a payee's refusal.
    ///
    /// # Errors
    ///
    /// When none comes.
    pub async fn wait_for_refusal(&self, hash: PaymentHash) -> Result<PayeeRefusal, Failure> {
        wait_until(&format!("a refusal at {}", self.name), SOON, async || {
            let taken = self.strings.take_message(|incoming| match &incoming.message {
                Message::PaymentRefused(PaymentRefused { payment_hash, reason, .. })
                    if *payment_hash == hash =>
                {
                    Some(*reason)
                }
                _ => None,
            });
            Ok(taken.map_or_else(|| Seen::NotYet("nothing".to_owned()), Seen::Done))
        })
        .await
    }

    /// Says yes along the payer's reply path.
    ///
    /// # Errors
    ///
    /// When it cannot be sent.
    pub fn unblock(&self, received: &ReceivedPending) -> Result<(), Failure> {
        let yes = PaymentUnblock { payment_hash: received.pending.payment_hash };
        self.node.reply(received.reply_to.clone(), yes.into()).map_err(|error| wrong(&error))
    }

    /// Says yes along a path of its own making: to `payer` through `payers_lsp`, whose hop carries `pid`.
    ///
    /// # Errors
    ///
    /// When it cannot be sent.
    pub fn unblock_along_own_path(
        &self,
        hash: PaymentHash,
        (payer, payers_lsp): (PublicKey, PublicKey),
        pid: Pid,
    ) -> Result<(), Failure> {
        let session_key = self.node.session_key().map_err(|error| wrong(&error))?;
        let path = payee_unblock_path(&session_key, Some(self.lsp), payers_lsp, payer, pid)
            .map_err(|error| Failure::wrong(xtask::with_causes(&error)))?;
        let yes = PaymentUnblock { payment_hash: hash };
        self.node.send_along(path, yes.into(), None).map_err(|error| wrong(&error))
    }
}

fn hold_in(message: &Message, pid_hash: PidHash) -> Option<HoldStatus> {
    match message {
        Message::PaymentStatusReply(PaymentStatusReply { holds, .. }) => {
            holds.iter().find(|hold| hold.pid_hash == pid_hash).cloned()
        }
        _ => None,
    }
}
