-- What is due is looked for platform by platform, and what has expired by its expiry: neither goes through a whole backlog.
CREATE INDEX notification_due_of ON notification (platform, due_at, expires_at) WHERE state = 'open';
CREATE INDEX notification_expiry ON notification (expires_at) WHERE state = 'open';

-- Payment hashes that are none any more: each HTLC asks whether there are any.
CREATE INDEX hold_hash_lost ON hold_hash (hold_id) WHERE length(payment_hash) <> 32;
