-- Where a phone can be woken. The token lets anybody who has it push to the phone: it is never shown.
CREATE TABLE device (
    device_id     BYTEA PRIMARY KEY,
    node_id       BYTEA NOT NULL,
    platform      TEXT NOT NULL,
    token         TEXT NOT NULL,
    registered_at BIGINT NOT NULL,
    -- Grows with each registration: a provider's word about an older one does not count.
    registrations BIGINT NOT NULL,
    -- Whether the node had a channel here when it registered. Those that had none share a bound of their own.
    has_channel   BIGINT NOT NULL,
    -- The provider asked for no push before this time.
    paused_until  BIGINT NOT NULL,
    UNIQUE (node_id, platform, token)
);

CREATE INDEX device_without_channel ON device (device_id) WHERE has_channel = 0;

-- Challenges that were answered, until they expire: none is answered twice.
CREATE TABLE used_challenge (
    challenge  BYTEA PRIMARY KEY,
    expires_at BIGINT NOT NULL
);

CREATE INDEX used_challenge_expires_at ON used_challenge (expires_at);
