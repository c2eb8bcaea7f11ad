-- The payment that a refusal was for (LDK's PaymentId of its parts), once it came: a refusal counts against one payment, also if
-- that one is seen again after a crash. NULL: it has not come.
ALTER TABLE pending ADD COLUMN refused_payment BYTEA CHECK (refused_payment IS NULL OR length(refused_payment) = 32);
