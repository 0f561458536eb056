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

-- Let go of a fence, unless it was claimed or woken since; whether that was so.
CREATE OR REPLACE FUNCTION headwater.release(acting text[], of_tenant text, of_key text, at_epoch bigint, at_wakes bigint)
    RETURNS boolean
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF acting IS NOT NULL THEN
        PERFORM headwater.act_for(acting);
    END IF;
    UPDATE headwater.fences f SET holder = NULL, seen = f.wakes
    WHERE f.tenant = of_tenant AND f.key = of_key AND f.epoch = at_epoch AND f.wakes = at_wakes;
    RETURN FOUND;
END
$$;
