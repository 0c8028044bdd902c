-- Times are Unix milliseconds (_ms) except in `slot` (Unix seconds with fraction). Documents are JSON as BLOB.
CREATE TABLE vault (owner TEXT NOT NULL, key TEXT NOT NULL, value BLOB NOT NULL, PRIMARY KEY (owner, key)) WITHOUT ROWID;

CREATE TABLE outbox (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    topic TEXT NOT NULL,
    body BLOB NOT NULL,
    klass INTEGER NOT NULL,
    retain INTEGER NOT NULL,
    account TEXT NOT NULL,
    device TEXT NOT NULL,
    correlation BLOB,
    at_ms INTEGER NOT NULL
);
CREATE INDEX outbox_class ON outbox (klass, seq);
CREATE TABLE loss (klass INTEGER PRIMARY KEY, count INTEGER NOT NULL, first_ms INTEGER NOT NULL, last_ms INTEGER NOT NULL);

CREATE TABLE journal (
    key INTEGER PRIMARY KEY AUTOINCREMENT,
    account TEXT NOT NULL,
    id TEXT NOT NULL,
    device TEXT,
    device_level TEXT,
    command TEXT NOT NULL,
    params BLOB NOT NULL,
    mark BLOB NOT NULL,
    state TEXT NOT NULL,
    created_ms INTEGER NOT NULL,
    updated_ms INTEGER NOT NULL,
    writes INTEGER NOT NULL,
    has_id INTEGER NOT NULL,
    expires_ms INTEGER,
    timeout_s REAL,
    dispatched_ms INTEGER,
    sent_ms INTEGER,
    lost_ms INTEGER,
    attempt INTEGER NOT NULL,
    asks INTEGER NOT NULL,
    resends INTEGER NOT NULL,
    vendor_ref BLOB,
    vendor_code BLOB,
    last_ack BLOB,
    reply_topic TEXT,
    correlation BLOB,
    requester TEXT,
    evidence BLOB,
    UNIQUE (account, id)
);
CREATE INDEX journal_open ON journal (account, device) WHERE state <> 'final';
CREATE INDEX journal_ref ON journal (account, vendor_ref) WHERE vendor_ref IS NOT NULL;
CREATE INDEX journal_done ON journal (updated_ms) WHERE state = 'final';
CREATE TABLE journal_step (
    key INTEGER NOT NULL REFERENCES journal (key) ON DELETE CASCADE,
    at_ms INTEGER NOT NULL,
    state TEXT NOT NULL,
    note TEXT NOT NULL
);
CREATE INDEX journal_step_key ON journal_step (key);

CREATE TABLE delivery (mid INTEGER PRIMARY KEY, digest BLOB NOT NULL, at_ms INTEGER NOT NULL);

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
) WITHOUT ROWID;
CREATE INDEX device_dirty ON device (account, device) WHERE dirty = 1;

CREATE TABLE alarm (
    id TEXT PRIMARY KEY,
    account TEXT NOT NULL,
    device TEXT NOT NULL,
    code TEXT NOT NULL,
    severity TEXT NOT NULL,
    raised_ms INTEGER NOT NULL,
    document BLOB NOT NULL,
    is_condition INTEGER NOT NULL,
    cleared_ms INTEGER,
    silent INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX alarm_active ON alarm (account, device) WHERE cleared_ms IS NULL AND silent = 0;
CREATE TABLE event_seen (id TEXT PRIMARY KEY, at_ms INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX event_seen_at ON event_seen (at_ms);

CREATE TABLE seen_record (
    account TEXT NOT NULL,
    device TEXT NOT NULL,
    ts_ms INTEGER NOT NULL,
    fingerprint TEXT NOT NULL,
    at_ms INTEGER NOT NULL,
    PRIMARY KEY (account, device, ts_ms, fingerprint)
) WITHOUT ROWID;
CREATE INDEX seen_record_at ON seen_record (at_ms);
CREATE TABLE seen_body (account TEXT NOT NULL, key TEXT NOT NULL, at_ms INTEGER NOT NULL, PRIMARY KEY (account, key)) WITHOUT ROWID;
CREATE INDEX seen_body_at ON seen_body (at_ms);

CREATE TABLE retained (topic TEXT PRIMARY KEY, account TEXT NOT NULL, device TEXT NOT NULL, body BLOB NOT NULL) WITHOUT ROWID;
CREATE INDEX retained_owner ON retained (account, device);

CREATE TABLE dead_letter (
    key INTEGER PRIMARY KEY AUTOINCREMENT,
    account TEXT NOT NULL,
    source TEXT NOT NULL,
    reason TEXT NOT NULL,
    body BLOB NOT NULL,
    digest BLOB NOT NULL,
    count INTEGER NOT NULL,
    first_ms INTEGER NOT NULL,
    last_ms INTEGER NOT NULL,
    UNIQUE (account, source, digest)
);

CREATE TABLE lock (
    account TEXT NOT NULL,
    device TEXT NOT NULL,
    reason TEXT NOT NULL,
    at_ms INTEGER NOT NULL,
    PRIMARY KEY (account, device)
) WITHOUT ROWID;

CREATE TABLE slot (
    owner TEXT NOT NULL,
    limit_name TEXT NOT NULL,
    key TEXT NOT NULL,
    at REAL NOT NULL,
    blocked INTEGER NOT NULL
);
CREATE INDEX slot_owner ON slot (owner, limit_name, at);
