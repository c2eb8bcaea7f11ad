//! `payment_pending`: how the payee learns that it is being paid.

use lightning_invoice::Bolt11Invoice;
use node::{Node, NodeError};
use protocol::path::pending_path;
use protocol::wire::PaymentPending;

use super::CONTEXT_PENDING;
use crate::Core;
use crate::error::WalletError;
use crate::store::payments::Payment;

impl Core {
    /// Sends the payee's news on its way through our LSP, whose hop says which hold it is for: the LSP keeps it, and sends it
    /// again until it is answered.
    pub(super) fn send_pending(&self, payment: &Payment, invoice: &Bolt11Invoice) -> Result<(), WalletError> {
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
            deadline: payment.deadline.unwrap_or_default(),
            payer_and_lsp: self.config.show_payer.then(|| (self.node.node_id(), lsp)),
        };
        self.node.send_along(path, message.into(), Some(reply_path))?;
        Ok(())
    }
}
