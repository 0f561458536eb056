-- Every page selects the columns of StoredRow, in its order, and one row more than asked, which says that there is more.

-- name: log_page
-- The log after a position, up to another.
SELECT
    position, tenant, stream_type, stream_id, version, event_id, type, schema_version, spec_version, occurred_at,
    recorded_at, run_id, correlation_id, causation_id, actor, traceparent, encoding,
    CASE WHEN ?4 THEN data END, CASE WHEN ?4 THEN metadata END, blob, digest, chain
FROM hw_events
WHERE position > ?1 AND position <= ?2 ORDER BY position LIMIT ?3;

-- name: log_filtered
-- The same by tenant, stream types and types; the caller bounds the stretch that is searched.
SELECT
    position, tenant, stream_type, stream_id, version, event_id, type, schema_version, spec_version, occurred_at,
    recorded_at, run_id, correlation_id, causation_id, actor, traceparent, encoding,
    CASE WHEN ?7 THEN data END, CASE WHEN ?7 THEN metadata END, blob, digest, chain
FROM hw_events
WHERE position > ?1 AND position <= ?2
    AND (?4 IS NULL OR tenant = ?4)
    AND (?5 IS NULL OR stream_type IN (SELECT value FROM json_each(?5)))
    AND (?6 IS NULL OR type IN (SELECT value FROM json_each(?6)))
ORDER BY position LIMIT ?3;

-- name: log_of_run
-- The events of one run.
SELECT
    position, tenant, stream_type, stream_id, version, event_id, type, schema_version, spec_version, occurred_at,
    recorded_at, run_id, correlation_id, causation_id, actor, traceparent, encoding,
    CASE WHEN ?7 THEN data END, CASE WHEN ?7 THEN metadata END, blob, digest, chain
FROM hw_events
WHERE run_id = ?8 AND position > ?1 AND position <= ?2
    AND (?4 IS NULL OR tenant = ?4)
    AND (?5 IS NULL OR stream_type IN (SELECT value FROM json_each(?5)))
    AND (?6 IS NULL OR type IN (SELECT value FROM json_each(?6)))
    AND (?9 IS NULL OR correlation_id = ?9 OR (correlation_id IS NULL AND event_id = ?10))
ORDER BY position LIMIT ?3;

-- name: log_of_correlation
-- The events with one correlation: those that name it, and the event whose own id it is.
SELECT
    position, tenant, stream_type, stream_id, version, event_id, type, schema_version, spec_version, occurred_at,
    recorded_at, run_id, correlation_id, causation_id, actor, traceparent, encoding,
    CASE WHEN ?7 THEN data END, CASE WHEN ?7 THEN metadata END, blob, digest, chain
FROM hw_events
WHERE correlation_id = ?8 AND position > ?1 AND position <= ?2
    AND (?4 IS NULL OR tenant = ?4)
    AND (?5 IS NULL OR stream_type IN (SELECT value FROM json_each(?5)))
    AND (?6 IS NULL OR type IN (SELECT value FROM json_each(?6)))
UNION ALL
SELECT
    position, tenant, stream_type, stream_id, version, event_id, type, schema_version, spec_version, occurred_at,
    recorded_at, run_id, correlation_id, causation_id, actor, traceparent, encoding,
    CASE WHEN ?7 THEN data END, CASE WHEN ?7 THEN metadata END, blob, digest, chain
FROM hw_events
WHERE correlation_id IS NULL AND event_id = ?9 AND tenant IN (SELECT tenant FROM hw_tenants)
    AND position > ?1 AND position <= ?2
    AND (?4 IS NULL OR tenant = ?4)
    AND (?5 IS NULL OR stream_type IN (SELECT value FROM json_each(?5)))
    AND (?6 IS NULL OR type IN (SELECT value FROM json_each(?6)))
ORDER BY position LIMIT ?3;

-- name: stream_forward
-- The versions of a stream, ascending.
SELECT
    position, tenant, stream_type, stream_id, version, event_id, type, schema_version, spec_version, occurred_at,
    recorded_at, run_id, correlation_id, causation_id, actor, traceparent, encoding,
    CASE WHEN ?7 THEN data END, CASE WHEN ?7 THEN metadata END, blob, digest, chain
FROM hw_events
WHERE tenant = ?1 AND stream_type = ?2 AND stream_id = ?3 AND version >= ?4 AND version <= ?5
ORDER BY version LIMIT ?6;

-- name: stream_backward
-- The versions of a stream, descending.
SELECT
    position, tenant, stream_type, stream_id, version, event_id, type, schema_version, spec_version, occurred_at,
    recorded_at, run_id, correlation_id, causation_id, actor, traceparent, encoding,
    CASE WHEN ?7 THEN data END, CASE WHEN ?7 THEN metadata END, blob, digest, chain
FROM hw_events
WHERE tenant = ?1 AND stream_type = ?2 AND stream_id = ?3 AND version >= ?4 AND version <= ?5
ORDER BY version DESC LIMIT ?6;

-- name: find
-- One event by its id.
SELECT
    position, tenant, stream_type, stream_id, version, event_id, type, schema_version, spec_version, occurred_at,
    recorded_at, run_id, correlation_id, causation_id, actor, traceparent, encoding,
    CASE WHEN 1 THEN data END, CASE WHEN 1 THEN metadata END, blob, digest, chain
FROM hw_events
WHERE tenant = ?1 AND event_id = ?2;

-- name: last_position
SELECT max(position) FROM hw_events;

-- name: recorded_at
-- Recorded time never goes back along positions, so a time is found by halving.
SELECT recorded_at FROM hw_events WHERE position = ?1;

-- name: stream_recorded_at
SELECT recorded_at FROM hw_events WHERE tenant = ?1 AND stream_type = ?2 AND stream_id = ?3 AND version = ?4;

-- name: tail
SELECT position, chain FROM hw_events ORDER BY position DESC LIMIT 1;

-- name: chain
SELECT chain FROM hw_events WHERE position = ?1;

-- name: blob
SELECT data FROM hw_blobs WHERE tenant = ?1 AND hash = ?2;

-- name: stream_version
SELECT version FROM hw_events WHERE tenant = ?1 AND stream_type = ?2 AND stream_id = ?3 ORDER BY version DESC LIMIT 1;

-- name: incarnation
SELECT incarnation FROM hw_log;
