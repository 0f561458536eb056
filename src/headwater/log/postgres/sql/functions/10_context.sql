-- Time, the tenants acted for, and the ends of the log.

-- The database's clock in microseconds, read anew at each call; a test that needs another time replaces it.
CREATE OR REPLACE FUNCTION headwater.now_us() RETURNS bigint
    LANGUAGE sql VOLATILE PARALLEL SAFE
    RETURN (extract(epoch FROM clock_timestamp()) * 1000000)::bigint;

-- Let the rest of this transaction act for these tenants. Row-level security shows a server nothing else.
CREATE OR REPLACE FUNCTION headwater.act_for(tenants text[]) RETURNS void
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF cardinality(tenants) IS NOT DISTINCT FROM 0 OR tenants IS NULL
       OR EXISTS (SELECT FROM unnest(tenants) t WHERE t IS NULL OR t = '' OR t LIKE E'%\x1f%') THEN
        RAISE EXCEPTION 'A tenant must be named.' USING ERRCODE = 'HW003';
    END IF;
    PERFORM set_config('headwater.tenants', array_to_string(tenants, E'\x1f'), true);
END
$$;

-- A position of a shard with its chain and time: the last one, or the one that is asked for. Everybody's cursors and
-- appends need it, whatever tenants they may see; it shows no tenant, id or payload.
CREATE OR REPLACE FUNCTION headwater.place(
    of_shard smallint, at_position bigint DEFAULT NULL,
    OUT "position" bigint, OUT chain bytea, OUT recorded_at bigint
)
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    SET enable_seqscan = off SET enable_bitmapscan = off SET plan_cache_mode = force_generic_plan
AS $$
BEGIN
    IF at_position IS NULL THEN
        SELECT e.position, e.chain, e.recorded_at INTO position, chain, recorded_at
        FROM headwater.events e WHERE e.shard = of_shard ORDER BY e.position DESC LIMIT 1;
    ELSE
        SELECT e.position, e.chain, e.recorded_at INTO position, chain, recorded_at
        FROM headwater.events e WHERE e.shard = of_shard AND e.position = at_position;
    END IF;
END
$$;

-- The last position that was recorded at or before a time, by bisection: recorded times never go back.
CREATE OR REPLACE FUNCTION headwater.position_at(of_shard smallint, moment bigint) RETURNS bigint
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    low bigint := 0;
    high bigint := coalesce((headwater.place(of_shard)).position, 0);
    middle bigint;
BEGIN
    WHILE low < high LOOP
        middle := (low + high + 1) / 2;
        IF (headwater.place(of_shard, middle)).recorded_at <= moment THEN
            low := middle;
        ELSE
            high := middle - 1;
        END IF;
    END LOOP;
    RETURN low;
END
$$;
