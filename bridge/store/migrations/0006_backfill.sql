-- What is read of the devices' past. Times are Unix milliseconds (_ms). Documents are JSON as BLOB.
CREATE TABLE backfill (
    key INTEGER PRIMARY KEY AUTOINCREMENT,
    ref TEXT NOT NULL,
    origin TEXT NOT NULL,
    account TEXT NOT NULL,
    device TEXT NOT NULL,
    start_ms INTEGER NOT NULL,
    end_ms INTEGER NOT NULL,
    created_ms INTEGER NOT NULL,
    updated_ms INTEGER NOT NULL,
    interval_s INTEGER,
    asked_by TEXT NOT NULL,
    cursor BLOB,
    state TEXT NOT NULL,
    records INTEGER NOT NULL,
    known INTEGER NOT NULL,
    done INTEGER NOT NULL,
    total INTEGER NOT NULL,
    complete_ms INTEGER,
    failures INTEGER NOT NULL,
    next_ms INTEGER,
    code TEXT,
    message TEXT NOT NULL,
    expires_ms INTEGER
);
CREATE INDEX backfill_ref ON backfill (ref, key);
CREATE INDEX backfill_open ON backfill (key) WHERE state = 'open';

-- Readings of a window of which the vendor has not told everything yet: they go out in the order of their times.
CREATE TABLE backfill_held (
    key INTEGER NOT NULL REFERENCES backfill (key) ON DELETE CASCADE,
    at_ms INTEGER NOT NULL,
    digest BLOB NOT NULL,
    body BLOB NOT NULL,
    PRIMARY KEY (key, at_ms, digest)
) WITHOUT ROWID;
