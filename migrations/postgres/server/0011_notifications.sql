-- The outbox, and the ledger, of notifications that other services ask for (breez/notify's interface). What they say, and where
-- they go, is sealed.
CREATE TABLE notification (
    id            BIGINT PRIMARY KEY DEFAULT next_row_id('notification'),
    notification_id BYTEA NOT NULL UNIQUE,
    -- Its notification_type.
    template      TEXT NOT NULL,
    platform      TEXT NOT NULL,
    -- Token and content, sealed as one.
    sealed        BYTEA NOT NULL,
    token_key     BYTEA NOT NULL,
    -- A keyed hash of the token, and one of token and content: for the bound of one phone, and for who asks twice.
    token_index   BYTEA NOT NULL,
    content_index BYTEA NOT NULL,
    -- open, accepted, refused (this push, or its phone), expired
    state         TEXT NOT NULL,
    opened_at     BIGINT NOT NULL,
    expires_at    BIGINT NOT NULL,
    -- When it is pushed next; while a push is under way, the end of the lease on it.
    due_at        BIGINT NOT NULL,
    -- 1 while a push is under way.
    leased        BIGINT NOT NULL,
    attempts      BIGINT NOT NULL,
    -- What the provider's last answer meant.
    verdict       TEXT,
    why           TEXT,
    answered_ms   BIGINT
);

CREATE UNIQUE INDEX notification_open ON notification (content_index) WHERE state = 'open';
CREATE INDEX notification_due ON notification (due_at) WHERE state = 'open';
CREATE INDEX notification_token ON notification (token_index, opened_at);
CREATE INDEX notification_opened_at ON notification (opened_at);
