-- Why a due wake was not pushed when it was looked at last: no_device, connected, paused, cooldown, budget.
-- NULL: it was pushed, or was not due yet.
ALTER TABLE wake ADD COLUMN put_off TEXT;

CREATE INDEX wake_node ON wake (node_id, id);

-- The provider that was asked. The device may be gone.
ALTER TABLE wake_attempt ADD COLUMN platform TEXT;
