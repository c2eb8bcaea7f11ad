-- Whose challenges they are that were answered: nodes with a channel here have room of their own, which nobody else can use up, and each
-- node has a bound. Those that are here already are not taken along: a server that starts gives and knows other challenges.
DROP TABLE used_challenge;
CREATE TABLE used_challenge (
    -- Whether the node had a channel here: 1 or 0.
    has_channel INTEGER NOT NULL,
    expires_at  INTEGER NOT NULL,
    challenge   BLOB NOT NULL,
    node_id     BLOB NOT NULL,
    PRIMARY KEY (has_channel, expires_at, challenge)
) STRICT, WITHOUT ROWID;

-- A node's, of which it has each once, whether it has a channel by now or not.
CREATE UNIQUE INDEX used_challenge_node ON used_challenge (node_id, expires_at, challenge);

-- Of nodes with a channel and, in its own row, of the others.
DELETE FROM kept_count WHERE of_what = 'used_challenge';
INSERT INTO kept_count (of_what, n) VALUES ('used_challenge', 0), ('used_challenge_without_channel', 0);

CREATE TRIGGER used_challenge_added AFTER INSERT ON used_challenge
BEGIN UPDATE kept_count SET n = n + 1
WHERE of_what = CASE WHEN NEW.has_channel = 0 THEN 'used_challenge_without_channel' ELSE 'used_challenge' END; END;
CREATE TRIGGER used_challenge_removed AFTER DELETE ON used_challenge
BEGIN UPDATE kept_count SET n = n - 1
WHERE of_what = CASE WHEN OLD.has_channel = 0 THEN 'used_challenge_without_channel' ELSE 'used_challenge' END; END;
