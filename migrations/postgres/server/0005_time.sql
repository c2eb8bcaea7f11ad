-- Since when a part is as it is, and a packet in our care: the oldest of each is watched.
ALTER TABLE hold_part ADD COLUMN updated_at BIGINT NOT NULL DEFAULT 0;
ALTER TABLE pending_message ADD COLUMN kept_at BIGINT NOT NULL DEFAULT 0;

-- What moves without a deadline's help, and what a deadline moves. The rest, most of what is held, is not looked at each second.
CREATE INDEX hold_moving ON hold (id) WHERE state IN ('unblocked', 'failing');
CREATE INDEX hold_part_moving ON hold_part (hold_id) WHERE state IN ('releasing', 'claimed', 'failing', 'failed_back');
CREATE INDEX hold_deadline ON hold (deadline) WHERE state IN ('waiting', 'unblocked', 'failing');

-- The rows that are not over, for what is counted every few seconds.
CREATE INDEX hold_part_live ON hold_part (state) WHERE state IN ('held', 'releasing', 'claimed', 'failing', 'failed_back');
CREATE INDEX wake_opened_at ON wake (opened_at) WHERE state = 'open';
CREATE INDEX mailbox_message_received_at ON mailbox_message (received_at);
