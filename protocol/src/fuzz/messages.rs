use lightning::onion_message::packet::OnionMessageContents;
use lightning::util::ser::Writeable;

use crate::testing::public;
use crate::wire::{Message, TYPES};

/// A body of the type that the first byte chooses. What is read is written to bytes that read the same, and no
/// forged signature verifies.
pub fn messages(data: &[u8]) {
    let Some((which, mut body)) = data.split_first() else { return };
    let message_type = TYPES[usize::from(*which) % TYPES.len()];
    let Ok(Some(message)) = Message::read(message_type, &mut body) else { return };
    assert_eq!(message.tlv_type(), message_type);
    let written = message.encode();
    assert_eq!(Message::read(message_type, &mut &written[..]), Ok(Some(message.clone())));
    // A key that this machine was never told the secret of: nothing that fuzzing makes up is signed for it.
    let lsp = public(77);
    match message {
        Message::PaymentBlock(block) => assert!(block.verify(&lsp).is_err()),
        Message::PaymentCancel(cancel) => assert!(cancel.verify(&lsp).is_err()),
        Message::PaymentStatus(status) => assert!(status.verify(&lsp).is_err()),
        _ => {}
    }
}
