-- LDK's and BDK's own state, keyed as LDK's KVStore keys it. Names are ordered by their bytes, as SQLite orders them.
CREATE TABLE kv (
    primary_namespace   TEXT COLLATE "C" NOT NULL,
    secondary_namespace TEXT COLLATE "C" NOT NULL,
    key                 TEXT COLLATE "C" NOT NULL,
    value               BYTEA NOT NULL,
    PRIMARY KEY (primary_namespace, secondary_namespace, key)
);

-- LDK's values hardly compress, and are rewritten all the time.
ALTER TABLE kv ALTER COLUMN value SET STORAGE EXTERNAL;
