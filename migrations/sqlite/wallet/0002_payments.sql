-- Payments of this wallet, one row per invoice. The pid is not here: seed, hash and attempt give it.
CREATE TABLE payment (
    payment_hash       BLOB    NOT NULL PRIMARY KEY CHECK (length(payment_hash) = 32),
    -- Which attempt this row is about, from 0: each has a pid of its own.
    attempt            INTEGER NOT NULL,
    kind               TEXT    NOT NULL CHECK (kind IN ('asynchronous', 'ordinary')),
    bolt11             TEXT    NOT NULL,
    amount_msat        INTEGER NOT NULL CHECK (amount_msat > 0),
    state              TEXT    NOT NULL,
    -- Heights: what payment_block asked for, and what was granted.
    requested_deadline INTEGER,
    deadline           INTEGER,
    preimage           BLOB    CHECK (length(preimage) = 32),
    fee_msat           INTEGER,
    -- Why it failed, or is being cancelled.
    reason             TEXT,
    created_at         INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX payment_by_state ON payment (state);
