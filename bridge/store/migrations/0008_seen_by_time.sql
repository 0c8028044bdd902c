-- Records are told as they are measured, nearly in the order of time: with the time in front what one commit
-- notes of many devices lies on one or two pages, not on a page of each device.
CREATE TABLE seen_record_8 (
    account TEXT NOT NULL,
    device TEXT NOT NULL,
    ts_ms INTEGER NOT NULL,
    fingerprint TEXT NOT NULL,
    at_ms INTEGER NOT NULL,
    PRIMARY KEY (ts_ms, account, device, fingerprint)
) WITHOUT ROWID;
INSERT INTO seen_record_8 SELECT account, device, ts_ms, fingerprint, at_ms FROM seen_record 
    ORDER BY ts_ms, account, device, fingerprint;
DROP TABLE seen_record;
ALTER TABLE seen_record_8 RENAME TO seen_record;
CREATE INDEX seen_record_at ON seen_record (at_ms);
