-- What projections do in more than one statement. The row of the projection is locked first, everywhere.

-- Put a generation into the live one's place, if it is where its folder left it and at least as far as the live one.
CREATE OR REPLACE FUNCTION headwater.swap_projection(
    of_name text, to_generation integer, at_epoch bigint, at_position bigint
) RETURNS boolean
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    was_paused boolean;
BEGIN
    PERFORM FROM headwater.projections WHERE name = of_name ORDER BY generation FOR UPDATE;
    IF NOT EXISTS (
        SELECT FROM headwater.projections WHERE name = of_name AND generation = to_generation
        AND epoch = at_epoch AND position = at_position
    ) OR EXISTS (SELECT FROM headwater.projections WHERE name = of_name AND live AND position > at_position) THEN
        RETURN false;
    END IF;
    SELECT paused INTO was_paused FROM headwater.projections WHERE name = of_name AND live;
    DELETE FROM headwater.projections WHERE name = of_name AND generation <> to_generation;
    DELETE FROM headwater.states WHERE name = of_name AND generation <> to_generation;
    UPDATE headwater.projections SET live = true, paused = coalesce(was_paused, false), epoch = epoch + 1, until = 0
    WHERE name = of_name AND generation = to_generation;
    RETURN true;
END
$$;

-- Ask for keys of the live generation to be folded again; how many.
CREATE OR REPLACE FUNCTION headwater.request_states(of_name text, how integer, of_tenant text, of_key text)
    RETURNS bigint
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    of_generation integer;
    asked bigint;
BEGIN
    UPDATE headwater.projections SET epoch = epoch + 1 WHERE name = of_name AND live
    RETURNING generation INTO of_generation;
    UPDATE headwater.states SET again = how
    WHERE name = of_name AND generation = of_generation AND (of_tenant IS NULL OR tenant = of_tenant)
      AND (of_key IS NULL OR key = of_key) AND (parked > 0 OR how = 2);
    GET DIAGNOSTICS asked = ROW_COUNT;
    RETURN asked;
END
$$;
