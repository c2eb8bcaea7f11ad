//! What a payer says to its LSP about its holds.

use lightning_types::payment::PaymentHash;
use protocol::ids::PidHash;
use protocol::units::BlockHeight;
use protocol::wire::{
    BlockAnswer, HoldStatus, Message, PaymentBlock, PaymentCancel, PaymentStatus, SignError,
};

use crate::Core;
use crate::error::WalletError;

impl Core {
    /// `payment_block`: asks for a hold.
    pub(super) async fn ask_block(
        &self,
        pid_hash: PidHash,
        payment_hash: PaymentHash,
        deadline: BlockHeight,
    ) -> Result<BlockAnswer, WalletError> {
        let lsp = self.config.lsp.node_id;
        let payer = self.node.node_id();
        let question =
            PaymentBlock::sign(payer, pid_hash, vec![payment_hash], deadline, &lsp, |text| self.sign(text));
        match self.ask(question.map_err(unsigned)?.into()).await? {
            Message::PaymentBlockAck(ack) if ack.pid_hash == pid_hash => Ok(ack.answer),
            _ => Err(WalletError::UnexpectedAnswer),
        }
    }

    /// `payment_status`: asks for one hold, or for all of them.
    pub(crate) async fn ask_status(&self, pid_hash: Option<PidHash>) -> Result<Vec<HoldStatus>, WalletError> {
        let lsp = self.config.lsp.node_id;
        let question = PaymentStatus::sign(self.node.node_id(), pid_hash, &lsp, |text| self.sign(text));
        self.ask_holds(question.map_err(unsigned)?.into()).await
    }

    /// `payment_cancel`: asks to fail a hold back; gives what became of it, or `None` if the LSP knows no such hold.
    pub(super) async fn ask_cancel(&self, pid_hash: PidHash) -> Result<Option<HoldStatus>, WalletError> {
        let lsp = self.config.lsp.node_id;
        let question = PaymentCancel::sign(self.node.node_id(), pid_hash, &lsp, |text| self.sign(text));
        let holds = self.ask_holds(question.map_err(unsigned)?.into()).await?;
        Ok(holds.into_iter().find(|hold| hold.pid_hash == pid_hash))
    }

    async fn ask_holds(&self, question: Message) -> Result<Vec<HoldStatus>, WalletError> {
        match self.ask(question).await? {
            Message::PaymentStatusReply(reply) => Ok(reply.holds),
            _ => Err(WalletError::UnexpectedAnswer),
        }
    }

    fn sign(&self, text: &[u8]) -> Result<String, ()> {
        let text = std::str::from_utf8(text).map_err(|_| ())?;
        self.node.sign(text).map_err(|_| ())
    }
}

fn unsigned(error: SignError) -> WalletError {
    node::NodeError::Refused { action: "signing", reason: error.to_string() }.into()
}
