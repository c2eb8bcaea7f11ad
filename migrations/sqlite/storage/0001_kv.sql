-- LDK's and BDK's own state, keyed as LDK's KVStore keys it.
-- A rowid table: values run to hundreds of kilobytes, and the names alone then answer a listing from the index.
CREATE TABLE kv (
    primary_namespace   TEXT NOT NULL,
    secondary_namespace TEXT NOT NULL,
    key                 TEXT NOT NULL,
    value               BLOB NOT NULL,
    PRIMARY KEY (primary_namespace, secondary_namespace, key)
) STRICT;
