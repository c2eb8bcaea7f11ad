-- Counts that bounds are kept by: a registration must not cost a look at all the others. The database itself keeps them, whatever
-- changes the rows.
CREATE TABLE kept_count (
    of_what TEXT PRIMARY KEY,
    n       BIGINT NOT NULL
) WITH (fillfactor = 10);

-- Adds the second argument to the count that the first one names.
CREATE FUNCTION keep_count() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE kept_count SET n = n + TG_ARGV[1]::BIGINT WHERE of_what = TG_ARGV[0];
    RETURN NULL;
END
$$;

INSERT INTO kept_count (of_what, n) SELECT 'device_without_channel', COUNT(*) FROM device WHERE has_channel = 0;
DROP INDEX device_without_channel;

CREATE TRIGGER device_added AFTER INSERT ON device FOR EACH ROW WHEN (NEW.has_channel = 0)
EXECUTE FUNCTION keep_count('device_without_channel', '1');
CREATE TRIGGER device_removed AFTER DELETE ON device FOR EACH ROW WHEN (OLD.has_channel = 0)
EXECUTE FUNCTION keep_count('device_without_channel', '-1');
CREATE TRIGGER device_left_alone AFTER UPDATE OF has_channel ON device FOR EACH ROW
WHEN (OLD.has_channel <> 0 AND NEW.has_channel = 0) EXECUTE FUNCTION keep_count('device_without_channel', '1');
CREATE TRIGGER device_joined AFTER UPDATE OF has_channel ON device FOR EACH ROW
WHEN (OLD.has_channel = 0 AND NEW.has_channel <> 0) EXECUTE FUNCTION keep_count('device_without_channel', '-1');

-- Challenges that were answered, in the order in which they expire. A challenge says itself when it expires, so it has one place.
CREATE TABLE answered_challenge (
    expires_at BIGINT NOT NULL,
    challenge  BYTEA NOT NULL,
    PRIMARY KEY (expires_at, challenge)
);

INSERT INTO answered_challenge (expires_at, challenge) SELECT expires_at, challenge FROM used_challenge;
DROP TABLE used_challenge;
ALTER TABLE answered_challenge RENAME TO used_challenge;

INSERT INTO kept_count (of_what, n) SELECT 'used_challenge', COUNT(*) FROM used_challenge;

CREATE TRIGGER used_challenge_added AFTER INSERT ON used_challenge FOR EACH ROW
EXECUTE FUNCTION keep_count('used_challenge', '1');
CREATE TRIGGER used_challenge_removed AFTER DELETE ON used_challenge FOR EACH ROW
EXECUTE FUNCTION keep_count('used_challenge', '-1');
