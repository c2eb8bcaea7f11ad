-- Tokens are sealed with a key that is not in the database, and found by a keyed hash. The tables that have them in plain
-- are written over as they are dropped.
PRAGMA secure_delete = ON;

CREATE TABLE device_sealed (
    device_id     BLOB PRIMARY KEY,
    node_id       BLOB NOT NULL,
    platform      TEXT NOT NULL,
    -- The token as a version before this one left it, until the start of the server seals it.
    plain_token   TEXT,
    sealed_token  BLOB,
    -- HMAC-SHA256 of owner, platform and token under a key that comes from the sealing key.
    token_index   BLOB,
    -- Which key sealed it: a row of token_key.
    token_key     BLOB,
    registered_at INTEGER NOT NULL,
    -- Grows with each registration: a provider's word about an older one does not count.
    registrations INTEGER NOT NULL,
    -- Whether the node had a channel here when it registered. Those that had none share a bound of their own.
    has_channel   INTEGER NOT NULL,
    -- The provider asked for no push before this time.
    paused_until  INTEGER NOT NULL,
    tested_at     INTEGER NOT NULL DEFAULT 0,
    topic         TEXT,
    environment   TEXT,
    seal_key      BLOB,
    UNIQUE (node_id, platform, token_index)
) STRICT;

INSERT INTO device_sealed (device_id, node_id, platform, plain_token, registered_at, registrations, has_channel,
    paused_until, tested_at, topic, environment, seal_key)
SELECT device_id, node_id, platform, token, registered_at, registrations, has_channel,
    paused_until, tested_at, topic, environment, seal_key FROM device;

DROP TABLE device;
ALTER TABLE device_sealed RENAME TO device;

CREATE INDEX device_without_channel ON device (device_id) WHERE has_channel = 0;
CREATE INDEX device_plain ON device (device_id) WHERE plain_token IS NOT NULL;

-- The keys that rows may be sealed with, by what is derived from them: a server without one of them is refused.
CREATE TABLE token_key (
    key_id     BLOB PRIMARY KEY,
    first_used INTEGER NOT NULL
) STRICT;

PRAGMA secure_delete = OFF;
