-- Invoices that this wallet made. Amounts in millisatoshi, times in seconds since 1970.
CREATE TABLE invoice (
    payment_hash BLOB    NOT NULL PRIMARY KEY CHECK (length(payment_hash) = 32),
    bolt11       TEXT    NOT NULL,
    amount_msat  INTEGER NOT NULL CHECK (amount_msat > 0),
    description  TEXT    NOT NULL,
    created_at   INTEGER NOT NULL,
    expires_at   INTEGER NOT NULL,
    -- What arrived: set once the money is ours.
    paid_msat    INTEGER,
    paid_at      INTEGER,
    CHECK ((paid_msat IS NULL) = (paid_at IS NULL))
) STRICT, WITHOUT ROWID;
