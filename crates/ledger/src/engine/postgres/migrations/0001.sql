-- Version 1. Times are Unix seconds and counters are 64 bits without sign, which only numeric holds exactly.

CREATE TABLE meta (
    key bytea PRIMARY KEY,
    value bytea NOT NULL
);

CREATE TABLE asset (
    code text COLLATE "C" PRIMARY KEY,
    scale smallint NOT NULL,
    issuer bytea NOT NULL CHECK (octet_length(issuer) = 32)
);

CREATE TABLE account_keys (
    account bytea PRIMARY KEY CHECK (octet_length(account) = 32),
    keys bytea NOT NULL
);

-- What a book has is the sum over its stripes. Stripe 0 is the main row, locked by whoever debits; each
-- committer adds to a stripe of its own, so that credits wait for nobody.
CREATE TABLE balance (
    book smallint NOT NULL CHECK (book BETWEEN 1 AND 3),
    account bytea NOT NULL CHECK (octet_length(account) = 32),
    asset text COLLATE "C" NOT NULL,
    stripe integer NOT NULL CHECK (stripe >= 0),
    amount numeric(39, 0) NOT NULL,
    PRIMARY KEY (book, account, asset, stripe),
    CONSTRAINT nobody_is_overdrawn CHECK (book <> 1 OR amount >= 0)
) WITH (fillfactor = 80);

-- A payment id that a transaction has inserted here cannot come to be in another one until that one ends.
CREATE TABLE payment_id (
    id bytea PRIMARY KEY CHECK (octet_length(id) = 32)
);

CREATE TABLE payment (
    id bytea PRIMARY KEY CHECK (octet_length(id) = 32),
    state smallint NOT NULL,
    captured numeric(39, 0) NOT NULL,
    refunded numeric(39, 0) NOT NULL,
    fee_bps integer NOT NULL,
    owner bytea NOT NULL CHECK (octet_length(owner) = 16),
    epoch numeric(20, 0) NOT NULL,
    lease_until numeric(20, 0) NOT NULL,
    tenant bytea NOT NULL,
    changed_at numeric(20, 0) NOT NULL,
    ended_at numeric(20, 0) NOT NULL,
    capture_deadline numeric(20, 0) NOT NULL,
    terms bytea NOT NULL
);
CREATE INDEX payment_due ON payment (capture_deadline, id) WHERE state = 1;

CREATE TABLE replay (
    payer bytea NOT NULL CHECK (octet_length(payer) = 32),
    nonce bytea NOT NULL CHECK (octet_length(nonce) = 32),
    payment bytea NOT NULL,
    PRIMARY KEY (payer, nonce)
);

CREATE TABLE answer (
    payment bytea PRIMARY KEY CHECK (octet_length(payment) = 32),
    answer bytea NOT NULL
);

CREATE TABLE deposit (
    reference bytea PRIMARY KEY CHECK (octet_length(reference) = 32),
    signed bytea NOT NULL
);

CREATE TABLE entry (
    chain integer NOT NULL CHECK (chain >= 0),
    sequence bigint NOT NULL CHECK (sequence > 0),
    position bigint NOT NULL,
    bytes bytea NOT NULL,
    PRIMARY KEY (chain, sequence)
);
-- Hashes and signatures do not compress.
ALTER TABLE entry ALTER COLUMN bytes SET STORAGE EXTERNAL;

CREATE SEQUENCE position AS bigint;
