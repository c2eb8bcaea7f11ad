-- Answers that this wallet owes as a payee: one row for each payment_pending that names one of its invoices.
CREATE TABLE pending (
    payment_hash BYTEA  NOT NULL REFERENCES invoice (payment_hash),
    -- SHA256(pid): tells two payers of one invoice apart.
    pid_hash     BYTEA  NOT NULL CHECK (length(pid_hash) = 32),
    -- A height.
    deadline     BIGINT NOT NULL,
    -- unblocking: the answer is yes, repeated until the payment comes; arrived, expired: it came, or did not;
    -- refused: the answer was no, and the payment is failed if it comes.
    state        TEXT   NOT NULL CHECK (state IN ('unblocking', 'arrived', 'expired', 'refused')),
    -- LDK's serialization of the path that the answer takes.
    reply_to     BYTEA  NOT NULL,
    received_at  BIGINT NOT NULL,
    PRIMARY KEY (payment_hash, pid_hash)
);

CREATE INDEX pending_by_state ON pending (state);
