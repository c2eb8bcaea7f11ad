-- A message's id begins with its recipient's place, so that all that waits for one phone lies together, and ends with the number of its
-- arrival, counted here. Those that wait already keep the ids that they have: they come first, and are gone within a week.
ALTER TABLE mailbox_total ADD COLUMN last_arrival INTEGER NOT NULL DEFAULT -1;
UPDATE mailbox_total SET last_arrival = COALESCE((SELECT seq FROM sqlite_sequence WHERE name = 'mailbox_message'), 0);
