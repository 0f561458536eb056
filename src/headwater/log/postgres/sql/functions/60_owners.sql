-- Workers, and what they own: see headwater/log/ownership.py for what is promised.
--
-- Why it is right.
-- * Nothing here takes the shard's lock. Locks are taken in one order: workers, then fences by key, then ready rows; an
--   append takes fences, then ready rows, and no worker. What is taken, and ready rows in a sweep, are skipped where
--   they are locked and never waited for, so their order does not matter.
-- * A claim and an append that names the old epoch (or the old claim of a ready row) lock the same row, and the append
--   judges by a later statement than the one that has waited: whoever comes second sees the first.
-- * Who takes has a share of its own worker's row, which a sweep must have alone before it removes it. So a sweep waits
--   for a claim that is under way and then sees what it has taken, and who comes after the sweep gets nothing.
-- * An append may open a fence for a worker that is being swept away: what is held by a worker that there is not is
--   found by the next sweep, whose look at the holders goes from one to the next through the index. The same holds for a
--   ready row that was locked by somebody when it was to be freed.
-- * Leases are compared with the database's clock, in the statement that locks the worker: a beat that was waited for
--   counts.
--
-- Only a role that crosses tenants may see a worker, so nobody else takes or sweeps.

-- Free what is held by the dead, the expired and the unknown, and by those who left.
CREATE OR REPLACE FUNCTION headwater.sweep(dead text[], departed text[], OUT workers text[], OUT fences int, OUT ready int)
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
    SET enable_seqscan = off SET enable_bitmapscan = off SET enable_hashjoin = off SET enable_mergejoin = off
    SET plan_cache_mode = force_generic_plan SET jit = off
AS $$
DECLARE
    now_us CONSTANT bigint := headwater.now_us();
    lost text[];
BEGIN
    WITH gone AS MATERIALIZED (
        SELECT w.id FROM headwater.workers w
        WHERE w.beat_at + w.lease_us <= now_us OR w.id = ANY (dead) OR w.id = ANY (departed)
        ORDER BY w.id FOR UPDATE
    ), removed AS (
        DELETE FROM headwater.workers w USING gone WHERE w.id = gone.id RETURNING w.id
    )
    SELECT coalesce(array_agg(r.id ORDER BY r.id), '{}') INTO workers FROM removed r;

    WITH RECURSIVE there(holder) AS (
        (SELECT f.holder FROM headwater.fences f WHERE f.holder IS NOT NULL ORDER BY f.holder LIMIT 1)
        UNION ALL
        SELECT (SELECT f.holder FROM headwater.fences f WHERE f.holder > there.holder ORDER BY f.holder LIMIT 1)
        FROM there WHERE there.holder IS NOT NULL
    )
    SELECT array_agg(t.holder) INTO lost FROM there t
    WHERE t.holder IS NOT NULL AND NOT EXISTS (SELECT FROM headwater.workers w WHERE w.id = t.holder);
    fences := 0;
    IF lost IS NOT NULL THEN
        WITH freed AS MATERIALIZED (
            SELECT f.tenant, f.key, f.holder FROM headwater.fences f WHERE f.holder = ANY (lost)
            ORDER BY f.tenant, f.key FOR NO KEY UPDATE
        ), suspects AS MATERIALIZED (
            SELECT o.tenant, o.key, o.died, CASE WHEN o.died THEN count(*) OVER (PARTITION BY o.holder) END AS together
            FROM (SELECT *, s.holder = ANY (workers) AND NOT s.holder = ANY (departed) AS died FROM freed s) o
        )
        UPDATE headwater.fences f SET
            epoch = f.epoch + 1, holder = NULL, wakes = f.wakes + 1,
            woken_at = CASE WHEN f.wakes = f.seen THEN now_us ELSE f.woken_at END,
            trial = CASE WHEN s.died THEN (least(s.together, nullif(f.trial, 0)) + 1) / 2 ELSE f.trial END,
            deaths = f.deaths + CASE WHEN s.died AND f.trial = 1 THEN 1 ELSE 0 END
        FROM suspects s WHERE f.tenant = s.tenant AND f.key = s.key;
        GET DIAGNOSTICS fences = ROW_COUNT;
    END IF;

    WITH RECURSIVE there(holder) AS (
        (SELECT r.holder FROM headwater.ready r WHERE r.holder IS NOT NULL ORDER BY r.holder LIMIT 1)
        UNION ALL
        SELECT (SELECT r.holder FROM headwater.ready r WHERE r.holder > there.holder ORDER BY r.holder LIMIT 1)
        FROM there WHERE there.holder IS NOT NULL
    )
    SELECT array_agg(t.holder) INTO lost FROM there t
    WHERE t.holder IS NOT NULL AND NOT EXISTS (SELECT FROM headwater.workers w WHERE w.id = t.holder);
    ready := 0;
    IF lost IS NOT NULL THEN
        WITH freed AS MATERIALIZED (
            SELECT r.tenant, r.queue, r.key FROM headwater.ready r WHERE r.holder = ANY (lost)
            FOR NO KEY UPDATE SKIP LOCKED
        )
        UPDATE headwater.ready r SET holder = NULL
        FROM freed WHERE r.tenant = freed.tenant AND r.queue = freed.queue AND r.key = freed.key;
        GET DIAGNOSTICS ready = ROW_COUNT;
    END IF;
END
$$;

-- Claim fences that are free and woken, the longest waiting first: a stretch of candidates at a time, of which those that
-- somebody is claiming are passed over. Those of the tenants `without` are no candidates.
CREATE OR REPLACE FUNCTION headwater.take(
    of_holder text, of_labels text[], up_to int, suspects boolean, without text[]
)
    RETURNS TABLE (tenant text, key text, label text, epoch bigint, wakes bigint, trial int, deaths int)
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
    SET enable_seqscan = off SET enable_bitmapscan = off SET enable_hashjoin = off SET enable_mergejoin = off
    SET plan_cache_mode = force_generic_plan SET jit = off
AS $$
DECLARE
    stretch int := up_to;
    missing int := up_to;
    alike int;
    tenants text[];
    keys text[];
    after_at bigint := -1;
    after_tenant text := '';
    after_key text := '';
    got int;
BEGIN
    PERFORM FROM headwater.workers w WHERE w.id = of_holder FOR KEY SHARE;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    WHILE missing > 0 LOOP
        SELECT array_agg(c.tenant), array_agg(c.key), max(c.woken_at), coalesce(alike, (array_agg(c.trial))[1])
        INTO tenants, keys, after_at, alike
        FROM (
            SELECT n.* FROM (SELECT DISTINCT l COLLATE "C" AS label FROM unnest(of_labels) l) l CROSS JOIN LATERAL (
                SELECT f.woken_at, f.tenant, f.key, f.trial FROM headwater.fences f
                WHERE f.holder IS NULL AND f.wakes > f.seen AND f.label = l.label AND (f.trial > 0) = suspects
                    AND (f.woken_at, f.tenant, f.key) > (after_at, after_tenant, after_key)
                    AND f.trial = coalesce(alike, f.trial) AND f.tenant <> ALL (without)
                ORDER BY f.woken_at, f.tenant, f.key LIMIT stretch
            ) n
            ORDER BY n.woken_at, n.tenant, n.key LIMIT stretch
        ) c;
        EXIT WHEN keys IS NULL;
        IF suspects THEN
            missing := least(missing, alike);
        END IF;
        RETURN QUERY
            WITH mine AS MATERIALIZED (
                SELECT f.tenant, f.key FROM unnest(tenants, keys) WITH ORDINALITY c(tenant, key, i)
                JOIN headwater.fences f ON f.tenant = c.tenant AND f.key = c.key
                WHERE f.holder IS NULL AND f.wakes > f.seen AND f.trial = alike
                ORDER BY c.i LIMIT missing FOR NO KEY UPDATE OF f SKIP LOCKED
            ), taken AS (
                UPDATE headwater.fences f SET epoch = f.epoch + 1, holder = of_holder, seen = f.wakes
                FROM mine WHERE f.tenant = mine.tenant AND f.key = mine.key
                RETURNING f.*
            )
            SELECT t.tenant::text, t.key::text, t.label::text, t.epoch, t.wakes, t.trial, t.deaths
            FROM taken t ORDER BY t.woken_at, t.tenant, t.key;
        GET DIAGNOSTICS got = ROW_COUNT;
        missing := missing - got;
        EXIT WHEN cardinality(keys) < stretch;
        after_tenant := tenants[cardinality(keys)];
        after_key := keys[cardinality(keys)];
    END LOOP;
END
$$;

-- The fences that a worker holds and that were woken since it looked.
CREATE OR REPLACE FUNCTION headwater.woken(of_holder text, up_to int)
    RETURNS TABLE (tenant text, key text, epoch bigint, wakes bigint)
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
    SET enable_seqscan = off SET enable_bitmapscan = off SET enable_hashjoin = off SET enable_mergejoin = off
    SET plan_cache_mode = force_generic_plan SET jit = off
AS $$
BEGIN
    RETURN QUERY
        WITH mine AS MATERIALIZED (
            SELECT f.tenant, f.key FROM headwater.fences f WHERE f.holder = of_holder AND f.wakes > f.seen
            ORDER BY f.tenant, f.key LIMIT up_to FOR NO KEY UPDATE
        ), looked AS (
            UPDATE headwater.fences f SET seen = f.wakes
            FROM mine WHERE f.tenant = mine.tenant AND f.key = mine.key
            RETURNING f.tenant, f.key, f.epoch, f.wakes
        )
        SELECT l.tenant::text, l.key::text, l.epoch, l.wakes FROM looked l ORDER BY l.tenant, l.key;
END
$$;

-- Claim ready rows that are due: of each queue as many as are wanted, one priority after the other, so that rows whose time
-- has not come are not looked through.
CREATE OR REPLACE FUNCTION headwater.take_ready(of_holder text, of_queues text[], wanted int[])
    RETURNS TABLE (tenant text, queue text, key text, claim bigint, at bigint, data bytea)
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
    SET enable_seqscan = off SET enable_bitmapscan = off SET enable_hashjoin = off SET enable_mergejoin = off
    SET plan_cache_mode = force_generic_plan SET jit = off
AS $$
DECLARE
    now_us CONSTANT bigint := headwater.now_us();
    of_queue text;
    of_priority int;
    missing int;
    got int;
BEGIN
    PERFORM FROM headwater.workers w WHERE w.id = of_holder FOR KEY SHARE;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    FOR of_queue, missing IN SELECT q.name, q.wanted FROM unnest(of_queues, wanted) q(name, wanted) ORDER BY q.name LOOP
        of_priority := NULL;
        WHILE missing > 0 LOOP
            IF of_priority IS NULL THEN
                SELECT min(r.priority) INTO of_priority FROM headwater.ready r WHERE r.holder IS NULL AND r.queue = of_queue;
            ELSE
                SELECT min(r.priority) INTO of_priority FROM headwater.ready r
                WHERE r.holder IS NULL AND r.queue = of_queue AND r.priority > of_priority;
            END IF;
            EXIT WHEN of_priority IS NULL;
            RETURN QUERY
                WITH mine AS MATERIALIZED (
                    SELECT r.tenant, r.queue, r.key FROM headwater.ready r
                    WHERE r.holder IS NULL AND r.queue = of_queue AND r.priority = of_priority AND r.at <= now_us
                    ORDER BY r.at, r.tenant, r.key LIMIT missing FOR NO KEY UPDATE SKIP LOCKED
                ), taken AS (
                    UPDATE headwater.ready r SET holder = of_holder, claim = r.claim + 1
                    FROM mine WHERE r.tenant = mine.tenant AND r.queue = mine.queue AND r.key = mine.key
                    RETURNING r.*
                )
                SELECT t.tenant::text, t.queue::text, t.key::text, t.claim, t.at, t.data
                FROM taken t ORDER BY t.at, t.tenant, t.key;
            GET DIAGNOSTICS got = ROW_COUNT;
            missing := missing - got;
        END LOOP;
    END LOOP;
END
$$;
