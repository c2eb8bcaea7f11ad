//! `payment_pending`: how the payee learns that it is being paid.

use lightning_invoice::Bolt11Invoice;
use node::{Node, NodeError};
use protocol::path::pending_path;
use protocol::units::BlockHeight;
use protocol::wire::PaymentPending;

use super::{CONTEXT_PENDING, negotiate};
use crate::Core;
use crate::error::WalletError;
use crate::store::payments::Payment;

impl Core {
    /// Sends the payee's news on its way through our LSP, whose hop says which hold it is for: the LSP keeps it, and sends it
    /// again until it is answered.
    pub(super) fn send_pending(&self, payment: &Payment, invoice: &Bolt11Invoice) -> Result<(), WalletError> {
        self.send_pending_until(payment, invoice, payment.deadline.unwrap_or_default())
    }

    /// Tells a payee that may have been told of the payment, or will be, that it is taken back: the same message with a deadline
    /// that has passed. It may get lost each time; the payee then waits for the payment in vain, as for one that it has no luck with.
    pub(super) fn withdraw_pending(&self, payment: &Payment) -> Result<(), WalletError> {
        let invoice = negotiate::parse(&payment.bolt11, self.config.network)?;
        self.send_pending_until(payment, &invoice, BlockHeight(0))
    }

    fn send_pending_until(
        &self,
        payment: &Payment,
        invoice: &Bolt11Invoice,
        deadline: BlockHeight,
    ) -> Result<(), WalletError> {
        let lsp = self.config.lsp.node_id;
        let pid = self.pid(payment);
        let payee = invoice.get_payee_pub_key();
        let payees_lsp = Node::payees_lsp(invoice);
        let path = pending_path(&self.node.session_key()?, lsp, payees_lsp, payee, pid.hash())
            .map_err(|error| NodeError::Refused { action: "building a path", reason: error.to_string() })?;
        let mut context = vec![CONTEXT_PENDING];
        context.extend_from_slice(&payment.payment_hash.0);
        let reply_path = self.node.unblocking_reply_path(lsp, &pid, context)?;
        let message = PaymentPending {
            payment_hash: payment.payment_hash,
            amount: payment.amount,
            pid,
            deadline,
            payer_and_lsp: self.config.show_payer.then(|| (self.node.node_id(), lsp)),
        };
        self.node.send_along(path, message.into(), Some(reply_path))?;
        Ok(())
    }
}
