-- Steps that belong to no command of the journal: what was rejected, and dry runs (`aside` says what was asked, and by
-- whom). The numbers go on where they were, also if the last steps are forgotten.
CREATE TABLE journal_step_9 (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    key INTEGER REFERENCES journal (key) ON DELETE CASCADE,
    at_ms INTEGER NOT NULL,
    state TEXT NOT NULL,
    note TEXT NOT NULL,
    status TEXT,
    code TEXT,
    request BLOB,
    aside BLOB,
    CHECK ((key IS NULL) <> (aside IS NULL))
);
INSERT INTO sqlite_sequence (name, seq) SELECT 'journal_step_9', seq FROM sqlite_sequence WHERE name = 'journal_step';
INSERT INTO journal_step_9 (seq, key, at_ms, state, note, status, code, request)
    SELECT seq, key, at_ms, state, note, status, code, request FROM journal_step ORDER BY seq;
DROP TABLE journal_step;
ALTER TABLE journal_step_9 RENAME TO journal_step;
CREATE INDEX journal_step_key ON journal_step (key);
CREATE INDEX journal_step_aside ON journal_step (seq) WHERE key IS NULL;
