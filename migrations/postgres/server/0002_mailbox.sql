-- Onion messages that wait for an offline peer, in order of arrival.
CREATE TABLE mailbox_message (
    id            BIGINT PRIMARY KEY DEFAULT next_row_id('mailbox_message'),
    recipient     BYTEA NOT NULL,
    -- The peer that delivered it, which proves nothing about who wrote it. NULL: this node itself.
    previous_hop  BYTEA,
    -- SHA256 of `message`: the same packet, sent again, waits once.
    message_hash  BYTEA NOT NULL,
    message       BYTEA NOT NULL,
    message_bytes BIGINT NOT NULL,
    received_at   BIGINT NOT NULL,
    expires_at    BIGINT NOT NULL,
    -- How often it was handed to a connection that did not last.
    deliveries    BIGINT NOT NULL,
    UNIQUE (recipient, message_hash)
);

CREATE INDEX mailbox_message_recipient ON mailbox_message (recipient, id);
CREATE INDEX mailbox_message_expires_at ON mailbox_message (expires_at);

-- The sum over `mailbox_message`, kept with every change of it: the bound on the whole must not cost a scan of it.
CREATE TABLE mailbox_total (
    id       BIGINT PRIMARY KEY CHECK (id = 1),
    messages BIGINT NOT NULL CHECK (messages >= 0),
    bytes    BIGINT NOT NULL CHECK (bytes >= 0)
);

INSERT INTO mailbox_total (id, messages, bytes) VALUES (1, 0, 0);
