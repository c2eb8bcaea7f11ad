-- Invoices that this wallet made. Amounts in millisatoshi, times in seconds since 1970.
CREATE TABLE invoice (
    payment_hash BYTEA  NOT NULL PRIMARY KEY CHECK (length(payment_hash) = 32),
    bolt11       TEXT   NOT NULL,
    amount_msat  BIGINT NOT NULL CHECK (amount_msat > 0),
    description  TEXT   NOT NULL,
    created_at   BIGINT NOT NULL,
    expires_at   BIGINT NOT NULL,
    -- What arrived: set once the money is ours.
    paid_msat    BIGINT,
    paid_at      BIGINT,
    CHECK ((paid_msat IS NULL) = (paid_at IS NULL))
);
