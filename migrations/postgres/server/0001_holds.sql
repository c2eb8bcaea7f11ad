-- One hold: the promise to a payer to keep the HTLCs of some payment hashes. `(payer, pid_hash)` is unique for good.
CREATE TABLE hold (
    id BIGINT PRIMARY KEY DEFAULT next_row_id('hold'),
    payer BYTEA NOT NULL,
    pid_hash BYTEA NOT NULL,
    requested_deadline BIGINT NOT NULL,
    deadline BIGINT NOT NULL,
    state TEXT NOT NULL,
    cause TEXT,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    UNIQUE (payer, pid_hash)
);

CREATE INDEX hold_live ON hold (payer) WHERE state IN ('waiting', 'unblocked', 'failing');
CREATE INDEX hold_pid_hash ON hold (pid_hash);

-- The payment hashes of a hold, in the order of the request.
CREATE TABLE hold_hash (
    hold_id BIGINT NOT NULL REFERENCES hold (id),
    position BIGINT NOT NULL,
    payment_hash BYTEA NOT NULL,
    PRIMARY KEY (hold_id, position)
);

CREATE INDEX hold_hash_payment_hash ON hold_hash (payment_hash);

-- One HTLC under a hold.
CREATE TABLE hold_part (
    intercept_id BYTEA PRIMARY KEY,
    hold_id BIGINT NOT NULL REFERENCES hold (id),
    position BIGINT NOT NULL,
    payment_hash BYTEA NOT NULL,
    inbound_channel_id BYTEA NOT NULL,
    inbound_htlc_id BIGINT NOT NULL,
    inbound_amount_msat BIGINT NOT NULL,
    outbound_amount_msat BIGINT NOT NULL,
    inbound_expiry BIGINT,
    outgoing_expiry BIGINT NOT NULL,
    next_hop_scid BYTEA NOT NULL,
    state TEXT NOT NULL,
    cause TEXT
);

CREATE INDEX hold_part_hold ON hold_part (hold_id, position);

-- The payer's payment_pending in the LSP's care: the packet as it leaves for its next hop, sent again until the hold is
-- unblocked, cancelled or over.
CREATE TABLE pending_message (
    hold_id BIGINT PRIMARY KEY REFERENCES hold (id),
    next_hop BYTEA NOT NULL,
    message BYTEA NOT NULL,
    attempts BIGINT NOT NULL,
    due_at BIGINT NOT NULL
);

CREATE INDEX pending_message_due ON pending_message (due_at);
