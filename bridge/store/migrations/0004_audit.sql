-- What commands do to devices (interlocks), and a history whose order survives deletion: `seq` is never used twice.
ALTER TABLE journal ADD COLUMN acts BLOB;
CREATE INDEX journal_acts ON journal (account, device) WHERE acts IS NOT NULL;

CREATE TABLE journal_step_4 (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    key INTEGER NOT NULL REFERENCES journal (key) ON DELETE CASCADE,
    at_ms INTEGER NOT NULL,
    state TEXT NOT NULL,
    note TEXT NOT NULL,
    status TEXT,
    code TEXT,
    request BLOB
);
INSERT INTO journal_step_4 (key, at_ms, state, note) SELECT key, at_ms, state, note FROM journal_step ORDER BY rowid;
DROP TABLE journal_step;
ALTER TABLE journal_step_4 RENAME TO journal_step;
CREATE INDEX journal_step_key ON journal_step (key);
