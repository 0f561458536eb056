-- The log, its side rows, and who may see what.
--
-- Events are only ever inserted: no row of the log is updated, so an old snapshot does not slow appends down.
-- What belongs to a tenant begins with it. Every table has row-level security forced, on its owner too:
--   headwater_worker  crosses tenants: the engine and the projector; it alone sees the workers
--   headwater_server  sees the tenants that its transaction has named with headwater.act_for
--   headwater_tail    reads position, chain and time of events and nothing else; owns headwater.place

CREATE SCHEMA headwater;
GRANT USAGE ON SCHEMA headwater TO headwater_worker, headwater_server, headwater_tail;

CREATE TABLE headwater.log (
    incarnation uuid NOT NULL,
    one boolean PRIMARY KEY DEFAULT true CHECK (one)
);
INSERT INTO headwater.log (incarnation) VALUES (gen_random_uuid());

CREATE TABLE headwater.migrations (
    name text PRIMARY KEY,
    checksum text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE headwater.tenants (
    tenant text COLLATE "C" PRIMARY KEY CHECK (tenant <> ''),
    shard smallint NOT NULL
);

-- The widths that are fixed come first, so that a row is read without looking for them. Nothing is compressed by
-- Postgres: the codec has done that.
CREATE TABLE headwater.events (
    position bigint NOT NULL,
    version bigint NOT NULL,
    occurred_at bigint NOT NULL,
    recorded_at bigint NOT NULL,
    event_id uuid NOT NULL,
    schema_version integer NOT NULL,
    spec_version integer NOT NULL,
    shard smallint NOT NULL,
    tenant text COLLATE "C" NOT NULL CHECK (tenant <> ''),
    stream_type text COLLATE "C" NOT NULL,
    stream_id text COLLATE "C" NOT NULL,
    type text COLLATE "C" NOT NULL,
    encoding text COLLATE "C" NOT NULL,
    digest bytea STORAGE PLAIN NOT NULL,
    chain bytea STORAGE PLAIN NOT NULL,
    run_id text COLLATE "C",
    correlation_id text COLLATE "C",
    causation_id text COLLATE "C",
    actor text COLLATE "C",
    traceparent text COLLATE "C",
    blob bytea STORAGE PLAIN,
    metadata bytea STORAGE EXTERNAL,
    data bytea STORAGE EXTERNAL,
    PRIMARY KEY (shard, position)
);
CREATE UNIQUE INDEX events_by_id ON headwater.events (event_id, tenant);
CREATE UNIQUE INDEX events_by_stream ON headwater.events (stream_id, tenant, stream_type, version);
CREATE INDEX events_by_run ON headwater.events (run_id, shard, position) WHERE run_id IS NOT NULL;
CREATE INDEX events_by_correlation ON headwater.events (correlation_id, shard, position)
    WHERE correlation_id IS NOT NULL;
-- A log of one tenant needs no index by tenant: its only tenant is called 'default'.
CREATE INDEX events_by_tenant ON headwater.events (tenant, shard, position) WHERE tenant <> 'default';

CREATE TABLE headwater.keys (
    tenant text COLLATE "C" NOT NULL CHECK (tenant <> ''),
    key text COLLATE "C" NOT NULL,
    holder text NOT NULL,
    PRIMARY KEY (tenant, key)
);

CREATE TABLE headwater.fences (
    tenant text COLLATE "C" NOT NULL CHECK (tenant <> ''),
    key text COLLATE "C" NOT NULL,
    epoch bigint NOT NULL DEFAULT 0,
    wakes bigint NOT NULL DEFAULT 0,
    seen bigint NOT NULL DEFAULT 0,
    woken_at bigint NOT NULL DEFAULT 0,
    trial integer NOT NULL DEFAULT 0,
    deaths integer NOT NULL DEFAULT 0,
    label text COLLATE "C" NOT NULL DEFAULT '',
    holder text COLLATE "C",
    PRIMARY KEY (tenant, key)
) WITH (fillfactor = 60);
-- Who looks for work finds what is free and woken, what is theirs and woken, and whose owner may be gone: see
-- functions/60_owners.sql.
CREATE INDEX fences_free ON headwater.fences (label, (trial > 0), woken_at, tenant, key)
    WHERE holder IS NULL AND wakes > seen;
CREATE INDEX fences_woken ON headwater.fences (holder, tenant, key) WHERE holder IS NOT NULL AND wakes > seen;
CREATE INDEX fences_held ON headwater.fences (holder) WHERE holder IS NOT NULL;

CREATE TABLE headwater.due (
    tenant text COLLATE "C" NOT NULL CHECK (tenant <> ''),
    key text COLLATE "C" NOT NULL,
    at bigint NOT NULL,
    data bytea NOT NULL,
    PRIMARY KEY (tenant, key)
);
CREATE INDEX due_by_time ON headwater.due (at, tenant, key);

CREATE TABLE headwater.ready (
    tenant text COLLATE "C" NOT NULL CHECK (tenant <> ''),
    queue text COLLATE "C" NOT NULL,
    key text COLLATE "C" NOT NULL,
    priority integer NOT NULL,
    at bigint NOT NULL,
    claim bigint NOT NULL DEFAULT 0,
    holder text COLLATE "C",
    data bytea NOT NULL,
    PRIMARY KEY (tenant, queue, key)
);
CREATE INDEX ready_free ON headwater.ready (queue, priority, at, tenant, key) WHERE holder IS NULL;
CREATE INDEX ready_held ON headwater.ready (holder, queue) WHERE holder IS NOT NULL;

-- What lists show. An entry is put at a thing's beginning and at its end; labels are looked through, not indexed.
CREATE TABLE headwater.entries (
    tenant text COLLATE "C" NOT NULL CHECK (tenant <> ''),
    list text COLLATE "C" NOT NULL,
    key text COLLATE "C" NOT NULL,
    at bigint NOT NULL,
    label text COLLATE "C" NOT NULL,
    status text COLLATE "C" NOT NULL,
    data bytea NOT NULL,
    PRIMARY KEY (list, key, tenant)
);
CREATE INDEX entries_by_status ON headwater.entries (list, status, at, key);
CREATE INDEX entries_by_label ON headwater.entries (list, label, at, key);
CREATE INDEX entries_by_tenant ON headwater.entries (tenant, list, status, at, key) WHERE tenant <> 'default';

-- The workers that hold fences and ready rows, of whatever tenants.
CREATE TABLE headwater.workers (
    id text COLLATE "C" PRIMARY KEY,
    place text NOT NULL,
    lease_us bigint NOT NULL,
    enrolled_at bigint NOT NULL,
    beat_at bigint NOT NULL,
    data bytea NOT NULL
);

CREATE TABLE headwater.blobs (
    tenant text COLLATE "C" NOT NULL CHECK (tenant <> ''),
    hash bytea STORAGE PLAIN NOT NULL,
    bytes bytea STORAGE EXTERNAL NOT NULL,
    PRIMARY KEY (tenant, hash)
);

CREATE TABLE headwater.snapshots (
    tenant text COLLATE "C" NOT NULL CHECK (tenant <> ''),
    stream_type text COLLATE "C" NOT NULL,
    stream_id text COLLATE "C" NOT NULL,
    name text COLLATE "C" NOT NULL,
    version bigint NOT NULL,
    fold_version integer NOT NULL,
    chain bytea NOT NULL,
    encoding text NOT NULL,
    state bytea STORAGE EXTERNAL NOT NULL,
    PRIMARY KEY (tenant, stream_type, stream_id, name, version)
);

-- Calls that a program has put into its own open transaction, until its COMMIT appends them: see functions/enlist.sql.
-- The columns are the arguments of headwater.append. Nobody else ever sees a row.
CREATE UNLOGGED TABLE headwater.staged (
    xact xid8 NOT NULL DEFAULT pg_current_xact_id(),
    number bigint GENERATED ALWAYS AS IDENTITY,
    tenant text COLLATE "C" NOT NULL CHECK (tenant <> ''),
    shard smallint NOT NULL,
    stream_tenants text[], stream_types text[], stream_ids text[], stream_heads bigint[],
    call_ends int[], write_streams int[], write_expects bigint[], write_skips boolean[], write_ends int[],
    event_streams int[], event_offsets int[], event_ids uuid[], event_types text[], schema_versions int[],
    spec_versions int[], occurred_ats bigint[], run_ids text[], correlation_ids text[], causation_ids text[],
    actors text[], traceparents text[], encodings text[], datas bytea[], metadatas bytea[], blobs bytea[],
    digests bytea[],
    side_calls int[], side_tenants text[], side_kinds text[], side_keys text[], side_names text[],
    side_numbers bigint[], side_priorities int[], side_datas bytea[], side_labels text[], side_statuses text[],
    new_tenants text[], careful boolean,
    PRIMARY KEY (xact, number)
);

-- Attempts to append whose outcome was lost and that were made again: should the lost one still be under way, it must
-- not take effect any more. Kept for a day.
CREATE TABLE headwater.voided (
    attempt uuid PRIMARY KEY,
    at bigint NOT NULL
);

-- What programs' own transactions leave when they commit, so that one whose answer was lost can be told from one that was
-- rolled back. (A transaction's id does not tell: a server that crashed may give it again.) Kept for ten minutes.
CREATE TABLE headwater.commits (
    token uuid PRIMARY KEY,
    at bigint NOT NULL
);
CREATE INDEX commits_by_time ON headwater.commits (at);

-- Projections: how far each generation is and who folds it, and its states. See headwater/projections.
CREATE TABLE headwater.projections (
    name text COLLATE "C" NOT NULL,
    generation integer NOT NULL,
    version integer NOT NULL,
    live boolean NOT NULL,
    paused boolean NOT NULL DEFAULT false,
    position bigint NOT NULL DEFAULT 0,
    epoch bigint NOT NULL DEFAULT 0,
    holder text COLLATE "C" NOT NULL DEFAULT '',
    until bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (name, generation)
) WITH (fillfactor = 50);
CREATE UNIQUE INDEX projections_live ON headwater.projections (name) WHERE live;

CREATE TABLE headwater.states (
    name text COLLATE "C" NOT NULL,
    generation integer NOT NULL,
    position bigint NOT NULL,
    parked bigint NOT NULL,
    again integer NOT NULL,
    tenant text COLLATE "C" NOT NULL CHECK (tenant <> ''),
    key text COLLATE "C" NOT NULL,
    error text NOT NULL,
    state bytea,
    PRIMARY KEY (name, generation, tenant, key)
) WITH (fillfactor = 70);
CREATE INDEX states_parked ON headwater.states (name, generation, tenant, key) WHERE parked > 0 OR again > 0;

-- The tenants that this transaction acts for, where its role may not cross them.
CREATE FUNCTION headwater.acting_for() RETURNS text[]
    LANGUAGE sql STABLE PARALLEL SAFE
    RETURN string_to_array(current_setting('headwater.tenants', true), E'\x1f');

DO $$
DECLARE
    t text;
BEGIN
    FOREACH t IN ARRAY ARRAY['log', 'migrations', 'tenants', 'events', 'keys', 'fences', 'due', 'ready', 'entries', 'blobs',
                             'snapshots', 'staged', 'voided', 'commits', 'workers', 'projections', 'states'] LOOP
        EXECUTE format('ALTER TABLE headwater.%I ENABLE ROW LEVEL SECURITY', t);
        EXECUTE format('ALTER TABLE headwater.%I FORCE ROW LEVEL SECURITY', t);
        EXECUTE format('CREATE POLICY worker ON headwater.%I TO headwater_worker USING (true) WITH CHECK (true)', t);
        IF t IN ('log', 'migrations', 'projections') THEN
            EXECUTE format('CREATE POLICY server ON headwater.%I FOR SELECT TO headwater_server USING (true)', t);
            EXECUTE format('GRANT SELECT ON headwater.%I TO headwater_worker, headwater_server', t);
        ELSIF t IN ('voided', 'commits') THEN
            EXECUTE format('CREATE POLICY server ON headwater.%I TO headwater_server USING (true)', t);
        ELSIF t <> 'workers' THEN
            EXECUTE format(
                'CREATE POLICY server ON headwater.%I TO headwater_server'
                ' USING (tenant = ANY ((SELECT headwater.acting_for())::text[]))', t);
        END IF;
    END LOOP;
END
$$;

GRANT UPDATE (incarnation) ON headwater.log TO headwater_worker;
GRANT SELECT, INSERT ON headwater.events, headwater.tenants, headwater.blobs TO headwater_worker, headwater_server;
GRANT SELECT, INSERT, UPDATE, DELETE
    ON headwater.keys, headwater.fences, headwater.due, headwater.ready, headwater.entries, headwater.snapshots
    TO headwater_worker, headwater_server;
GRANT SELECT, INSERT, UPDATE, DELETE ON headwater.workers, headwater.projections, headwater.states TO headwater_worker;
GRANT SELECT, INSERT, UPDATE ON headwater.states TO headwater_server;
GRANT SELECT, INSERT, UPDATE, DELETE ON headwater.commits TO headwater_worker, headwater_server;
GRANT SELECT, INSERT, DELETE ON headwater.staged, headwater.voided TO headwater_worker, headwater_server;
GRANT SELECT (shard, position, chain, recorded_at) ON headwater.events TO headwater_tail;
CREATE POLICY tail ON headwater.events FOR SELECT TO headwater_tail USING (true);
