-- name: make
-- States of all generations, and of each the row that says how far its last write went (tenant '-'). What was
-- acknowledged is on the disk: the checkpoint in the log's database relies on it.
CREATE TABLE IF NOT EXISTS _headwater_states (
    log_id String,
    name String,
    generation String,
    tenant String,
    key String,
    version UInt128,
    position UInt64,
    state Nullable(String) CODEC(ZSTD)
) ENGINE = ReplacingMergeTree(version) PARTITION BY generation ORDER BY (generation, tenant, key)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1, min_compressed_bytes_to_fsync_after_merge = 1;

-- name: view
-- The states in use, for whoever asks with SQL.
CREATE OR REPLACE VIEW {view} AS
SELECT tenant, key, position, assumeNotNull(state) AS state FROM _headwater_states FINAL
WHERE generation = {generation} AND tenant <> '-' AND state IS NOT NULL;

-- name: load
-- The states of some keys.
SELECT tenant, key, position, state FROM _headwater_states FINAL
WHERE generation = {generation} AND (tenant, key) IN ({keys});

-- name: page
-- States in order.
SELECT tenant, key, position, state FROM _headwater_states FINAL
WHERE generation = {generation} AND tenant >= {tenant} AND (tenant > {tenant} OR key > {key}) AND tenant <> '-'
ORDER BY tenant, key LIMIT {limit};

-- name: keys
-- Whose states there are.
SELECT DISTINCT tenant, key FROM _headwater_states
WHERE generation = {generation} AND tenant <> '-' AND {chosen} ORDER BY tenant, key;

-- name: generations
-- What there is of a projection.
SELECT DISTINCT generation FROM _headwater_states WHERE tenant = '-' AND log_id = {log_id} AND name = {name};

-- name: forget
-- All of a generation.
ALTER TABLE _headwater_states DROP PARTITION {generation};
