-- What the backend asks. Filters that choose no index are written so that NULL means none; those that do have a query of their own,
-- because one plan must serve every value.

-- name: events
-- The columns of a stored row, in the order of StoredRow.
e.position, e.tenant, e.stream_type, e.stream_id, e.version, e.event_id, e.type, e.schema_version, e.spec_version,
e.occurred_at, e.recorded_at, e.run_id, e.correlation_id, e.causation_id, e.actor, e.traceparent, e.encoding, e.data, e.metadata,
e.blob, e.digest, e.chain

-- name: log
-- A stretch of the log.
SELECT {events} FROM headwater.events e
WHERE e.shard = $1 AND e.position > $2 AND e.position <= $3
ORDER BY e.position LIMIT $4

-- name: log_filtered
-- A stretch of the log, looked through for types and tenants.
SELECT {events} FROM headwater.events e
WHERE e.shard = $1 AND e.position > $2 AND e.position <= $3
    AND ($5::text[] IS NULL OR e.stream_type = ANY ($5)) AND ($6::text[] IS NULL OR e.type = ANY ($6))
    AND ($7::text IS NULL OR e.tenant = $7)
ORDER BY e.position LIMIT $4

-- name: log_to_tail
-- The same with the tail of the log, in each row: one statement sees one log, so what it sees goes up to that tail.
SELECT e.*, tail.position, tail.chain FROM (
    SELECT t.position, t.chain FROM headwater.events t WHERE t.shard = $1 ORDER BY t.position DESC LIMIT 1
) tail LEFT JOIN LATERAL (
    SELECT {events} FROM headwater.events e
    WHERE e.shard = $1 AND e.position > $2 AND e.position <= $3
        AND ($5::text[] IS NULL OR e.stream_type = ANY ($5)) AND ($6::text[] IS NULL OR e.type = ANY ($6))
        AND ($7::text IS NULL OR e.tenant = $7)
    ORDER BY e.position LIMIT $4
) e ON true

-- name: log_of_tenant
-- What one tenant wrote, through the index that leaves the tenant 'default' out.
SELECT {events} FROM headwater.events e
WHERE e.shard = $1 AND e.position > $2 AND e.position <= $3
    AND ($5::text[] IS NULL OR e.stream_type = ANY ($5)) AND ($6::text[] IS NULL OR e.type = ANY ($6))
    AND e.tenant = $7 AND e.tenant <> 'default'
ORDER BY e.position LIMIT $4

-- name: log_of_run
-- What was written for one run.
SELECT {events} FROM headwater.events e
WHERE e.shard = $1 AND e.position > $2 AND e.position <= $3
    AND ($5::text[] IS NULL OR e.stream_type = ANY ($5)) AND ($6::text[] IS NULL OR e.type = ANY ($6))
    AND ($7::text IS NULL OR e.tenant = $7) AND ($9::text IS NULL OR e.correlation_id = $9) AND e.run_id = $8
ORDER BY e.position LIMIT $4

-- name: log_of_correlation
-- What one event set off, and that event itself: it has no correlation but its own id.
SELECT * FROM (
    (SELECT {events} FROM headwater.events e
     WHERE e.shard = $1 AND e.position > $2 AND e.position <= $3 AND e.correlation_id = $8
        AND ($5::text[] IS NULL OR e.stream_type = ANY ($5)) AND ($6::text[] IS NULL OR e.type = ANY ($6))
        AND ($7::text IS NULL OR e.tenant = $7)
     ORDER BY e.position LIMIT $4)
    UNION ALL
    (SELECT {events} FROM headwater.events e
     WHERE e.event_id = $9::uuid AND e.correlation_id IS NULL
        AND e.shard = $1 AND e.position > $2 AND e.position <= $3
        AND ($5::text[] IS NULL OR e.stream_type = ANY ($5)) AND ($6::text[] IS NULL OR e.type = ANY ($6))
        AND ($7::text IS NULL OR e.tenant = $7))
) found ORDER BY position LIMIT $4

-- name: stream
-- One stream, oldest first.
SELECT {events} FROM headwater.events e
WHERE e.stream_id = $1 AND e.tenant = $2 AND e.stream_type = $3 AND e.version >= $4 AND e.version <= $5
    AND ($6::bigint IS NULL OR e.recorded_at <= $6)
ORDER BY e.version LIMIT $7

-- name: stream_backward
-- One stream, newest first.
SELECT {events} FROM headwater.events e
WHERE e.stream_id = $1 AND e.tenant = $2 AND e.stream_type = $3 AND e.version >= $4 AND e.version <= $5
    AND ($6::bigint IS NULL OR e.recorded_at <= $6)
ORDER BY e.version DESC LIMIT $7

-- name: streams
-- Several streams at once, each from its version; the stream's number comes last.
SELECT found.*, s.number FROM unnest($1::text[], $2::text[], $3::text[], $4::bigint[])
    WITH ORDINALITY s(id, tenant, type, version, number)
CROSS JOIN LATERAL (
    SELECT {events} FROM headwater.events e
    WHERE e.stream_id = s.id AND e.tenant = s.tenant AND e.stream_type = s.type AND e.version >= s.version
    ORDER BY e.version LIMIT $5
) found ORDER BY s.number, found.version

-- name: version
-- The version of a stream.
SELECT e.version FROM headwater.events e
WHERE e.stream_id = $1 AND e.tenant = $2 AND e.stream_type = $3 ORDER BY e.version DESC LIMIT 1

-- name: find
-- Events by their ids.
SELECT {events} FROM headwater.events e WHERE e.event_id = ANY ($2::uuid[]) AND e.tenant = $1 ORDER BY e.position

-- name: place
-- A position with its chain; the last one for NULL.
SELECT position, chain FROM headwater.place($1, $2)

-- name: position_at
-- The last position at or before a time.
SELECT headwater.position_at($1, $2)

-- name: log_info
-- Which log this is.
SELECT incarnation FROM headwater.log

-- name: now_us
-- The database's clock.
SELECT headwater.now_us()

-- name: put_blobs
-- Store large payloads by their hashes; those that are there stay.
INSERT INTO headwater.blobs (tenant, hash, bytes)
SELECT $1, b.hash, b.bytes FROM unnest($2::bytea[], $3::bytea[]) b(hash, bytes) ORDER BY b.hash ON CONFLICT DO NOTHING

-- name: get_blobs
-- Large payloads by their hashes.
SELECT b.hash, b.bytes FROM headwater.blobs b WHERE b.tenant = $1 AND b.hash = ANY ($2::bytea[])

-- name: claim
SELECT key, epoch, wakes FROM headwater.claim($1, $2, $3, $4) ORDER BY key

-- name: release
-- Which of these fences were let go, by number.
SELECT number FROM headwater.release($1, $2, $3, $4, $5)

-- name: keys
-- Keys that are held, by prefix.
SELECT k.tenant, k.key, k.holder FROM headwater.keys k
WHERE k.tenant = $1 AND k.key >= $2 AND starts_with(k.key, $2) ORDER BY k.key LIMIT $3

-- name: fences
SELECT f.tenant, f.key, f.epoch, f.holder, f.wakes, f.seen, f.label, f.trial, f.deaths FROM headwater.fences f
WHERE f.tenant = $1 AND f.key = ANY ($2::text[]) ORDER BY f.key

-- name: due
-- Due rows by time; only those whose time has come, when $3.
SELECT d.tenant, d.key, d.at, d.data FROM headwater.due d
WHERE ($1::text IS NULL OR d.tenant = $1) AND (NOT $3::boolean OR d.at <= (SELECT headwater.now_us()))
ORDER BY d.at, d.tenant, d.key LIMIT $2

-- name: ready
-- A queue's ready rows, in the order in which they should be taken.
SELECT * FROM (
    (SELECT r.tenant, r.queue, r.key, r.priority, r.at, r.data, r.holder, r.claim FROM headwater.ready r
     WHERE ($1::text IS NULL OR r.tenant = $1) AND r.queue = $2 AND r.holder IS NULL
     ORDER BY r.priority, r.at, r.tenant, r.key LIMIT $3)
    UNION ALL
    (SELECT r.tenant, r.queue, r.key, r.priority, r.at, r.data, r.holder, r.claim FROM headwater.ready r
     WHERE ($1::text IS NULL OR r.tenant = $1) AND r.queue = $2 AND r.holder IS NOT NULL)
) found ORDER BY priority, at, tenant, key LIMIT $3

-- name: entry
-- The columns of an entry, in the order of EntryRow.
e.tenant, e.list, e.key, e.label, e.status, e.at, e.data

-- name: entries
-- A page of a list, newest first: the newest of each status that there is, or that is asked for.
WITH RECURSIVE there(status) AS (
    (SELECT e.status FROM headwater.entries e WHERE e.list = $2 ORDER BY e.status LIMIT 1)
    UNION ALL
    SELECT (SELECT e.status FROM headwater.entries e WHERE e.list = $2 AND e.status > there.status
            ORDER BY e.status LIMIT 1)
    FROM there WHERE there.status IS NOT NULL
)
SELECT e.* FROM there CROSS JOIN LATERAL (
    SELECT {entry} FROM headwater.entries e
    WHERE e.list = $2 AND e.status = there.status AND (e.at, e.key) < ($5, $6)
        AND ($1::text IS NULL OR e.tenant = $1) AND ($3::text IS NULL OR e.label = $3)
    ORDER BY e.at DESC, e.key DESC LIMIT $7
) e
WHERE $4::text[] IS NULL OR there.status = ANY ($4)
ORDER BY e.at DESC, e.key DESC LIMIT $7

-- name: entries_of_tenant
-- The same for one tenant, through the index that leaves the tenant 'default' out.
WITH RECURSIVE there(status) AS (
    (SELECT e.status FROM headwater.entries e WHERE e.tenant = $1 AND e.tenant <> 'default' AND e.list = $2
     ORDER BY e.status LIMIT 1)
    UNION ALL
    SELECT (SELECT e.status FROM headwater.entries e
            WHERE e.tenant = $1 AND e.tenant <> 'default' AND e.list = $2 AND e.status > there.status
            ORDER BY e.status LIMIT 1)
    FROM there WHERE there.status IS NOT NULL
)
SELECT e.* FROM there CROSS JOIN LATERAL (
    SELECT {entry} FROM headwater.entries e
    WHERE e.tenant = $1 AND e.tenant <> 'default' AND e.list = $2 AND e.status = there.status
        AND (e.at, e.key) < ($5, $6) AND ($3::text IS NULL OR e.label = $3)
    ORDER BY e.at DESC, e.key DESC LIMIT $7
) e
WHERE $4::text[] IS NULL OR there.status = ANY ($4)
ORDER BY e.at DESC, e.key DESC LIMIT $7

-- name: entries_of_label
-- A page of what has one label, whatever its status.
SELECT {entry} FROM headwater.entries e
WHERE e.list = $2 AND e.label = $3 AND (e.at, e.key) < ($4, $5) AND ($1::text IS NULL OR e.tenant = $1)
ORDER BY e.at DESC, e.key DESC LIMIT $6

-- name: entries_of_keys
-- Entries by their keys.
SELECT {entry} FROM headwater.entries e
WHERE e.list = $2 AND e.key = ANY ($8::text[]) AND ($1::text IS NULL OR e.tenant = $1)
    AND ($3::text IS NULL OR e.label = $3) AND ($4::text[] IS NULL OR e.status = ANY ($4)) AND (e.at, e.key) < ($5, $6)
ORDER BY e.at DESC, e.key DESC LIMIT $7

-- name: enrol
INSERT INTO headwater.workers (id, place, lease_us, data, enrolled_at, beat_at)
SELECT $1, $2, $3, $4, now, now FROM headwater.now_us() now
ON CONFLICT (id) DO UPDATE SET place = excluded.place, lease_us = excluded.lease_us, data = excluded.data,
    enrolled_at = excluded.enrolled_at, beat_at = excluded.beat_at

-- name: beat
UPDATE headwater.workers w SET data = $2, beat_at = headwater.now_us() WHERE w.id = $1 RETURNING w.beat_at

-- name: workers
SELECT w.id, w.place, w.lease_us, w.data, w.enrolled_at, w.beat_at FROM headwater.workers w ORDER BY w.id

-- name: held
SELECT f.holder, count(*) FROM headwater.fences f WHERE f.holder IS NOT NULL GROUP BY f.holder

-- name: held_ready
SELECT r.tenant, r.queue, r.key, r.claim FROM headwater.ready r WHERE r.holder = $1

-- name: sweep
-- Free what the dead and the gone hold; see functions/60_owners.sql for this and the next three.
SELECT workers, fences, ready FROM headwater.sweep($1, $2)

-- name: take
SELECT tenant, key, label, epoch, wakes, trial, deaths FROM headwater.take($1, $2, $3, $4, $5)

-- name: woken
SELECT tenant, key, epoch, wakes FROM headwater.woken($1, $2)

-- name: take_ready
SELECT tenant, queue, key, claim, at, data FROM headwater.take_ready($1, $2, $3)

-- name: save_snapshot
INSERT INTO headwater.snapshots (tenant, stream_type, stream_id, name, fold_version, version, chain, encoding, state)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
ON CONFLICT (tenant, stream_type, stream_id, name, version) DO UPDATE
SET fold_version = excluded.fold_version, chain = excluded.chain, encoding = excluded.encoding, state = excluded.state

-- name: prune_snapshots
DELETE FROM headwater.snapshots s
WHERE s.tenant = $1 AND s.stream_type = $2 AND s.stream_id = $3 AND s.name = $4 AND s.version <= (
    SELECT n.version FROM headwater.snapshots n
    WHERE n.tenant = $1 AND n.stream_type = $2 AND n.stream_id = $3 AND n.name = $4
    ORDER BY n.version DESC OFFSET $5 LIMIT 1)

-- name: load_snapshot
-- The newest snapshot whose chain is still that of its event.
SELECT s.fold_version, s.version, s.chain, s.encoding, s.state FROM headwater.snapshots s
JOIN headwater.events e ON e.stream_id = s.stream_id AND e.tenant = s.tenant AND e.stream_type = s.stream_type
    AND e.version = s.version AND e.chain = s.chain
WHERE s.tenant = $1 AND s.stream_type = $2 AND s.stream_id = $3 AND s.name = $4 AND s.fold_version = $5
    AND ($6::bigint IS NULL OR s.version <= $6)
ORDER BY s.version DESC LIMIT 1

-- name: restore_events
-- Events of an exported log, as they were.
INSERT INTO headwater.events (
    shard, position, tenant, stream_type, stream_id, version, event_id, type, schema_version, spec_version, occurred_at,
    recorded_at, run_id, correlation_id, causation_id, actor, traceparent, encoding, data, metadata, blob, digest, chain)
SELECT $1, e.* FROM unnest(
    $2::bigint[], $3::text[], $4::text[], $5::text[], $6::bigint[], $7::uuid[], $8::text[], $9::int[], $10::int[],
    $11::bigint[], $12::bigint[], $13::text[], $14::text[], $15::text[], $16::text[], $17::text[], $18::text[],
    $19::bytea[], $20::bytea[], $21::bytea[], $22::bytea[], $23::bytea[]) e

-- name: restore_tenants
INSERT INTO headwater.tenants (tenant, shard)
SELECT t, $2 FROM unnest($1::text[]) t ORDER BY t ON CONFLICT DO NOTHING

-- name: restore_side
SELECT headwater.apply_side($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)

-- name: restore_incarnation
UPDATE headwater.log SET incarnation = $1

-- name: append
-- A batch; see functions/20_append.sql, and parameters.py.
SELECT * FROM headwater.append({parameters})

-- name: stage
-- One call, into the program's own transaction; see functions/50_enlist.sql.
SELECT headwater.stage({parameters})

-- name: leave_token
-- At the end of a program's transaction that has written something: its id, and the token that will say that it committed.
WITH old AS (
    DELETE FROM headwater.commits WHERE token IN (
        SELECT token FROM headwater.commits WHERE at < headwater.now_us() - 600000000
        ORDER BY at LIMIT 10 FOR UPDATE SKIP LOCKED)
)
INSERT INTO headwater.commits (token, at)
SELECT $1, headwater.now_us() WHERE pg_current_xact_id_if_assigned() IS NOT NULL
RETURNING pg_current_xact_id()::text

-- name: xact_status
-- Whether a transaction is under way still.
SELECT pg_xact_status($1::text::xid8)

-- name: has_token
-- Whether a program's transaction has committed, once it is not under way any more.
SELECT EXISTS (SELECT FROM headwater.commits WHERE token = $1)

-- name: announce
-- Tell who listens that a shard has grown.
SELECT pg_notify('headwater_log', $1)

-- name: lock_shard
-- The turn to append to a shard, until the transaction ends; the same lock as in functions/20_append.sql.
SELECT pg_advisory_xact_lock(1214731852, $1)

-- name: who_am_i
-- The session's process, and which group roles its login is in; NULL for a role that there is not.
SELECT pg_backend_pid() AS pid,
    (SELECT pg_has_role(current_user, oid, 'usage') FROM pg_roles WHERE rolname = 'headwater_worker') AS worker,
    (SELECT pg_has_role(current_user, oid, 'usage') FROM pg_roles WHERE rolname = 'headwater_server') AS server
