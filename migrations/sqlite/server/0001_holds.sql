-- One hold: the promise to a payer to keep the HTLCs of some payment hashes. `(payer, pid_hash)` is unique for good.
CREATE TABLE hold (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    payer BLOB NOT NULL,
    pid_hash BLOB NOT NULL,
    requested_deadline INTEGER NOT NULL,
    deadline INTEGER NOT NULL,
    state TEXT NOT NULL,
    cause TEXT,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    UNIQUE (payer, pid_hash)
);

CREATE INDEX hold_live ON hold (payer) WHERE state IN ('waiting', 'unblocked', 'failing');
CREATE INDEX hold_pid_hash ON hold (pid_hash);

-- The payment hashes of a hold, in the order of the request.
CREATE TABLE hold_hash (
    hold_id INTEGER NOT NULL REFERENCES hold (id),
    position INTEGER NOT NULL,
    payment_hash BLOB NOT NULL,
    PRIMARY KEY (hold_id, position)
);

CREATE INDEX hold_hash_payment_hash ON hold_hash (payment_hash);

-- One HTLC under a hold.
CREATE TABLE hold_part (
    intercept_id BLOB PRIMARY KEY,
    hold_id INTEGER NOT NULL REFERENCES hold (id),
    position INTEGER NOT NULL,
    payment_hash BLOB NOT NULL,
    inbound_channel_id BLOB NOT NULL,
    inbound_htlc_id INTEGER NOT NULL,
    inbound_amount_msat INTEGER NOT NULL,
    outbound_amount_msat INTEGER NOT NULL,
    inbound_expiry INTEGER,
    outgoing_expiry INTEGER NOT NULL,
    next_hop_scid BLOB NOT NULL,
    state TEXT NOT NULL,
    cause TEXT
);

CREATE INDEX hold_part_hold ON hold_part (hold_id, position);

-- The payer's payment_pending in the LSP's care: the packet as it leaves for its next hop, sent again until the hold is
-- unblocked, cancelled or over.
CREATE TABLE pending_message (
    hold_id INTEGER PRIMARY KEY REFERENCES hold (id),
    next_hop BLOB NOT NULL,
    message BLOB NOT NULL,
    attempts INTEGER NOT NULL,
    due_at INTEGER NOT NULL
);

CREATE INDEX pending_message_due ON pending_message (due_at);
