-- name: make_table
-- Where the rows of all generations are.
CREATE TABLE IF NOT EXISTS {stored} (
    generation integer NOT NULL,
    tenant text COLLATE "C" NOT NULL,
    key text COLLATE "C" NOT NULL,
    {defined}
);

-- name: make_index
-- By the key that they are of.
CREATE INDEX IF NOT EXISTS {by_key} ON {stored} (generation, tenant, key);

-- name: make_view
-- Those of the generation in use.
CREATE OR REPLACE VIEW {view} AS
SELECT tenant, key, {columns} FROM {stored}
WHERE generation = (SELECT generation FROM headwater.projections WHERE name = '{projection}' AND live);

-- name: give_table
-- Workers write it.
GRANT SELECT, INSERT, DELETE ON {stored} TO headwater_worker;

-- name: give_view
-- Workers see that it is there. It shows all tenants: give it to whom that may concern.
GRANT SELECT ON {view} TO headwater_worker;

-- name: look
-- Whether the table is as it was declared.
SELECT generation, tenant, key, {columns} FROM {stored} LIMIT 0;

-- name: look_at_view
-- The same for the view.
SELECT tenant, key, {columns} FROM {view} LIMIT 0;

-- name: empty
-- What a generation of this number has left.
DELETE FROM {stored} WHERE generation = $1;

-- name: delete
-- The rows of some keys.
DELETE FROM {stored} t USING unnest($2::text[], $3::text[]) k (tenant, key)
WHERE t.generation = $1 AND t.tenant = k.tenant AND t.key = k.key;

-- name: insert
-- One row.
INSERT INTO {stored} (generation, tenant, key, {columns}) VALUES ($1, $2, $3, {marks});

-- name: next
-- The next generation of which there are rows.
SELECT min(generation) FROM {stored} WHERE generation > $1;

-- name: sweep
-- Some of what a generation has left, if there is no such one any more.
DELETE FROM {stored} WHERE ctid = ANY (ARRAY(
    SELECT ctid FROM {stored} WHERE generation = $2 AND NOT EXISTS (
        SELECT 1 FROM headwater.projections WHERE name = $1 AND generation = $2
    ) LIMIT 5000
)) RETURNING 1;
