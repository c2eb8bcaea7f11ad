-- Which database this is, and how often it was said so to its witnesses outside it. At most one row.
CREATE TABLE generation (
    id          BIGINT PRIMARY KEY CHECK (id = 1),
    database_id BYTEA NOT NULL CHECK (length(database_id) = 16),
    number      BIGINT NOT NULL CHECK (number > 0)
);
