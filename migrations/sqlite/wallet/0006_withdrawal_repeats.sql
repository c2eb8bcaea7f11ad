-- A message gets lost with an LSP that dies at the wrong moment, and nobody answers this one: the payee is told a few times. How often it
-- has been, and when last, in seconds since 1970.
ALTER TABLE payment ADD COLUMN withdrawals INTEGER NOT NULL DEFAULT 0;
ALTER TABLE payment ADD COLUMN withdrawn_at INTEGER;
