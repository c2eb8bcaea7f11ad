-- The app that a device's token belongs to (APNs: its bundle id), and APNs' environment; NULL elsewhere.
ALTER TABLE device ADD COLUMN topic TEXT;
ALTER TABLE device ADD COLUMN environment TEXT;
-- The device's X25519 key: pushes to it are sealed. NULL: they are open.
ALTER TABLE device ADD COLUMN seal_key BYTEA;
