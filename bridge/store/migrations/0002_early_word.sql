-- A vendor's word on a command that no command in the journal bears the reference of yet: it may have overtaken the answer.
CREATE TABLE early_word (
    key INTEGER PRIMARY KEY AUTOINCREMENT,
    account TEXT NOT NULL,
    word BLOB NOT NULL,
    at_ms INTEGER NOT NULL
);
