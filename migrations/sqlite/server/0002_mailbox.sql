-- Onion messages that wait for an offline peer, in order of arrival.
CREATE TABLE mailbox_message (
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
    deliveries    INTEGER NOT NULL,
    UNIQUE (recipient, message_hash)
) STRICT;

CREATE INDEX mailbox_message_recipient ON mailbox_message (recipient, id);
CREATE INDEX mailbox_message_expires_at ON mailbox_message (expires_at);

-- The sum over `mailbox_message`, kept with every change of it: the bound on the whole must not cost a scan of it.
CREATE TABLE mailbox_total (
    id       INTEGER PRIMARY KEY CHECK (id = 1),
    messages INTEGER NOT NULL CHECK (messages >= 0),
    bytes    INTEGER NOT NULL CHECK (bytes >= 0)
) STRICT;

INSERT INTO mailbox_total (id, messages, bytes) VALUES (1, 0, 0);
