-- Payments of this wallet, one row per invoice. The pid is not here: seed, hash and attempt give it.
CREATE TABLE payment (
    payment_hash       BYTEA  NOT NULL PRIMARY KEY CHECK (length(payment_hash) = 32),
    -- Which attempt this row is about, from 0: each has a pid of its own.
    attempt            BIGINT NOT NULL,
    kind               TEXT   NOT NULL CHECK (kind IN ('asynchronous', 'ordinary')),
    bolt11             TEXT   NOT NULL,
    amount_msat        BIGINT NOT NULL CHECK (amount_msat > 0),
    state              TEXT   NOT NULL,
    -- Heights: what payment_block asked for, and what was granted.
    requested_deadline BIGINT,
    deadline           BIGINT,
    preimage           BYTEA  CHECK (length(preimage) = 32),
    fee_msat           BIGINT,
    -- Why it failed, or is being cancelled.
    reason             TEXT,
    created_at         BIGINT NOT NULL
);

CREATE INDEX payment_by_state ON payment (state);
