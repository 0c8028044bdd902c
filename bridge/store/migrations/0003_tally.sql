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
