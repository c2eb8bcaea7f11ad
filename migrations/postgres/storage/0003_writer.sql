-- Who writes. Each batch counts itself here, in its own transaction: a process that was taken over cannot commit, and a commit whose
-- answer was lost can be told from one that was not made.
CREATE TABLE database_writer (
    id     BIGINT PRIMARY KEY CHECK (id = 1),
    -- Goes up whenever a process opens the database.
    epoch  BIGINT NOT NULL,
    -- That process, by a random name: two servers that went apart may count alike.
    holder TEXT NOT NULL,
    -- Batches that were committed.
    batch  BIGINT NOT NULL,
    -- The server's system identifier and timeline at that time. NULL: the next opener's, whatever it is.
    place  TEXT
);

INSERT INTO database_writer (id, epoch, holder, batch, place) VALUES (1, 0, '', 0, NULL);

-- The last id that a table gave out. No sequence: what is rolled back and done again has to get the same ids as the first time.
CREATE TABLE row_id (
    of_table TEXT PRIMARY KEY,
    last     BIGINT NOT NULL
);

CREATE FUNCTION next_row_id(of_table TEXT) RETURNS BIGINT LANGUAGE sql AS $$
    INSERT INTO row_id AS known (of_table, last) VALUES ($1, 1)
    ON CONFLICT (of_table) DO UPDATE SET last = known.last + 1
    RETURNING last
$$;
