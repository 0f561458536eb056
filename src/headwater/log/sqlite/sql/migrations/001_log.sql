-- The log: events, what is looked up under the lock, and the rows that move with them.
-- Payloads come last in a row, so that reading the rest never walks their overflow pages.

CREATE TABLE hw_log (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    incarnation BLOB NOT NULL
) STRICT;

CREATE TABLE hw_migrations (
    version INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    applied_at INTEGER NOT NULL
) STRICT;

CREATE TABLE hw_tenants (
    tenant TEXT PRIMARY KEY,
    shard INTEGER NOT NULL DEFAULT 0 CHECK (shard = 0)
) STRICT, WITHOUT ROWID;

-- A file has one writer, so one shard. Positions are given by the judge, under the write lock.
CREATE TABLE hw_events (
    position INTEGER PRIMARY KEY,
    shard INTEGER NOT NULL DEFAULT 0 CHECK (shard = 0),
    tenant TEXT NOT NULL,
    stream_type TEXT NOT NULL,
    stream_id TEXT NOT NULL,
    version INTEGER NOT NULL,
    event_id BLOB NOT NULL,
    type TEXT NOT NULL,
    schema_version INTEGER NOT NULL,
    spec_version INTEGER NOT NULL,
    occurred_at INTEGER NOT NULL,
    recorded_at INTEGER NOT NULL,
    run_id TEXT,
    correlation_id TEXT,
    causation_id TEXT,
    actor TEXT,
    traceparent TEXT,
    encoding TEXT NOT NULL,
    blob BLOB,
    digest BLOB NOT NULL,
    chain BLOB NOT NULL,
    metadata BLOB,
    data BLOB
) STRICT;

CREATE UNIQUE INDEX hw_events_by_id ON hw_events (tenant, event_id);
CREATE UNIQUE INDEX hw_events_by_stream ON hw_events (tenant, stream_type, stream_id, version);
CREATE INDEX hw_events_by_run ON hw_events (run_id, position) WHERE run_id IS NOT NULL;
CREATE INDEX hw_events_by_correlation ON hw_events (correlation_id, position) WHERE correlation_id IS NOT NULL;

CREATE TABLE hw_blobs (
    tenant TEXT NOT NULL,
    hash BLOB NOT NULL,
    data BLOB NOT NULL,
    PRIMARY KEY (tenant, hash)
) STRICT;

CREATE TABLE hw_keys (
    tenant TEXT NOT NULL,
    key TEXT NOT NULL,
    holder TEXT NOT NULL,
    PRIMARY KEY (tenant, key)
) STRICT, WITHOUT ROWID;

CREATE TABLE hw_fences (
    tenant TEXT NOT NULL,
    key TEXT NOT NULL,
    epoch INTEGER NOT NULL DEFAULT 0,
    holder TEXT,
    wakes INTEGER NOT NULL DEFAULT 0,
    seen INTEGER NOT NULL DEFAULT 0,
    label TEXT NOT NULL DEFAULT '',
    trial INTEGER NOT NULL DEFAULT 0,
    deaths INTEGER NOT NULL DEFAULT 0,
    woken_at INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (tenant, key)
) STRICT, WITHOUT ROWID;

-- Each holds only what its question is about: free and woken, free and woken and suspect, held and woken, held.
CREATE INDEX hw_fences_free ON hw_fences (label, woken_at, tenant, key)
    WHERE holder IS NULL AND wakes > seen AND trial = 0;
CREATE INDEX hw_fences_suspect ON hw_fences (label, woken_at, tenant, key, trial)
    WHERE holder IS NULL AND wakes > seen AND trial > 0;
CREATE INDEX hw_fences_woken ON hw_fences (holder, tenant, key) WHERE holder IS NOT NULL AND wakes > seen;
CREATE INDEX hw_fences_held ON hw_fences (holder) WHERE holder IS NOT NULL;

CREATE TABLE hw_due (
    tenant TEXT NOT NULL,
    key TEXT NOT NULL,
    at INTEGER NOT NULL,
    data BLOB NOT NULL,
    PRIMARY KEY (tenant, key)
) STRICT;

CREATE INDEX hw_due_by_time ON hw_due (at, tenant, key);

CREATE TABLE hw_ready (
    tenant TEXT NOT NULL,
    queue TEXT NOT NULL,
    key TEXT NOT NULL,
    priority INTEGER NOT NULL,
    at INTEGER NOT NULL,
    holder TEXT,
    claim INTEGER NOT NULL DEFAULT 0,
    data BLOB NOT NULL,
    PRIMARY KEY (tenant, queue, key)
) STRICT;

CREATE INDEX hw_ready_by_order ON hw_ready (queue, priority, at, tenant, key);
CREATE INDEX hw_ready_free ON hw_ready (queue, priority, at, tenant, key) WHERE holder IS NULL;
CREATE INDEX hw_ready_held ON hw_ready (holder) WHERE holder IS NOT NULL;

-- Few and short-lived: one a process. Times are of the log's clock.
CREATE TABLE hw_workers (
    id TEXT PRIMARY KEY,
    place TEXT NOT NULL,
    lease_us INTEGER NOT NULL,
    data BLOB NOT NULL,
    enrolled_at INTEGER NOT NULL,
    beat_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- What lists show. A list is read by tenant, newest first, all of it or those of a status.
CREATE TABLE hw_entries (
    tenant TEXT NOT NULL,
    list TEXT NOT NULL,
    key TEXT NOT NULL,
    label TEXT NOT NULL,
    status TEXT NOT NULL,
    at INTEGER NOT NULL,
    data BLOB NOT NULL,
    PRIMARY KEY (tenant, list, key)
) STRICT;

CREATE INDEX hw_entries_by_time ON hw_entries (tenant, list, at, key);
CREATE INDEX hw_entries_by_label ON hw_entries (tenant, list, label, at, key);
CREATE INDEX hw_entries_by_status ON hw_entries (tenant, list, status, at, key);

CREATE TABLE hw_snapshots (
    tenant TEXT NOT NULL,
    stream_type TEXT NOT NULL,
    stream_id TEXT NOT NULL,
    name TEXT NOT NULL,
    version INTEGER NOT NULL,
    fold_version INTEGER NOT NULL,
    chain BLOB NOT NULL,
    encoding TEXT NOT NULL,
    state BLOB NOT NULL,
    PRIMARY KEY (tenant, stream_type, stream_id, name, version)
) STRICT;

-- Projections: how far each generation is and who folds it, and its states. See headwater/projections.
CREATE TABLE hw_projections (
    name TEXT NOT NULL,
    generation INTEGER NOT NULL,
    version INTEGER NOT NULL,
    live INTEGER NOT NULL,
    paused INTEGER NOT NULL DEFAULT 0,
    position INTEGER NOT NULL DEFAULT 0,
    epoch INTEGER NOT NULL DEFAULT 0,
    holder TEXT NOT NULL DEFAULT '',
    until INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (name, generation)
) STRICT, WITHOUT ROWID;

CREATE UNIQUE INDEX hw_projections_live ON hw_projections (name) WHERE live = 1;

CREATE TABLE hw_states (
    name TEXT NOT NULL,
    generation INTEGER NOT NULL,
    tenant TEXT NOT NULL,
    key TEXT NOT NULL,
    position INTEGER NOT NULL,
    parked INTEGER NOT NULL,
    error TEXT NOT NULL,
    again INTEGER NOT NULL,
    state BLOB,
    PRIMARY KEY (name, generation, tenant, key)
) STRICT, WITHOUT ROWID;

CREATE INDEX hw_states_parked ON hw_states (name, generation, tenant, key) WHERE parked > 0 OR again > 0;
