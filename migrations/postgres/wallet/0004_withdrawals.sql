-- Whether the payee has yet to be told that the payment was taken back. Set with the cancellation of a payment that the payee
-- may have been told of; what is set survives the process that was about to tell it.
ALTER TABLE payment ADD COLUMN withdrawal_due BIGINT NOT NULL DEFAULT 0 CHECK (withdrawal_due IN (0, 1));

CREATE INDEX payment_by_withdrawal ON payment (payment_hash) WHERE withdrawal_due = 1;
