-- name: make_table
-- Where the rows of all generations are.
CREATE TABLE IF NOT EXISTS {stored} (
    generation INTEGER NOT NULL,
    tenant TEXT NOT NULL,
    key TEXT NOT NULL,
    {defined}
);

-- name: make_index
-- By the key that they are of.
CREATE INDEX IF NOT EXISTS {by_key} ON {stored} (generation, tenant, key);

-- name: make_view
-- Those of the generation in use.
CREATE VIEW IF NOT EXISTS {view} AS
SELECT tenant, key, {columns} FROM {stored}
WHERE generation = (SELECT generation FROM hw_projections WHERE name = '{projection}' AND live);

-- name: look
-- Whether the table is as it was declared.
SELECT generation, tenant, key, {columns} FROM {stored} LIMIT 0;

-- name: look_at_view
-- The same for the view.
SELECT tenant, key, {columns} FROM {view} LIMIT 0;

-- name: empty
-- What a generation of this number has left.
DELETE FROM {stored} WHERE generation = ?;

-- name: delete
-- The rows of a key.
DELETE FROM {stored} WHERE generation = ? AND tenant = ? AND key = ?;

-- name: insert
-- One row.
INSERT INTO {stored} (generation, tenant, key, {columns}) VALUES (?, ?, ?, {marks});

-- name: next
-- The next generation of which there are rows.
SELECT min(generation) FROM {stored} WHERE generation > ?1;

-- name: sweep
-- Some of what a generation has left, if there is no such one any more.
DELETE FROM {stored} WHERE rowid IN (
    SELECT rowid FROM {stored} WHERE generation = ?2 AND NOT EXISTS (
        SELECT 1 FROM hw_projections WHERE name = ?1 AND generation = ?2
    ) LIMIT 2000
) RETURNING 1;
