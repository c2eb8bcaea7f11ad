//! LightningRod's messages as LDK's custom onion message contents.

use lightning::io;
use lightning::ln::msgs::DecodeError;
use lightning::onion_message::messenger::{
    CustomOnionMessageHandler, MessageSendInstructions, Responder, ResponseInstruction,
};
use protocol::wire::Message;

use crate::handler::{HandlerCell, IncomingMessage, ReplyTo};

/// Reads our messages and hands them on. Answers go out later, through [`crate::Node::reply`], when what they promise
/// is durable.
pub(crate) struct OnionContents {
    handler: HandlerCell,
}

impl OnionContents {
    pub(crate) fn new(handler: HandlerCell) -> Self {
        Self { handler }
    }
}

impl CustomOnionMessageHandler for OnionContents {
    type CustomMessage = Message;

    fn handle_custom_message(
        &self,
        message: Message,
        context: Option<Vec<u8>>,
        responder: Option<Responder>,
    ) -> Option<(Message, ResponseInstruction)> {
        if let Some(handler) = self.handler.get() {
            handler.message(IncomingMessage { message, context, reply_to: responder.map(ReplyTo) });
        }
        None
    }

    fn read_custom_message<R: io::Read>(
        &self,
        message_type: u64,
        buffer: &mut R,
    ) -> Result<Option<Message>, DecodeError> {
        Message::read(message_type, buffer)
    }

    fn release_pending_custom_messages(&self) -> Vec<(Message, MessageSendInstructions)> {
        Vec::new()
    }
}
