-- One index has all that keeping a message asks of its recipient's box: whether the same packet waits, and how much waits, in all and
-- from one peer. So a message costs the end of the table and one page of the index, however many wait for others. That the same packet
-- waits once is seen to by the one who keeps it, in the transaction that does.
ALTER TABLE mailbox_message DROP CONSTRAINT mailbox_message_recipient_message_hash_key;
DROP INDEX mailbox_message_recipient;

CREATE INDEX mailbox_message_box ON mailbox_message (recipient, id, message_hash, previous_hop, message_bytes);
