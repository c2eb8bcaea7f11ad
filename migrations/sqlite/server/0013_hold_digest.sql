-- SHA256 of a hold's payment hashes in their order: a row of hold_hash that is lost or changed is noticed. NULL for what was granted before.
ALTER TABLE hold ADD COLUMN hashes_digest BLOB;
