-- name: epoch
SELECT epoch FROM hw_fences WHERE tenant = ?1 AND key = ?2;

-- name: holder
SELECT holder FROM hw_keys WHERE tenant = ?1 AND key = ?2;

-- name: is_due
SELECT 1 FROM hw_due WHERE tenant = ?1 AND key = ?2;

-- name: claim_of
SELECT claim FROM hw_ready WHERE tenant = ?1 AND queue = ?2 AND key = ?3;

-- name: take_key
INSERT INTO hw_keys (tenant, key, holder) VALUES (?1, ?2, ?3);

-- name: give_key
DELETE FROM hw_keys WHERE tenant = ?1 AND key = ?2 AND holder = ?3;

-- name: open_fence
INSERT OR IGNORE INTO hw_fences (tenant, key, label, epoch, holder) VALUES (?1, ?2, ?3, ?4, ?5);

-- name: close_fence
DELETE FROM hw_fences WHERE tenant = ?1 AND key = ?2;

-- name: wake
-- The first mark that is not seen says since when the fence waits.
UPDATE hw_fences SET woken_at = CASE WHEN wakes = seen THEN ?3 ELSE woken_at END, wakes = wakes + 1
WHERE tenant = ?1 AND key = ?2;

-- name: trust
UPDATE hw_fences SET trial = 0, deaths = 0 WHERE tenant = ?1 AND key = ?2;

-- name: set_due
INSERT OR REPLACE INTO hw_due (tenant, key, at, data) VALUES (?1, ?2, ?3, ?4);

-- name: clear_due
DELETE FROM hw_due WHERE tenant = ?1 AND key = ?2;

-- name: put_ready
-- A row that is replaced goes on counting its claims.
INSERT INTO hw_ready (tenant, queue, key, data, priority, at) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
ON CONFLICT (tenant, queue, key) DO UPDATE
SET data = excluded.data, priority = excluded.priority, at = excluded.at, holder = NULL;

-- name: clear_ready
DELETE FROM hw_ready WHERE tenant = ?1 AND queue = ?2 AND key = ?3 AND (?4 IS NULL OR claim = ?4);

-- name: withdraw_ready
DELETE FROM hw_ready WHERE tenant = ?1 AND queue = ?2 AND key = ?3 AND holder IS NULL;

-- name: put_entry
-- An entry keeps the time of its first.
INSERT INTO hw_entries (tenant, list, key, label, status, at, data) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
ON CONFLICT (tenant, list, key) DO UPDATE
SET label = excluded.label, status = excluded.status, data = excluded.data;

-- name: keys
-- Held keys of a tenant in a range.
SELECT tenant, key, holder FROM hw_keys WHERE tenant = ?1 AND key >= ?2 AND key < ?3 ORDER BY key LIMIT ?4;

-- name: put_state
-- The state of a stream at a version, where states of that fold are in use.
INSERT INTO hw_states (name, generation, tenant, key, position, state, parked, error, again)
SELECT p.name, p.generation, ?1, ?3, e.position, ?6, 0, '', 0
FROM hw_projections AS p CROSS JOIN hw_events AS e
WHERE p.name = ?2 AND p.live AND p.version = ?4
    AND e.tenant = ?1 AND e.stream_type = ?7 AND e.stream_id = ?8 AND e.version = ?5
ON CONFLICT (name, generation, tenant, key)
    DO UPDATE SET position = excluded.position, state = excluded.state, parked = 0, error = '';

-- name: fence
SELECT tenant, key, epoch, holder, wakes, seen, label, trial, deaths FROM hw_fences WHERE tenant = ?1 AND key = ?2;

-- name: due
-- Due rows up to a time, soonest first.
SELECT tenant, key, at, data FROM hw_due WHERE at <= ?1 ORDER BY at, tenant, key LIMIT ?2;

-- name: due_of_tenant
SELECT tenant, key, at, data FROM hw_due WHERE at <= ?1 AND tenant = ?3 ORDER BY at, tenant, key LIMIT ?2;

-- name: ready
-- A queue's rows, by priority, then time.
SELECT tenant, queue, key, priority, at, data, holder, claim FROM hw_ready WHERE queue = ?1
ORDER BY priority, at, tenant, key LIMIT ?2;

-- name: ready_of_tenant
SELECT tenant, queue, key, priority, at, data, holder, claim FROM hw_ready WHERE queue = ?1 AND tenant = ?3
ORDER BY priority, at, tenant, key LIMIT ?2;

-- name: save_snapshot
INSERT OR REPLACE INTO hw_snapshots (
    tenant, stream_type, stream_id, name, version, fold_version, chain, encoding, state
) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9);

-- name: prune_snapshots
-- Keep the newest of a stream.
DELETE FROM hw_snapshots
WHERE tenant = ?1 AND stream_type = ?2 AND stream_id = ?3 AND name = ?4 AND version NOT IN (
    SELECT version FROM hw_snapshots WHERE tenant = ?1 AND stream_type = ?2 AND stream_id = ?3 AND name = ?4
    ORDER BY version DESC LIMIT ?5
);

-- name: load_snapshot
-- The newest snapshot at or below a version that was taken of the event which is there.
SELECT s.version, s.chain, s.encoding, s.state
FROM hw_snapshots AS s CROSS JOIN hw_events AS e
    ON e.tenant = s.tenant AND e.stream_type = s.stream_type AND e.stream_id = s.stream_id AND e.version = s.version
WHERE s.tenant = ?1 AND s.stream_type = ?2 AND s.stream_id = ?3 AND s.name = ?4 AND s.fold_version = ?5
    AND s.version <= ?6 AND e.chain = s.chain
ORDER BY s.version DESC LIMIT 1;
