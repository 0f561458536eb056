-- The columns and unique keys of the log's own table, and a table with the least that could be called a log.
CREATE TABLE bare_events (
    position INTEGER PRIMARY KEY,
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
    data BLOB,
    metadata BLOB,
    blob BLOB,
    digest BLOB NOT NULL,
    chain BLOB NOT NULL
) STRICT;
CREATE UNIQUE INDEX bare_events_by_id ON bare_events (tenant, event_id);
CREATE UNIQUE INDEX bare_events_by_stream ON bare_events (tenant, stream_type, stream_id, version);
CREATE TABLE bare_minimal (position INTEGER PRIMARY KEY, data BLOB NOT NULL) STRICT;
