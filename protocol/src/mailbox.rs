//! How much may wait in the mailbox.
//!
//! Anyone can send a message to a phone, and who sent it cannot be known: only the previous hop is. So each previous hop
//! has a share of a recipient's box, and one of the whole, so that nobody fills it by sending to many phones. The last part of the
//! whole is kept for peer LSPs, through which strangers' messages come one by one, so that clients of this LSP cannot crowd them out.

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
    /// How much of what clients may fill of `total_max` one of them may, for all recipients, in percent.
    pub client_total_percent: u8,
    /// How much of `total_max` one peer LSP may fill, in percent. Many strangers' messages come through it, so it is more than a client's;
    /// it is a bound all the same, or one stranger behind it could fill the whole.
    pub peer_lsp_total_percent: u8,
    /// How much of `total_max` all peers without a channel together may fill, in percent: their keys cost nothing.
    pub strangers_total_percent: u8,
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
            client_total_percent: 6,
            peer_lsp_total_percent: 25,
            strangers_total_percent: 25,
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
    /// For all recipients from this sender: see [`MailboxLimits::sender_total_max`].
    pub sender_total: Usage,
    /// In all.
    pub total: Usage,
}

/// Who handed the message over. It proves nothing about who wrote it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sender {
    /// A client of this LSP: a peer with a channel that is not announced.
    Client,
    /// An LSP with a channel.
    PeerLsp,
    /// A peer without a channel.
    Stranger,
    /// This LSP itself. Its holds bound how much it sends, and nobody else counts with it.
    Own,
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
        /// [`MailboxLimits::sender_total_max`]
        SenderTotal = "sender_total",
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

    fn share(self, percent: u8) -> Self {
        let share = |whole: u64| (u128::from(whole) * u128::from(percent.min(100)) / 100) as u64;
        Self { messages: share(self.messages), bytes: share(self.bytes) }
    }

    fn without_reserve(self, percent: u8) -> Self {
        let reserve = self.share(percent);
        Self { messages: self.messages - reserve.messages, bytes: self.bytes - reserve.bytes }
    }

    fn at_least(self, other: Self) -> Self {
        Self { messages: self.messages.max(other.messages), bytes: self.bytes.max(other.bytes) }
    }
}

impl MailboxLimits {
    /// What may wait from one sender for all recipients together: one client, one peer LSP, or all strangers. Never less than what it may
    /// send to one of them; `None` for no such bound.
    #[must_use]
    pub fn sender_total_max(&self, sender: Sender) -> Option<Usage> {
        let share = match sender {
            Sender::Client => {
                self.total_max.without_reserve(self.peer_lsp_reserve_percent).share(self.client_total_percent)
            }
            Sender::PeerLsp => self.total_max.share(self.peer_lsp_total_percent),
            Sender::Stranger => self.total_max.share(self.strangers_total_percent),
            Sender::Own => return None,
        };
        Some(share.at_least(self.sender_max))
    }
}

/// Whether one more message of so many bytes may wait. Nothing that waits is ever displaced.
pub fn admit(limits: &MailboxLimits, usage: &MailboxUsage, sender: Sender, message_bytes: u64) -> Admission {
    let reserve = match sender {
        Sender::Client | Sender::Stranger => limits.peer_lsp_reserve_percent,
        Sender::PeerLsp | Sender::Own => 0,
    };
    if message_bytes > limits.message_bytes_max {
        Admission::Refuse(RefuseReason::MessageTooLong)
    } else if !usage.sender.fits(message_bytes, limits.sender_max) {
        Admission::Refuse(RefuseReason::SenderShare)
    } else if limits.sender_total_max(sender).is_some_and(|max| !usage.sender_total.fits(message_bytes, max))
    {
        Admission::Refuse(RefuseReason::SenderTotal)
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
        client_total_percent: 20,
        peer_lsp_total_percent: 40,
        strangers_total_percent: 30,
        peer_lsp_reserve_percent: 25,
    };

    fn usage(recipient: (u64, u64), sender: (u64, u64), total: (u64, u64)) -> MailboxUsage {
        let usage = |(messages, bytes)| Usage { messages, bytes };
        let sender_total = Usage::default();
        MailboxUsage { recipient: usage(recipient), sender: usage(sender), sender_total, total: usage(total) }
    }

    #[test]
    fn one_senders_part_of_the_whole_is_bounded() {
        let decide = |sender, messages, bytes| {
            let usage = MailboxUsage { sender_total: Usage { messages, bytes }, ..MailboxUsage::default() };
            admit(&LIMITS, &usage, sender, 100)
        };
        // A fifth of the three quarters that clients may fill; two fifths of the whole; three tenths of it.
        for (sender, messages, bytes) in
            [(Sender::Client, 15, 7_500), (Sender::PeerLsp, 40, 20_000), (Sender::Stranger, 30, 15_000)]
        {
            assert_eq!(LIMITS.sender_total_max(sender), Some(Usage { messages, bytes }));
            let refused = Admission::Refuse(RefuseReason::SenderTotal);
            assert_eq!(
                decide(sender, messages - 1, bytes - 100),
                Admission::Accept,
                "{sender:?}: the last one"
            );
            assert_eq!(decide(sender, messages, 0), refused, "{sender:?}");
            assert_eq!(decide(sender, 0, bytes - 99), refused, "{sender:?}");
            assert_eq!(decide(sender, u64::MAX, u64::MAX), refused, "{sender:?}");
        }
        assert_eq!(decide(Sender::Own, 1_000, 1_000_000), Admission::Accept);
        // In a small mailbox it may still fill its share of one box.
        let small = MailboxLimits { total_max: Usage { messages: 8, bytes: 8_000 }, ..LIMITS };
        assert_eq!(small.sender_total_max(Sender::Client), Some(LIMITS.sender_max));
        let default = MailboxLimits::default().sender_total_max(Sender::Client);
        assert_eq!(default, Some(Usage { messages: 22_500, bytes: 90_000_000 }));
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
