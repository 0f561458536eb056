-- name: checkpoints
-- All generations, of one projection or of all.
SELECT name, generation, version, live, paused, position, epoch, holder FROM headwater.projections
WHERE $1::text IS NULL OR name = $1 ORDER BY name, generation;

-- name: create
-- A generation at its beginning; one that is there, and another live one, stay as they are.
INSERT INTO headwater.projections (name, generation, version, live) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING;

-- name: take
-- Take or keep the lease, by the database's clock.
UPDATE headwater.projections
SET epoch = epoch + (holder <> $3)::int, holder = $3, until = headwater.now_us() + $4
WHERE name = $1 AND generation = $2 AND (holder = $3 OR until <= headwater.now_us())
RETURNING name, generation, version, live, paused, position, epoch, holder;

-- name: release
-- Let others take it now.
UPDATE headwater.projections SET until = 0 WHERE name = $1 AND generation = $2 AND holder = $3;

-- name: pause
-- Have the live one stand still, or go on.
UPDATE headwater.projections SET paused = $2, epoch = epoch + 1 WHERE name = $1 AND live RETURNING 1;

-- name: swap
-- Put a generation into the live one's place, if it is at least as far.
SELECT headwater.swap_projection($1, $2, $3, $4);

-- name: drop
-- Forget a generation that is not live.
WITH gone AS (
    DELETE FROM headwater.projections WHERE name = $1 AND generation = $2 AND NOT live RETURNING 1
)
DELETE FROM headwater.states WHERE name = $1 AND generation = $2 AND EXISTS (SELECT FROM gone);

-- name: load
-- The states of some keys, each looked up by itself: a join of a table that was not analyzed yet compares all with all.
SELECT s.tenant, s.key, s.position, s.state, s.parked, s.error, s.again
FROM unnest($3::text[], $4::text[]) AS k (tenant, key)
CROSS JOIN LATERAL (
    SELECT * FROM headwater.states s
    WHERE s.name = $1 AND s.generation = $2 AND s.tenant = k.tenant AND s.key = k.key LIMIT 1
) s;

-- name: save
-- Move the checkpoint from where it is thought to be, and write the states if it was there, unless a newer one went with
-- an append meanwhile. The arrays behind the states are empty where no key is parked or asked for: to bind them is a
-- quarter of a save.
WITH moved AS (
    UPDATE headwater.projections SET position = $5
    WHERE name = $1 AND generation = $2 AND epoch = $3 AND position = $4 RETURNING 1
), saved AS (
    INSERT INTO headwater.states AS kept (name, generation, tenant, key, position, state, parked, error, again)
    SELECT $1, $2, u.tenant, u.key, u.position, u.state,
        coalesce(u.parked, 0), coalesce(u.error, ''), coalesce(u.again, 0)
    FROM unnest($6::text[], $7::text[], $8::bigint[], $9::bytea[], $10::bigint[], $11::text[], $12::int[])
        AS u (tenant, key, position, state, parked, error, again)
    WHERE EXISTS (SELECT FROM moved)
    ON CONFLICT (name, generation, tenant, key) DO UPDATE SET
        position = excluded.position, state = excluded.state, parked = excluded.parked,
        error = excluded.error, again = excluded.again
        WHERE kept.position <= excluded.position OR kept.again > 0
)
SELECT 1 FROM moved;

-- name: page
-- States in order.
SELECT tenant, key, position, state, parked, error, again FROM headwater.states
WHERE name = $1 AND generation = $2 AND (tenant, key) > ($3, $4) ORDER BY tenant, key LIMIT $5;

-- name: parked
-- What is parked, or to be folded again; that first.
SELECT tenant, key, position, state, parked, error, again FROM headwater.states
WHERE name = $1 AND generation = $2 AND (parked > 0 OR again > 0) ORDER BY again = 0, tenant, key LIMIT $3;

-- name: request
-- Ask for keys of the live generation to be folded again, and have its folder look.
SELECT headwater.request_states($1, $2, $3, $4);
