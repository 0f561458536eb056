-- Appends inside a program's own transaction.
--
-- Promise. What is staged is appended at the transaction's COMMIT, or not at all; and no client holds the shard's lock
-- while it does something else.
--
-- Why. Staging takes no lock. The trigger is a constraint trigger that is deferred to COMMIT; its first firing appends
-- everything that the transaction has staged, in order, and removes it, so nobody else sees a staged row. Rolling back to a
-- savepoint takes the rows and their firings along. Between the firing and the commit record there is no client.
-- What would put a client in between is refused: SET CONSTRAINTS ... IMMEDIATE fires the trigger in another statement than
-- COMMIT, and PREPARE TRANSACTION would keep the lock until somebody commits the prepared transaction.

-- Put one call into the current transaction; the transaction's id, by which its outcome can be asked for.
CREATE OR REPLACE FUNCTION headwater.stage(
    shard smallint,
    stream_tenants text[], stream_types text[], stream_ids text[], stream_heads bigint[],
    call_ends int[], write_streams int[], write_expects bigint[], write_skips boolean[], write_ends int[],
    event_streams int[], event_offsets int[], event_ids uuid[], event_types text[], schema_versions int[],
    spec_versions int[], occurred_ats bigint[], run_ids text[], correlation_ids text[], causation_ids text[],
    actors text[], traceparents text[], encodings text[], datas bytea[], metadatas bytea[], blobs bytea[],
    digests bytea[],
    side_calls int[], side_tenants text[], side_kinds text[], side_keys text[], side_names text[],
    side_numbers bigint[], side_priorities int[], side_datas bytea[], side_labels text[], side_statuses text[],
    new_tenants text[], careful boolean, acting text[]
) RETURNS void
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE EXCEPTION 'Appends need the isolation level READ COMMITTED, not %.',
            upper(current_setting('transaction_isolation')) USING ERRCODE = 'HW002';
    END IF;
    IF acting IS NOT NULL THEN
        PERFORM headwater.act_for(acting);
    END IF;
    INSERT INTO headwater.staged AS s (
        tenant, shard, stream_tenants, stream_types, stream_ids, stream_heads, call_ends, write_streams,
        write_expects, write_skips, write_ends, event_streams, event_offsets, event_ids, event_types, schema_versions,
        spec_versions, occurred_ats, run_ids, correlation_ids, causation_ids, actors, traceparents, encodings, datas,
        metadatas, blobs, digests, side_calls, side_tenants, side_kinds, side_keys, side_names, side_numbers,
        side_priorities, side_datas, side_labels, side_statuses, new_tenants, careful)
    VALUES (
        stage.stream_tenants[1], stage.shard, stage.stream_tenants, stage.stream_types, stage.stream_ids,
        stage.stream_heads, stage.call_ends, stage.write_streams, stage.write_expects, stage.write_skips,
        stage.write_ends, stage.event_streams, stage.event_offsets, stage.event_ids, stage.event_types,
        stage.schema_versions, stage.spec_versions, stage.occurred_ats, stage.run_ids, stage.correlation_ids,
        stage.causation_ids, stage.actors, stage.traceparents, stage.encodings, stage.datas, stage.metadatas,
        stage.blobs, stage.digests, stage.side_calls, stage.side_tenants, stage.side_kinds, stage.side_keys,
        stage.side_names, stage.side_numbers, stage.side_priorities, stage.side_datas, stage.side_labels,
        stage.side_statuses, stage.new_tenants, stage.careful);
END
$$;

-- The trigger: append what this transaction has staged.
CREATE OR REPLACE FUNCTION headwater.append_staged() RETURNS trigger
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
    SET enable_seqscan = off SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
    s headwater.staged;
    outcome record;
    facts jsonb;
    acting text[] := CASE WHEN pg_has_role(current_user, 'headwater_worker', 'usage') THEN NULL
                          ELSE ARRAY[NEW.tenant::text] END;
BEGIN
    IF acting IS NOT NULL THEN
        PERFORM headwater.act_for(acting);
    END IF;
    IF NOT EXISTS (SELECT FROM headwater.staged o WHERE o.xact = NEW.xact AND o.number = NEW.number) THEN
        RETURN NULL;
    END IF;
    IF current_query() !~* '^\s*(commit|end)\M' OR current_query() ~* '^\s*commit\s+prepared\M' THEN
        RAISE EXCEPTION 'Enlisted appends happen in COMMIT, not in %.', quote_literal(left(current_query(), 60))
            USING ERRCODE = 'HW002',
                  HINT = 'Do not SET CONSTRAINTS IMMEDIATE or PREPARE TRANSACTION, and append in a transaction block.';
    END IF;
    FOR s IN
        SELECT * FROM headwater.staged o
        WHERE o.xact = NEW.xact AND (acting IS NULL OR o.tenant = NEW.tenant) ORDER BY o.number
    LOOP
        SELECT * INTO outcome FROM headwater.append(
            s.shard, s.stream_tenants, s.stream_types, s.stream_ids, s.stream_heads, s.call_ends, s.write_streams,
            s.write_expects, s.write_skips, s.write_ends, s.event_streams, s.event_offsets, s.event_ids,
            s.event_types, s.schema_versions, s.spec_versions, s.occurred_ats, s.run_ids, s.correlation_ids,
            s.causation_ids, s.actors, s.traceparents, s.encodings, s.datas, s.metadatas, s.blobs, s.digests,
            s.side_calls, s.side_tenants, s.side_kinds, s.side_keys, s.side_names, s.side_numbers, s.side_priorities,
            s.side_datas, s.side_labels, s.side_statuses, s.new_tenants, s.careful, acting);
        IF outcome.refused IS NOT NULL THEN
            facts := outcome.refused -> 0;
            IF facts ? 'stream' THEN
                facts := facts || jsonb_build_object('at', jsonb_build_array(
                    s.stream_types[(facts ->> 'stream')::int], s.stream_ids[(facts ->> 'stream')::int], s.tenant));
            END IF;
            RAISE EXCEPTION 'The log refused an enlisted append: %', facts ->> 'error'
                USING ERRCODE = 'HW001', DETAIL = facts::text;
        END IF;
    END LOOP;
    DELETE FROM headwater.staged o WHERE o.xact = NEW.xact AND (acting IS NULL OR o.tenant = NEW.tenant);
    RETURN NULL;
END
$$;

DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_trigger WHERE tgname = 'append_at_commit') THEN
        CREATE CONSTRAINT TRIGGER append_at_commit AFTER INSERT ON headwater.staged
            DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION headwater.append_staged();
    END IF;
END
$$;
