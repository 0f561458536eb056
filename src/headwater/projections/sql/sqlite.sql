-- name: checkpoints
-- All generations, of one projection or of all.
SELECT name, generation, version, live, paused, position, epoch, holder FROM hw_projections
WHERE ?1 IS NULL OR name = ?1 ORDER BY name, generation;

-- name: create
-- A generation at its beginning; a second live one is left alone.
INSERT OR IGNORE INTO hw_projections (name, generation, version, live) VALUES (?, ?, ?, ?);

-- name: take
-- Take or keep the lease.
UPDATE hw_projections SET epoch = epoch + (holder <> ?3), holder = ?3, until = ?4 + ?5
WHERE name = ?1 AND generation = ?2 AND (holder = ?3 OR until <= ?4)
RETURNING name, generation, version, live, paused, position, epoch, holder;

-- name: release
-- Let others take it now.
UPDATE hw_projections SET until = 0 WHERE name = ? AND generation = ? AND holder = ?;

-- name: pause
-- Have the live one stand still, or go on.
UPDATE hw_projections SET paused = ?2, epoch = epoch + 1 WHERE name = ?1 AND live RETURNING 1;

-- name: behind
-- Whether the live one is further than this.
SELECT 1 FROM hw_projections WHERE name = ? AND live AND position > ?;

-- name: was_paused
-- Whether the live one stands still.
SELECT paused FROM hw_projections WHERE name = ? AND live;

-- name: here
-- Whether a generation is where its folder thinks it is.
SELECT 1 FROM hw_projections WHERE name = ? AND generation = ? AND epoch = ? AND position = ?;

-- name: drop_others
-- Forget all generations but one.
DELETE FROM hw_projections WHERE name = ? AND generation <> ?;

-- name: drop_other_states
-- The same for the states.
DELETE FROM hw_states WHERE name = ? AND generation <> ?;

-- name: make_live
-- Put a generation into use.
UPDATE hw_projections SET live = 1, paused = ?3, epoch = epoch + 1, until = 0 WHERE name = ?1 AND generation = ?2;

-- name: drop
-- Forget a generation that is not live.
DELETE FROM hw_projections WHERE name = ? AND generation = ? AND NOT live RETURNING 1;

-- name: drop_states
-- The same for its states.
DELETE FROM hw_states WHERE name = ? AND generation = ?;

-- name: load
-- One state.
SELECT tenant, key, position, state, parked, error, again FROM hw_states
WHERE name = ? AND generation = ? AND tenant = ? AND key = ?;

-- name: move
-- Move the checkpoint from where it is thought to be.
UPDATE hw_projections SET position = ?5 WHERE name = ?1 AND generation = ?2 AND epoch = ?3 AND position = ?4
RETURNING 1;

-- name: save
-- One state, unless a newer one went with an append meanwhile.
INSERT INTO hw_states AS kept (name, generation, tenant, key, position, state, parked, error, again)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (name, generation, tenant, key) DO UPDATE SET
    position = excluded.position, state = excluded.state, parked = excluded.parked, error = excluded.error,
    again = excluded.again
WHERE kept.position <= excluded.position OR kept.again > 0;

-- name: save_many
-- The same for many, as a JSON array of rows.
INSERT INTO hw_states AS kept (name, generation, tenant, key, position, state, parked, error, again)
SELECT ?1, ?2, value ->> 0, value ->> 1, value ->> 2, CAST(value ->> 3 AS BLOB), value ->> 4, value ->> 5, value ->> 6
FROM json_each(?3) WHERE true
ON CONFLICT (name, generation, tenant, key) DO UPDATE SET
    position = excluded.position, state = excluded.state, parked = excluded.parked, error = excluded.error,
    again = excluded.again
WHERE kept.position <= excluded.position OR kept.again > 0;

-- name: page
-- States in order.
SELECT tenant, key, position, state, parked, error, again FROM hw_states
WHERE name = ? AND generation = ? AND (tenant, key) > (?, ?) ORDER BY tenant, key LIMIT ?;

-- name: parked
-- What is parked, or to be folded again; that first.
SELECT tenant, key, position, state, parked, error, again FROM hw_states
WHERE name = ? AND generation = ? AND (parked > 0 OR again > 0) ORDER BY again = 0, tenant, key LIMIT ?;

-- name: request
-- Ask for keys of the live generation to be folded again.
UPDATE hw_states SET again = ?2 WHERE name = ?1
  AND generation = (SELECT generation FROM hw_projections WHERE name = ?1 AND live)
  AND (?3 IS NULL OR tenant = ?3) AND (?4 IS NULL OR key = ?4) AND (parked > 0 OR ?2 = 2)
RETURNING 1;

-- name: disturb
-- Have whoever folds the live generation look at it anew.
UPDATE hw_projections SET epoch = epoch + 1 WHERE name = ? AND live;
