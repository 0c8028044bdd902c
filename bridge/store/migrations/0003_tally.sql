-- The account of the outbox per class. A message is taken once and ends once:
-- taken = waiting + published + refused + shed + superseded + lost. first_ms, last_ms: of the shedding.
CREATE TABLE tally (
    klass INTEGER PRIMARY KEY,
    taken INTEGER NOT NULL,
    published INTEGER NOT NULL,
    refused INTEGER NOT NULL,
    shed INTEGER NOT NULL,
    superseded INTEGER NOT NULL,
    lost INTEGER NOT NULL,
    first_ms INTEGER,
    last_ms INTEGER
);
INSERT INTO tally SELECT klass, count, 0, 0, count, 0, 0, first_ms, last_ms FROM loss;
INSERT INTO tally SELECT klass, count(*), 0, 0, 0, 0, 0, NULL, NULL FROM outbox WHERE true GROUP BY klass
    ON CONFLICT (klass) DO UPDATE SET taken = taken + excluded.taken;
DROP TABLE loss;
DROP INDEX outbox_class;

-- With row numbers: a row of WITHOUT ROWID that is longer than a kilobyte spills over to pages of its own, and each change
-- of a device's state would write them all.
ALTER TABLE device RENAME TO device_before;
CREATE TABLE device (
    account TEXT NOT NULL,
    device TEXT NOT NULL,
    met_ms INTEGER NOT NULL,
    info BLOB,
    metrics BLOB NOT NULL,
    clock_ms INTEGER,
    prints BLOB NOT NULL,
    available INTEGER,
    said TEXT,
    said_ms INTEGER,
    evented BLOB NOT NULL,
    held BLOB NOT NULL,
    dirty INTEGER NOT NULL,
    suspect_day INTEGER,
    state_ms INTEGER NOT NULL,
    gone INTEGER NOT NULL,
    PRIMARY KEY (account, device)
);
INSERT INTO device SELECT * FROM device_before;
DROP TABLE device_before;
CREATE INDEX device_dirty ON device (account, device) WHERE dirty = 1;
ALTER TABLE retained RENAME TO retained_before;
CREATE TABLE retained (topic TEXT PRIMARY KEY, account TEXT NOT NULL, device TEXT NOT NULL, body BLOB NOT NULL);
INSERT INTO retained SELECT * FROM retained_before;
DROP TABLE retained_before;
CREATE INDEX retained_owner ON retained (account, device);
