-- name: tail
-- The end of the log: what the next event continues.
SELECT position, chain, recorded_at FROM hw_events ORDER BY position DESC LIMIT 1;

-- name: known
-- Where an event id is, if the log has it.
SELECT position, version, stream_type, stream_id, digest FROM hw_events WHERE tenant = ?1 AND event_id = ?2;

-- name: insert_event
-- One event, in the order of StoredRow.
INSERT INTO hw_events (
    position, tenant, stream_type, stream_id, version, event_id, type, schema_version, spec_version, occurred_at,
    recorded_at, run_id, correlation_id, causation_id, actor, traceparent, encoding, data, metadata, blob, digest, chain
) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?);

-- name: insert_tenant
-- A tenant's shard is recorded at its first use.
INSERT OR IGNORE INTO hw_tenants (tenant) VALUES (?1);

-- name: insert_blob
-- Large payloads are stored once by hash.
INSERT OR IGNORE INTO hw_blobs (tenant, hash, data) VALUES (?1, ?2, ?3);

-- name: set_incarnation
-- An imported log is the log it was exported from.
UPDATE hw_log SET incarnation = ?1;
