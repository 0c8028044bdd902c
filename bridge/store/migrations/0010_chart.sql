-- What the charts of the status page show after a restart: the numbers of an account's devices as they were at a time.
CREATE TABLE chart (
    account TEXT NOT NULL,
    at_ms INTEGER NOT NULL,
    body BLOB NOT NULL,
    PRIMARY KEY (account, at_ms)
) WITHOUT ROWID;
