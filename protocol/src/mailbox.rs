//! How much may wait in the mailbox.
//!
//! Anyone can send a message to a phone, and who sent it cannot be known: only the previous hop is. So each previous hop
//! has a share of a recipient's box, and the last part of the whole is kept for peer LSPs, through which strangers' messages
//! come one by one, so that a client of this LSP cannot crowd them out.

use crate::codes::coded_enum;

/// The most that may wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MailboxLimits {
    /// The longest message, in bytes. An onion message is about 1.4 KB, or 32 KB in the large size of BOLT 4.
    pub message_bytes_max: u64,
    /// What may wait for one recipient.
    pub recipient_max: Usage,
    /// What may wait for one recipient from one previous hop.
    pub sender_max: Usage,
    /// What may wait in all.
    pub total_max: Usage,
    /// How much of `recipient_max` and `total_max` only peer LSPs may fill, in percent; at most 100.
    pub peer_lsp_reserve_percent: u8,
}

impl Default for MailboxLimits {
    fn default() -> Self {
        Self {
            message_bytes_max: 33_000,
            recipient_max: Usage { messages: 200, bytes: 1_000_000 },
            sender_max: Usage { messages: 50, bytes: 250_000 },
            total_max: Usage { messages: 500_000, bytes: 2_000_000_000 },
            peer_lsp_reserve_percent: 25,
        }
    }
}

/// So many messages with so many bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Messages.
    pub messages: u64,
    /// Their bytes, as stored.
    pub bytes: u64,
}

/// What waits already.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MailboxUsage {
    /// For this recipient.
    pub recipient: Usage,
    /// For this recipient from this previous hop.
    pub sender: Usage,
    /// In all.
    pub total: Usage,
}

/// Who handed the message over. It proves nothing about who wrote it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sender {
    /// A client of this LSP, or a peer that is not known.
    Client,
    /// An LSP with a channel, or this LSP itself.
    PeerLsp,
}

/// Whether the message is stored.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// Store it.
    Accept,
    /// Drop it, count it, and say why in the log.
    Refuse(RefuseReason),
}

coded_enum! {
    /// Which bound refused a message: the label of its metric.
    pub enum RefuseReason ("mailbox refusal") {
        /// [`MailboxLimits::message_bytes_max`]
        MessageTooLong = "message_too_long",
        /// [`MailboxLimits::sender_max`]
        SenderShare = "sender_share",
        /// [`MailboxLimits::recipient_max`]
        RecipientFull = "recipient_full",
        /// [`MailboxLimits::total_max`]
        MailboxFull = "mailbox_full",
    }
}

impl Usage {
    fn fits(self, message_bytes: u64, max: Self) -> bool {
        self.messages < max.messages && self.bytes.saturating_add(message_bytes) <= max.bytes
    }

    fn without_reserve(self, percent: u8) -> Self {
        let share = |whole: u64| whole - (u128::from(whole) * u128::from(percent.min(100)) / 100) as u64;
        Self { messages: share(self.messages), bytes: share(self.bytes) }
    }
}

/// Whether one more message of so many bytes may wait. Nothing that waits is ever displaced.
pub fn admit(limits: &MailboxLimits, usage: &MailboxUsage, sender: Sender, message_bytes: u64) -> Admission {
    let reserve = match sender {
        Sender::Client => limits.peer_lsp_reserve_percent,
        Sender::PeerLsp => 0,
    };
    if message_bytes > limits.message_bytes_max {
        Admission::Refuse(RefuseReason::MessageTooLong)
    } else if !usage.sender.fits(message_bytes, limits.sender_max) {
        Admission::Refuse(RefuseReason::SenderShare)
    } else if !usage.recipient.fits(message_bytes, limits.recipient_max.without_reserve(reserve)) {
        Admission::Refuse(RefuseReason::RecipientFull)
    } else if !usage.total.fits(message_bytes, limits.total_max.without_reserve(reserve)) {
        Admission::Refuse(RefuseReason::MailboxFull)
    } else {
        Admission::Accept
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: MailboxLimits = MailboxLimits {
        message_bytes_max: 1_000,
        recipient_max: Usage { messages: 8, bytes: 8_000 },
        sender_max: Usage { messages: 4, bytes: 3_000 },
        total_max: Usage { messages: 100, bytes: 50_000 },
        peer_lsp_reserve_percent: 25,
    };

    fn usage(recipient: (u64, u64), sender: (u64, u64), total: (u64, u64)) -> MailboxUsage {
        let usage = |(messages, bytes)| Usage { messages, bytes };
        MailboxUsage { recipient: usage(recipient), sender: usage(sender), total: usage(total) }
    }

    #[test]
    fn each_bound_refuses_at_its_edge() {
        let decide = |usage, bytes| admit(&LIMITS, &usage, Sender::PeerLsp, bytes);
        let empty = MailboxUsage::default();
        assert_eq!(decide(empty, 1_000), Admission::Accept);
        assert_eq!(decide(empty, 1_001), Admission::Refuse(RefuseReason::MessageTooLong));
        assert_eq!(decide(usage((3, 0), (3, 2_000), (3, 0)), 1_000), Admission::Accept);
        assert_eq!(
            decide(usage((3, 0), (3, 2_001), (3, 0)), 1_000),
            Admission::Refuse(RefuseReason::SenderShare)
        );
        assert_eq!(decide(usage((4, 0), (4, 0), (4, 0)), 1), Admission::Refuse(RefuseReason::SenderShare));
        assert_eq!(decide(usage((7, 7_000), (0, 0), (7, 0)), 1_000), Admission::Accept);
        assert_eq!(decide(usage((8, 0), (0, 0), (8, 0)), 1), Admission::Refuse(RefuseReason::RecipientFull));
        assert_eq!(
            decide(usage((7, 7_001), (0, 0), (7, 0)), 1_000),
            Admission::Refuse(RefuseReason::RecipientFull)
        );
        assert_eq!(decide(usage((0, 0), (0, 0), (100, 0)), 1), Admission::Refuse(RefuseReason::MailboxFull));
        assert_eq!(
            decide(usage((0, 0), (0, 0), (99, u64::MAX)), 1),
            Admission::Refuse(RefuseReason::MailboxFull)
        );
    }

    #[test]
    fn the_reserve_is_for_peer_lsps() {
        let recipient_crowded = usage((6, 0), (0, 0), (6, 0));
        assert_eq!(
            admit(&LIMITS, &recipient_crowded, Sender::Client, 1),
            Admission::Refuse(RefuseReason::RecipientFull)
        );
        assert_eq!(admit(&LIMITS, &recipient_crowded, Sender::PeerLsp, 1), Admission::Accept);
        let crowded = usage((0, 0), (0, 0), (75, 0));
        assert_eq!(admit(&LIMITS, &crowded, Sender::Client, 1), Admission::Refuse(RefuseReason::MailboxFull));
        assert_eq!(admit(&LIMITS, &crowded, Sender::PeerLsp, 1), Admission::Accept);
    }
}
