-- One index has all that keeping a message asks of its recipient's box: whether the same packet waits, and how much waits, in all and
-- from one peer. So a message costs the end of the table and one page of the index, however many wait for others. That the same packet
-- waits once is seen to by the one who keeps it, in the transaction that does.
CREATE TABLE mailbox_message_boxed (
    id            INTEGER PRIMARY KEY AUTOINCREMENT,
    recipient     BLOB NOT NULL,
    -- The peer that delivered it, which proves nothing about who wrote it. NULL: this node itself.
    previous_hop  BLOB,
    -- SHA256 of `message`: the same packet, sent again, waits once.
    message_hash  BLOB NOT NULL,
    message       BLOB NOT NULL,
    message_bytes INTEGER NOT NULL,
    received_at   INTEGER NOT NULL,
    expires_at    INTEGER NOT NULL,
    -- How often it was handed to a connection that did not last.
    deliveries    INTEGER NOT NULL
) STRICT;

INSERT INTO mailbox_message_boxed (id, recipient, previous_hop, message_hash, message, message_bytes, received_at, expires_at,
    deliveries)
SELECT id, recipient, previous_hop, message_hash, message, message_bytes, received_at, expires_at, deliveries
FROM mailbox_message ORDER BY id;

-- Ids that were given out are not given out again.
DELETE FROM sqlite_sequence WHERE name = 'mailbox_message_boxed';
INSERT INTO sqlite_sequence (name, seq) SELECT 'mailbox_message_boxed', seq FROM sqlite_sequence WHERE name = 'mailbox_message';

DROP TABLE mailbox_message;
ALTER TABLE mailbox_message_boxed RENAME TO mailbox_message;

CREATE INDEX mailbox_message_box ON mailbox_message (recipient, id, message_hash, previous_hop, message_bytes);
CREATE INDEX mailbox_message_expires_at ON mailbox_message (expires_at);
CREATE INDEX mailbox_message_received_at ON mailbox_message (received_at);
