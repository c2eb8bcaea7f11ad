-- What waits from one sender, for whomever: the bound on it must not cost a look at all of it. Whoever keeps a message adds it; the
-- database itself takes it off, whatever removes the row. A row is a sender for whom a message counts: a peer's node id, or the one
-- byte 0 for all peers without a channel together.
CREATE TABLE mailbox_sender (
    counts_for BLOB PRIMARY KEY,
    messages   INTEGER NOT NULL,
    bytes      INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- NULL counts for nobody: this node's own messages, and those that wait already, which are gone within a week.
ALTER TABLE mailbox_message ADD COLUMN counts_for BLOB;

-- As in the sum of all that waits, a length that no version wrote counts nothing. A sum that would be less than nothing is -1: it cannot
-- be read, and is counted anew.
CREATE TRIGGER mailbox_message_removed AFTER DELETE ON mailbox_message WHEN OLD.counts_for IS NOT NULL
BEGIN
UPDATE mailbox_sender SET messages = messages - 1,
bytes = CASE WHEN bytes < CASE WHEN OLD.message_bytes BETWEEN 0 AND 65535 THEN OLD.message_bytes ELSE 0 END THEN -1
ELSE bytes - CASE WHEN OLD.message_bytes BETWEEN 0 AND 65535 THEN OLD.message_bytes ELSE 0 END END
WHERE counts_for = OLD.counts_for AND messages > 0;
DELETE FROM mailbox_sender WHERE counts_for = OLD.counts_for AND messages = 0;
END;
