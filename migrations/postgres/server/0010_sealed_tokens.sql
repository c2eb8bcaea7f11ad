-- Tokens are sealed with a key that is not in the database, and found by a keyed hash. No version that kept them in plain
-- ran on Postgres.

CREATE TABLE device_sealed (
    device_id     BYTEA PRIMARY KEY,
    node_id       BYTEA NOT NULL,
    platform      TEXT NOT NULL,
    -- The token as a version before this one left it, until the start of the server seals it.
    plain_token   TEXT,
    sealed_token  BYTEA,
    -- HMAC-SHA256 of owner, platform and token under a key that comes from the sealing key.
    token_index   BYTEA,
    -- Which key sealed it: a row of token_key.
    token_key     BYTEA,
    registered_at BIGINT NOT NULL,
    -- Grows with each registration: a provider's word about an older one does not count.
    registrations BIGINT NOT NULL,
    -- Whether the node had a channel here when it registered. Those that had none share a bound of their own.
    has_channel   BIGINT NOT NULL,
    -- The provider asked for no push before this time.
    paused_until  BIGINT NOT NULL,
    tested_at     BIGINT NOT NULL DEFAULT 0,
    topic         TEXT,
    environment   TEXT,
    seal_key      BYTEA,
    UNIQUE (node_id, platform, token_index)
);

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
    key_id     BYTEA PRIMARY KEY,
    first_used BIGINT NOT NULL
);
