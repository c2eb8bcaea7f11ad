-- The gateway that a due wake waits for, since it has as many pushes under way as it may; '' if it waits for none. Whoever
-- looks for what is due passes over those that wait.
ALTER TABLE wake ADD COLUMN lane TEXT NOT NULL DEFAULT '';

-- What is counted every few seconds is in the same index: one less to write for each push.
DROP INDEX wake_due;
DROP INDEX wake_opened_at;
CREATE INDEX wake_due ON wake (lane, due_at, opened_at) WHERE state = 'open';

-- The same as the beginning of wake_open.
DROP INDEX wake_open_of_node;
