-- What is held in all is summed for every HTLC that comes.
CREATE INDEX hold_part_held ON hold_part (inbound_amount_msat) WHERE state = 'held';

-- Holds that are over are forgotten in the order in which they ended.
CREATE INDEX hold_ended ON hold (updated_at) WHERE state NOT IN ('waiting', 'unblocked', 'failing');

-- Open wakes of one node for one reason are counted.
CREATE INDEX wake_open_of_node ON wake (node_id, reason) WHERE state = 'open';
