-- Version 1 of the tables of records. `until` is in Unix seconds.

CREATE TABLE record (
    key bytea PRIMARY KEY CHECK (octet_length(key) BETWEEN 1 AND 256),
    value bytea NOT NULL,
    until bigint NOT NULL
);
CREATE INDEX record_due ON record (until);
