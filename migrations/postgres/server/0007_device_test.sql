-- When the owner last asked for a test push, in seconds since 1970.
ALTER TABLE device ADD COLUMN tested_at BIGINT NOT NULL DEFAULT 0;
