-- A message's id begins with its recipient's place and ends with the number of its arrival, counted here. Those that wait already keep
-- the ids that they have: they come first, and are gone within a week.
ALTER TABLE mailbox_total ADD COLUMN last_arrival BIGINT NOT NULL DEFAULT -1;
UPDATE mailbox_total SET last_arrival = COALESCE((SELECT last FROM row_id WHERE of_table = 'mailbox_message'), 0);

ALTER TABLE mailbox_message ALTER COLUMN id DROP DEFAULT;
DELETE FROM row_id WHERE of_table = 'mailbox_message';
