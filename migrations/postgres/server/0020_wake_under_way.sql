-- What a reason that comes again changes is read by nobody but the push that is under way, so it is written only then.
-- 0: no push is under way; 1: one may be; 2: and the reason has come again since.
ALTER TABLE wake RENAME COLUMN gen TO under_way;
UPDATE wake SET under_way = 0;
