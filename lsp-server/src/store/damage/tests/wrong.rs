//! Values that no version of this program wrote.

use storage::testing::Scratch;

/// Which table is damaged how, and the row that is to be named.
pub(super) const DAMAGE: &[(&str, &str, &str)] = &[
    ("hold", "UPDATE hold SET payer = x'00' WHERE id = 1", "1"),
    ("hold", "UPDATE hold SET payer = 'moonlight' WHERE id = 1", "1"),
    ("hold", "UPDATE hold SET pid_hash = x'0102' WHERE id = 1", "1"),
    ("hold", "UPDATE hold SET deadline = -1 WHERE id = 1", "1"),
    ("hold", "UPDATE hold SET deadline = 9223372036854775807 WHERE id = 1", "1"),
    ("hold", "UPDATE hold SET state = 'moonlight' WHERE id = 1", "1"),
    ("hold", "UPDATE hold SET state = x'ff' WHERE id = 1", "1"),
    ("hold", "UPDATE hold SET state = 'settled' WHERE id = 1", "1"),
    ("hold", "UPDATE hold SET cause = 'moonlight' WHERE id = 1", "1"),
    ("hold", "UPDATE hold SET updated_at = -1 WHERE id = 1", "1"),
    ("hold", "DELETE FROM hold_hash WHERE hold_id = 1", "1"),
    ("hold_hash", "UPDATE hold_hash SET payment_hash = x'01' WHERE hold_id = 1", "1/0"),
    ("hold_hash", "UPDATE hold_hash SET payment_hash = 'moonlight' WHERE hold_id = 1", "1/0"),
    ("hold_part", "UPDATE hold_part SET intercept_id = x'01' WHERE hold_id = 1", "01"),
    ("hold_part", "UPDATE hold_part SET payment_hash = zeroblob(33) WHERE hold_id = 1", PART),
    ("hold_part", "UPDATE hold_part SET inbound_htlc_id = -1 WHERE hold_id = 1", PART),
    ("hold_part", "UPDATE hold_part SET inbound_amount_msat = -5 WHERE hold_id = 1", PART),
    ("hold_part", "UPDATE hold_part SET inbound_amount_msat = 9223372036854775807 WHERE hold_id = 1", PART),
    ("hold_part", "UPDATE hold_part SET inbound_expiry = -1 WHERE hold_id = 1", PART),
    ("hold_part", "UPDATE hold_part SET outgoing_expiry = 4294967296 WHERE hold_id = 1", PART),
    ("hold_part", "UPDATE hold_part SET next_hop_scid = x'01' WHERE hold_id = 1", PART),
    ("hold_part", "UPDATE hold_part SET state = 'moonlight' WHERE hold_id = 1", PART),
    ("hold_part", "UPDATE hold_part SET cause = 'moonlight' WHERE hold_id = 1", PART),
    ("pending_message", "UPDATE pending_message SET next_hop = x'02' WHERE hold_id = 1", "1"),
    ("pending_message", "UPDATE pending_message SET attempts = 9223372036854775807 WHERE hold_id = 1", "1"),
    ("pending_message", "UPDATE pending_message SET due_at = -1 WHERE hold_id = 1", "1"),
    ("mailbox_message", "UPDATE mailbox_message SET recipient = x'02' WHERE id % 1099511627776 = 1", MESSAGE),
    (
        "mailbox_message",
        "UPDATE mailbox_message SET previous_hop = zeroblob(33) WHERE id % 1099511627776 = 1",
        MESSAGE,
    ),
    ("mailbox_message", "UPDATE mailbox_message SET message = x'00' WHERE id % 1099511627776 = 1", MESSAGE),
    (
        "mailbox_message",
        "UPDATE mailbox_message SET message_bytes = -5 WHERE id % 1099511627776 = 1",
        MESSAGE,
    ),
    (
        "mailbox_message",
        "UPDATE mailbox_message SET message_bytes = 9223372036854775807 WHERE id % 1099511627776 = 1",
        MESSAGE,
    ),
    ("mailbox_message", "UPDATE mailbox_message SET received_at = -1 WHERE id % 1099511627776 = 1", MESSAGE),
    ("mailbox_message", "UPDATE mailbox_message SET expires_at = -1 WHERE id % 1099511627776 = 1", MESSAGE),
    ("mailbox_message", "UPDATE mailbox_message SET deliveries = -1 WHERE id % 1099511627776 = 1", MESSAGE),
    (
        "mailbox_message",
        "UPDATE mailbox_message SET deliveries = 9223372036854775807 WHERE id % 1099511627776 = 1",
        MESSAGE,
    ),
    (
        "device",
        "UPDATE device SET device_id = x'01' WHERE node_id = (SELECT recipient FROM mailbox_message WHERE id % 1099511627776 = 1)",
        "01",
    ),
    (
        "device",
        "UPDATE device SET node_id = x'01' WHERE node_id = (SELECT recipient FROM mailbox_message WHERE id % 1099511627776 = 1)",
        DEVICE,
    ),
    (
        "device",
        "UPDATE device SET platform = 'pigeon' WHERE node_id = (SELECT recipient FROM mailbox_message WHERE id % 1099511627776 = 1)",
        DEVICE,
    ),
    (
        "device",
        "UPDATE device SET registered_at = -1 WHERE node_id = (SELECT recipient FROM mailbox_message WHERE id % 1099511627776 = 1)",
        DEVICE,
    ),
    (
        "device",
        "UPDATE device SET paused_until = -1 WHERE node_id = (SELECT recipient FROM mailbox_message WHERE id % 1099511627776 = 1)",
        DEVICE,
    ),
    (
        "device",
        "UPDATE device SET environment = 'moon' WHERE node_id = (SELECT recipient FROM mailbox_message WHERE id % 1099511627776 = 1)",
        DEVICE,
    ),
    (
        "device",
        "UPDATE device SET token_key = x'01' WHERE node_id = (SELECT recipient FROM mailbox_message WHERE id % 1099511627776 = 1)",
        DEVICE,
    ),
    (
        "device",
        "UPDATE device SET sealed_token = NULL WHERE node_id = (SELECT recipient FROM mailbox_message WHERE id % 1099511627776 = 1)",
        DEVICE,
    ),
    (
        "device",
        "UPDATE device SET seal_key = x'01' WHERE node_id = (SELECT recipient FROM mailbox_message WHERE id % 1099511627776 = 1)",
        DEVICE,
    ),
    ("wake", "UPDATE wake SET wake_id = x'01' WHERE id = 1", "1"),
    ("wake", "UPDATE wake SET node_id = x'01' WHERE id = 1", "1"),
    ("wake", "UPDATE wake SET reason = 'boredom' WHERE id = 1", "1"),
    ("wake", "UPDATE wake SET wake_group = x'' WHERE id = 1", "1"),
    ("wake", "UPDATE wake SET state = 'asleep' WHERE id = 1", "1"),
    ("wake", "UPDATE wake SET opened_at = -1 WHERE id = 1", "1"),
    ("wake", "UPDATE wake SET expires_at = -1 WHERE id = 1", "1"),
    ("wake", "UPDATE wake SET due_at = -1 WHERE id = 1", "1"),
    ("wake", "UPDATE wake SET step = 4294967295 WHERE id = 1", "1"),
    ("wake", "UPDATE wake SET attempts = 4294967295 WHERE id = 1", "1"),
    ("wake", "UPDATE wake SET attempts = -1 WHERE id = 1", "1"),
    ("wake", "UPDATE wake SET put_off = 'why' WHERE id = 1", "1"),
    ("wake_attempt", "UPDATE wake_attempt SET device_id = x'01' WHERE id = 1", "1"),
    ("wake_attempt", "UPDATE wake_attempt SET sent_at = -1 WHERE id = 1", "1"),
    ("wake_attempt", "UPDATE wake_attempt SET answered_ms = -1 WHERE id = 1", "1"),
    ("wake_attempt", "UPDATE wake_attempt SET connected_after_seconds = -1 WHERE id = 1", "1"),
    ("notification", "UPDATE notification SET notification_id = x'01' WHERE id = 1", "1"),
    ("notification", "UPDATE notification SET platform = 'pigeon' WHERE id = 1", "1"),
    ("notification", "UPDATE notification SET token_key = x'01' WHERE id = 1", "1"),
    ("notification", "UPDATE notification SET token_index = x'01' WHERE id = 1", "1"),
    ("notification", "UPDATE notification SET content_index = x'01' WHERE id = 1", "1"),
    ("notification", "UPDATE notification SET state = 'moonlight' WHERE id = 1", "1"),
    ("notification", "UPDATE notification SET opened_at = -1 WHERE id = 1", "1"),
    ("notification", "UPDATE notification SET expires_at = -1 WHERE id = 1", "1"),
    ("notification", "UPDATE notification SET due_at = -1 WHERE id = 1", "1"),
    ("notification", "UPDATE notification SET leased = 2 WHERE id = 1", "1"),
    ("notification", "UPDATE notification SET attempts = -1 WHERE id = 1", "1"),
    ("notification", "UPDATE notification SET answered_ms = -1 WHERE id = 1", "1"),
];

/// What only a column takes that takes values of any type: SQLite's. Postgres refuses it, or makes a whole number of it.
pub(super) const LOOSE: &[(&str, &str, &str)] = &[
    ("hold", "UPDATE hold SET requested_deadline = 'moonlight' WHERE id = 1", "1"),
    ("hold", "UPDATE hold SET deadline = 'moonlight' WHERE id = 1", "1"),
    ("hold", "UPDATE hold SET deadline = 1.5 WHERE id = 1", "1"),
    ("hold", "UPDATE hold SET created_at = 'moonlight' WHERE id = 1", "1"),
    ("hold_part", "UPDATE hold_part SET inbound_channel_id = 7 WHERE hold_id = 1", PART),
    ("hold_part", "UPDATE hold_part SET inbound_amount_msat = 'moonlight' WHERE hold_id = 1", PART),
    ("hold_part", "UPDATE hold_part SET inbound_amount_msat = x'00' WHERE hold_id = 1", PART),
    ("hold_part", "UPDATE hold_part SET outbound_amount_msat = 0.5 WHERE hold_id = 1", PART),
    ("pending_message", "UPDATE pending_message SET message = 7 WHERE hold_id = 1", "1"),
    ("pending_message", "UPDATE pending_message SET attempts = 'moonlight' WHERE hold_id = 1", "1"),
    ("pending_message", "UPDATE pending_message SET kept_at = 'moonlight' WHERE hold_id = 1", "1"),
];

const MESSAGE: &str = "991462620114452481";
const PART: &str = "0101010101010101010101010101010101010101010101010101010101010101";
const DEVICE: &str = "01010101010101010101010101010101";

/// The statement as each kind of database writes bytes.
pub(super) fn dialect(scratch: &Scratch, sql: &'static str) -> &'static str {
    if scratch.is_postgres() {
        sql.replace("x'", "'\\x").replace("zeroblob(33)", "decode(repeat('00', 33), 'hex')").leak()
    } else {
        sql
    }
}
