-- Counts that bounds are kept by: a registration must not cost a look at all the others. The database itself keeps them, whatever
-- changes the rows.
CREATE TABLE kept_count (
    of_what TEXT PRIMARY KEY,
    n       INTEGER NOT NULL
) STRICT;

INSERT INTO kept_count (of_what, n) SELECT 'device_without_channel', COUNT(*) FROM device WHERE has_channel = 0;
DROP INDEX device_without_channel;

CREATE TRIGGER device_added AFTER INSERT ON device WHEN NEW.has_channel = 0
BEGIN UPDATE kept_count SET n = n + 1 WHERE of_what = 'device_without_channel'; END;
CREATE TRIGGER device_removed AFTER DELETE ON device WHEN OLD.has_channel = 0
BEGIN UPDATE kept_count SET n = n - 1 WHERE of_what = 'device_without_channel'; END;
CREATE TRIGGER device_changed AFTER UPDATE OF has_channel ON device WHEN (OLD.has_channel = 0) <> (NEW.has_channel = 0)
BEGIN UPDATE kept_count SET n = n + CASE WHEN NEW.has_channel = 0 THEN 1 ELSE -1 END WHERE of_what = 'device_without_channel'; END;

-- Challenges that were answered, in the order in which they expire. A challenge says itself when it expires, so it has one place.
CREATE TABLE answered_challenge (
    expires_at INTEGER NOT NULL,
    challenge  BLOB NOT NULL,
    PRIMARY KEY (expires_at, challenge)
) STRICT, WITHOUT ROWID;

INSERT INTO answered_challenge (expires_at, challenge) SELECT expires_at, challenge FROM used_challenge;
DROP TABLE used_challenge;
ALTER TABLE answered_challenge RENAME TO used_challenge;

INSERT INTO kept_count (of_what, n) SELECT 'used_challenge', COUNT(*) FROM used_challenge;

CREATE TRIGGER used_challenge_added AFTER INSERT ON used_challenge
BEGIN UPDATE kept_count SET n = n + 1 WHERE of_what = 'used_challenge'; END;
CREATE TRIGGER used_challenge_removed AFTER DELETE ON used_challenge
BEGIN UPDATE kept_count SET n = n - 1 WHERE of_what = 'used_challenge'; END;
