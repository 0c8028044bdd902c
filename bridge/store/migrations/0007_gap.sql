-- Holes in the series of the devices, and what is learnt of how often each tells something. Unix milliseconds (_ms).
CREATE TABLE gap (
    key INTEGER PRIMARY KEY AUTOINCREMENT,
    account TEXT NOT NULL,
    device TEXT NOT NULL,
    start_ms INTEGER NOT NULL,
    end_ms INTEGER NOT NULL,
    state TEXT NOT NULL,
    certain INTEGER NOT NULL,
    start_dim INTEGER NOT NULL,
    end_dim INTEGER NOT NULL,
    tries INTEGER NOT NULL,
    next_ms INTEGER NOT NULL,
    ref TEXT NOT NULL,
    noted_ms INTEGER NOT NULL,
    message TEXT NOT NULL
);
CREATE INDEX gap_device ON gap (account, device, start_ms);
CREATE INDEX gap_due ON gap (account, next_ms) WHERE state = 'missing';
CREATE TABLE cadence (
    account TEXT NOT NULL,
    device TEXT NOT NULL,
    distances BLOB NOT NULL,
    dim INTEGER NOT NULL,
    brightest_w REAL NOT NULL,
    PRIMARY KEY (account, device)
) WITHOUT ROWID;
