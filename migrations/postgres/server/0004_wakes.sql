-- The outbox: one reason for one node to come online.
CREATE TABLE wake (
    id         BIGINT PRIMARY KEY DEFAULT next_row_id('wake'),
    -- The opaque id that the pushes carry; NULL until the first one.
    wake_id    BYTEA UNIQUE,
    node_id    BYTEA NOT NULL,
    reason     TEXT NOT NULL,
    -- What the wake is about: a payment, or the mailbox.
    wake_group BYTEA NOT NULL,
    -- Grows when the reason comes again while the wake is open.
    gen        BIGINT NOT NULL,
    -- open, acknowledged (the phone came), ended (the reason is gone), expired
    state      TEXT NOT NULL,
    opened_at  BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    -- When it is looked at next; while pushes are under way, the end of the lease on it.
    due_at     BIGINT NOT NULL,
    -- The position in the schedule.
    step       BIGINT NOT NULL,
    -- Attempts made so far. Also the lease's token: only the latest attempt sets the next time.
    attempts   BIGINT NOT NULL
);

CREATE UNIQUE INDEX wake_open ON wake (node_id, reason, wake_group) WHERE state = 'open';
CREATE INDEX wake_due ON wake (due_at) WHERE state = 'open';
CREATE INDEX wake_expires_at ON wake (expires_at);

-- One push to one device. It is written before the push leaves: without a verdict, its outcome is not known.
CREATE TABLE wake_attempt (
    id                      BIGINT PRIMARY KEY DEFAULT next_row_id('wake_attempt'),
    wake                    BIGINT NOT NULL REFERENCES wake (id) ON DELETE CASCADE,
    device_id               BYTEA NOT NULL,
    reason                  TEXT NOT NULL,
    sent_at                 BIGINT NOT NULL,
    verdict                 TEXT,
    why                     TEXT,
    -- How long the provider took to answer.
    answered_ms             BIGINT,
    -- How long after the push the phone was here.
    connected_after_seconds BIGINT
);

CREATE INDEX wake_attempt_wake ON wake_attempt (wake);
CREATE INDEX wake_attempt_device ON wake_attempt (device_id, reason, sent_at);
