-- Ownership of fences. A claim takes no lock but the fences', in the order in which appends take them.

-- Raise the epoch of each of these fences that is there, for a holder.
CREATE OR REPLACE FUNCTION headwater.claim(acting text[], of_tenant text, of_keys text[], new_holder text)
    RETURNS TABLE (key text, epoch bigint, wakes bigint)
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF acting IS NOT NULL THEN
        PERFORM headwater.act_for(acting);
    END IF;
    RETURN QUERY
        WITH mine AS MATERIALIZED (
            SELECT f.tenant, f.key FROM headwater.fences f
            WHERE f.tenant = of_tenant AND f.key = ANY (of_keys)
            ORDER BY f.tenant, f.key FOR NO KEY UPDATE
        )
        UPDATE headwater.fences f SET epoch = f.epoch + 1, holder = new_holder
        FROM mine WHERE f.tenant = mine.tenant AND f.key = mine.key
        RETURNING f.key::text, f.epoch, f.wakes;
END
$$;

-- Let go of fences, but for those that were claimed or woken since; which were let go, by their numbers from 1.
CREATE OR REPLACE FUNCTION headwater.release(
    acting text[], tenants text[], of_keys text[], at_epochs bigint[], at_wakes bigint[]
) RETURNS TABLE (number bigint)
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
    SET enable_seqscan = off SET enable_bitmapscan = off SET enable_hashjoin = off SET enable_mergejoin = off
    SET plan_cache_mode = force_generic_plan SET jit = off
AS $$
BEGIN
    IF acting IS NOT NULL THEN
        PERFORM headwater.act_for(acting);
    END IF;
    RETURN QUERY
        WITH given AS MATERIALIZED (
            SELECT g.tenant COLLATE "C" AS tenant, g.key COLLATE "C" AS key, g.epoch, g.wakes, g.number
            FROM unnest(tenants, of_keys, at_epochs, at_wakes) WITH ORDINALITY g(tenant, key, epoch, wakes, number)
        ), mine AS MATERIALIZED (
            SELECT f.tenant, f.key, g.number FROM headwater.fences f JOIN given g USING (tenant, key)
            WHERE f.epoch = g.epoch AND f.wakes = g.wakes
            ORDER BY f.tenant, f.key FOR NO KEY UPDATE OF f
        )
        UPDATE headwater.fences f SET holder = NULL, seen = f.wakes
        FROM mine WHERE f.tenant = mine.tenant AND f.key = mine.key
        RETURNING mine.number;
END
$$;
