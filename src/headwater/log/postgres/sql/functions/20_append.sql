-- Where positions are assigned, and why it is right.
--
-- Promise. `headwater.append` judges a batch of calls as headwater/log/rules.py says and writes what is accepted, in one
-- round trip and the caller's one transaction. Positions are gapless and in commit order; versions are contiguous;
-- each event extends its shard's SHA-256 chain; a refused call leaves nothing.
--
-- Why.
-- * Appends of a shard take turns: an advisory lock, taken before anything is read, held until the transaction has ended.
--   It is given to the next one only after the commit is visible.
-- * In READ COMMITTED each statement of a VOLATILE function sees what was committed before that statement. So all that
--   is read below the lock is what the last holder left. REPEATABLE READ would see an older log, and is refused.
-- * The tail is the last entry of the index on (shard, position). There is no counter row, so nothing that old
--   snapshots could make slow, and a rolled back append has used no position.
-- * The clock is read below the lock and never taken to be before the last event's.
-- * Locks are taken in one order: the shard, then fences by key, then ready rows by key. A claim (40_claims.sql) locks
--   fences in the same order and nothing else, so a claim and a fenced append wait for each other and never pass; so it
--   is with ready rows and those who take them (60_owners.sql). Keys, due rows and entries change only here, below the
--   lock.
-- * Group commit sees to it that no two calls of a batch change the same side row or name the same id, so one query of
--   each kind answers for the whole batch. Only stream versions depend on earlier calls, and those the loop tracks.
-- * An attempt whose connection was lost may still be under way, and reach the lock after the attempt that was made in its
--   place. What the second one wrote, the first would find by its ids; but what the second refused, the first might
--   accept, after its caller was told no. So the second voids the first, below the lock, and a voided attempt fails.
-- * Nothing waits for a client below the lock: the function is one statement, and commits with it, or runs inside COMMIT.
--
-- A column that is NULL throughout may come as an empty array: unnest pads it, and a missing element reads as NULL.
--
-- Plans are fixed (no sequential scans, no re-planning), because statistics of a log that was empty a minute ago are wrong.
--
-- Rejected: a sequence (gaps, and commits out of order), a head row updated by each append (bloats under an old snapshot),
-- sub-transactions a call (each costs more than the rest of the call).
CREATE OR REPLACE FUNCTION headwater.append(
    shard smallint,
    stream_tenants text[], stream_types text[], stream_ids text[], stream_heads bigint[],
    call_ends int[], write_streams int[], write_expects bigint[], write_skips boolean[], write_ends int[],
    event_streams int[], event_offsets int[], event_ids uuid[], event_types text[], schema_versions int[],
    spec_versions int[], occurred_ats bigint[], run_ids text[], correlation_ids text[], causation_ids text[],
    actors text[], traceparents text[], encodings text[], datas bytea[], metadatas bytea[], blobs bytea[],
    digests bytea[],
    side_calls int[], side_tenants text[], side_kinds text[], side_keys text[], side_names text[],
    side_numbers bigint[], side_priorities int[], side_datas bytea[], side_labels text[], side_statuses text[],
    new_tenants text[], careful boolean, acting text[],
    attempt uuid DEFAULT NULL, voids uuid[] DEFAULT NULL,
    OUT last_position bigint, OUT heads bigint[],
    OUT positions bigint[], OUT versions bigint[], OUT known boolean[], OUT refused jsonb, OUT recorded_at bigint
)
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
    SET enable_seqscan = off SET enable_bitmapscan = off SET enable_hashjoin = off SET enable_mergejoin = off
    SET plan_cache_mode = force_generic_plan SET jit = off
AS $$
DECLARE
    chain bytea;
    now_bytes bytea;
    clean boolean;
    has_side CONSTANT boolean := cardinality(side_kinds) > 0;
    chains bytea[] := digests;
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE EXCEPTION 'Appends need the isolation level READ COMMITTED, not %.',
            upper(current_setting('transaction_isolation')) USING ERRCODE = 'HW002';
    END IF;
    IF current_setting('synchronous_commit') = 'off' THEN
        PERFORM set_config('synchronous_commit', 'on', true);
    END IF;
    IF acting IS NOT NULL THEN
        PERFORM headwater.act_for(acting);
    END IF;

    IF pg_advisory_xact_lock(1214731852, shard) IS NULL THEN
        RAISE EXCEPTION 'The lock was not given.';
    END IF;

    IF cardinality(voids) > 0 THEN
        DELETE FROM headwater.voided v WHERE v.at < headwater.now_us() - 86400000000;
        INSERT INTO headwater.voided AS v (attempt, at)
        SELECT a, headwater.now_us() FROM unnest(voids) a ORDER BY a ON CONFLICT DO NOTHING;
    END IF;
    IF EXISTS (SELECT FROM headwater.voided v WHERE v.attempt = append.attempt) THEN
        RAISE EXCEPTION 'This attempt to append was given up and made again.' USING ERRCODE = 'HW004';
    END IF;

    IF cardinality(new_tenants) > 0 THEN
        INSERT INTO headwater.tenants AS t (tenant, shard)
        SELECT n, append.shard FROM unnest(new_tenants) n ORDER BY n ON CONFLICT DO NOTHING;
    END IF;

    -- The tail, each stream's version and whether it is the expected one, and whether any id is known.
    SELECT coalesce(p.position, 0), coalesce(p.chain, decode(repeat('00', 32), 'hex')),
        greatest(headwater.now_us(), p.recorded_at), h.heads,
        NOT h.moved AND NOT EXISTS (
            SELECT FROM unnest(event_ids, event_streams) i(id, stream)
            JOIN headwater.events k ON k.event_id = i.id AND k.tenant = stream_tenants[i.stream])
    INTO last_position, chain, recorded_at, heads, clean
    FROM headwater.place(shard) p, (
        SELECT array_agg(v.head) AS heads, coalesce(bool_or(v.head <> v.expected), false) AS moved FROM (
            SELECT s.expected, coalesce((
                SELECT e.version FROM headwater.events e
                WHERE e.stream_id = s.id AND e.tenant = s.tenant AND e.stream_type = s.type
                ORDER BY e.version DESC LIMIT 1), 0) AS head
            FROM unnest(stream_tenants, stream_types, stream_ids, stream_heads) s(tenant, type, id, expected)
        ) v
    ) h;

    IF clean AND has_side THEN
        clean := headwater.judge_side(cardinality(call_ends), side_calls, side_tenants, side_kinds, side_keys,
                                      side_names, side_numbers) IS NULL;
    END IF;
    IF careful OR NOT clean THEN
        SELECT j.positions, j.versions, j.known, j.refused INTO positions, versions, known, refused
        FROM headwater.judge(
            shard, stream_tenants, stream_types, stream_ids, stream_heads, call_ends, write_streams, write_expects,
            write_skips, write_ends, event_streams, event_offsets, event_ids, event_types, schema_versions,
            spec_versions, occurred_ats, run_ids, correlation_ids, causation_ids, actors, traceparents, encodings,
            datas, metadatas, blobs, digests, side_calls, side_tenants, side_kinds, side_keys, side_names,
            side_numbers, side_priorities, side_datas, side_labels, side_statuses, last_position, chain, recorded_at,
            heads) j;
        RETURN;
    END IF;

    -- Nothing is in the way of any call. The chain is the one thing that is made event by event.
    now_bytes := int8send(recorded_at);
    FOR e IN 1 .. cardinality(digests) LOOP
        chain := sha256(chain || int8send(last_position + e) || int8send(heads[event_streams[e]] + event_offsets[e])
                        || now_bytes || digests[e]);
        chains[e] := chain;
    END LOOP;

    INSERT INTO headwater.events (
        position, version, occurred_at, recorded_at, event_id, schema_version, spec_version, shard, tenant, stream_type,
        stream_id, type, encoding, digest, chain, run_id, correlation_id, causation_id, actor, traceparent, blob,
        metadata, data)
    SELECT last_position + n.i, heads[n.stream] + n.stream_offset, n.occurred_at, append.recorded_at, n.event_id,
        n.schema_version, n.spec_version, append.shard, stream_tenants[n.stream], stream_types[n.stream], stream_ids[n.stream], n.type,
        n.encoding, n.digest, n.chain, n.run_id, n.correlation_id, n.causation_id, n.actor, n.traceparent, n.blob,
        n.metadata, n.data
    FROM unnest(event_streams, event_offsets, chains, event_ids, event_types, schema_versions, spec_versions,
                occurred_ats, run_ids, correlation_ids, causation_ids, actors, traceparents, encodings, datas,
                metadatas, blobs, digests) WITH ORDINALITY
        n(stream, stream_offset, chain, event_id, type, schema_version, spec_version, occurred_at, run_id,
          correlation_id, causation_id, actor, traceparent, encoding, data, metadata, blob, digest, i);

    IF has_side THEN
        PERFORM headwater.apply_side(recorded_at, side_tenants, side_kinds, side_keys, side_names, side_numbers,
                                     side_priorities, side_datas, side_labels, side_statuses);
    END IF;
END
$$;

-- The same, call by call, when something is known already or has to be refused: as rules.py says.
-- `heads` are the streams' versions; they move on with each accepted call.
CREATE OR REPLACE FUNCTION headwater.judge(
    shard smallint,
    stream_tenants text[], stream_types text[], stream_ids text[], stream_heads bigint[],
    call_ends int[], write_streams int[], write_expects bigint[], write_skips boolean[], write_ends int[],
    event_streams int[], event_offsets int[], event_ids uuid[], event_types text[], schema_versions int[],
    spec_versions int[], occurred_ats bigint[], run_ids text[], correlation_ids text[], causation_ids text[],
    actors text[], traceparents text[], encodings text[], datas bytea[], metadatas bytea[], blobs bytea[],
    digests bytea[],
    side_calls int[], side_tenants text[], side_kinds text[], side_keys text[], side_names text[],
    side_numbers bigint[], side_priorities int[], side_datas bytea[], side_labels text[], side_statuses text[],
    last_position bigint, last_chain bytea, now_us bigint, heads bigint[],
    OUT positions bigint[], OUT versions bigint[], OUT known boolean[], OUT refused jsonb
)
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    last record;
    now_bytes bytea;
    olds bigint[];                -- by event: the position that its id has already, if it has one
    old_versions bigint[];
    sames boolean[];
    guards jsonb[];               -- by call: the first guard that refuses it
    chains bytea[];               -- by event: set for those that are written
    refusal jsonb;
    skips boolean;
    known_count int;
    new_count int;
    first_write int := 1;
    first_event int := 1;
    last_event int;
    accepted boolean[] := array_fill(false, ARRAY[cardinality(call_ends)]);
    written int := 0;
    version bigint;
    stream int;
    e int;
    has_side CONSTANT boolean := cardinality(side_kinds) > 0;
BEGIN
    now_bytes := int8send(now_us);

    -- Which ids are in the log already? Mostly none; then the arrays stay NULL.
    FOR last IN
        SELECT i.i, k.position, k.version, k.digest = digests[i.i]
            AND k.stream_id = stream_ids[event_streams[i.i]] AND k.stream_type = stream_types[event_streams[i.i]] AS same
        FROM unnest(event_ids, event_streams) WITH ORDINALITY i(id, stream, i)
        JOIN headwater.events k ON k.event_id = i.id AND k.tenant = stream_tenants[i.stream]
    LOOP
        IF olds IS NULL THEN
            olds := array_fill(NULL::bigint, ARRAY[cardinality(event_ids)]);
            old_versions := olds;
            sames := array_fill(NULL::boolean, ARRAY[cardinality(event_ids)]);
            known := array_fill(false, ARRAY[cardinality(event_ids)]);
        END IF;
        olds[last.i] := last.position;
        old_versions[last.i] := last.version;
        sames[last.i] := last.same;
        known[last.i] := true;
    END LOOP;

    IF has_side THEN
        guards := headwater.judge_side(cardinality(call_ends), side_calls, side_tenants, side_kinds, side_keys,
                                       side_names, side_numbers);
    END IF;

    positions := array_fill(NULL::bigint, ARRAY[cardinality(event_ids)]);
    versions := positions;
    chains := array_fill(NULL::bytea, ARRAY[cardinality(event_ids)]);

    FOR c IN 1 .. cardinality(call_ends) LOOP
        refusal := NULL;
        last_event := write_ends[call_ends[c]];
        known_count := 0;

        -- 1. Ids come first: a retry must find its own first write.
        IF olds IS NOT NULL THEN
            skips := true;
            new_count := 0;
            e := first_event;
            FOR w IN first_write .. call_ends[c] LOOP
                WHILE e <= write_ends[w] AND refusal IS NULL LOOP
                    IF olds[e] IS NULL THEN
                        new_count := new_count + 1;
                    ELSIF NOT sames[e] THEN
                        refusal := jsonb_build_object('error', 'EventIdReused', 'event_id', event_ids[e],
                                                      'position', olds[e]);
                    ELSE
                        known_count := known_count + 1;
                        skips := skips AND coalesce(write_skips[w], false);
                    END IF;
                    e := e + 1;
                END LOOP;
            END LOOP;
            IF refusal IS NULL AND known_count > 0 THEN
                IF new_count = 0 THEN
                    FOR e IN first_event .. last_event LOOP
                        positions[e] := olds[e];
                        versions[e] := old_versions[e];
                    END LOOP;
                    first_write := call_ends[c] + 1;
                    first_event := last_event + 1;
                    CONTINUE;
                ELSIF NOT skips THEN
                    refusal := jsonb_build_object('error', 'MixedIds', 'known', known_count, 'new', new_count);
                END IF;
            END IF;
        END IF;

        -- 2. Then the guards, and the versions; heads move on as the writes go by, and back if one is refused.
        IF refusal IS NULL AND has_side THEN
            refusal := guards[c];
        END IF;
        IF refusal IS NULL THEN
            e := first_event;
            FOR w IN first_write .. call_ends[c] LOOP
                stream := write_streams[w];
                new_count := write_ends[w] - e + 1;
                IF known_count > 0 THEN
                    FOR i IN e .. write_ends[w] LOOP
                        IF olds[i] IS NOT NULL THEN
                            new_count := new_count - 1;
                        END IF;
                    END LOOP;
                END IF;
                IF write_expects[w] >= 0 AND write_expects[w] <> heads[stream]
                   AND (new_count > 0 OR write_ends[w] < e) THEN
                    refusal := jsonb_build_object('error', 'WrongVersion', 'stream', stream,
                                                  'expected', write_expects[w], 'actual', heads[stream]);
                    EXIT;
                END IF;
                version := heads[stream];
                heads[stream] := version + new_count;
                WHILE e <= write_ends[w] LOOP
                    IF known_count > 0 AND olds[e] IS NOT NULL THEN
                        versions[e] := old_versions[e];
                    ELSE
                        version := version + 1;
                        versions[e] := version;
                    END IF;
                    e := e + 1;
                END LOOP;
            END LOOP;
            IF refusal IS NOT NULL THEN
                FOR i IN first_event .. e - 1 LOOP
                    IF known_count = 0 OR olds[i] IS NULL THEN
                        heads[event_streams[i]] := heads[event_streams[i]] - 1;
                    END IF;
                    versions[i] := NULL;
                END LOOP;
            END IF;
        END IF;

        -- 3. Only now does the call take effect.
        IF refusal IS NOT NULL THEN
            refused := coalesce(refused, '[]') || (refusal || jsonb_build_object('call', c - 1));
        ELSE
            accepted[c] := true;
            FOR e IN first_event .. last_event LOOP
                IF known_count > 0 AND olds[e] IS NOT NULL THEN
                    positions[e] := olds[e];
                ELSE
                    last_position := last_position + 1;
                    last_chain := sha256(last_chain || int8send(last_position) || int8send(versions[e])
                                         || now_bytes || digests[e]);
                    positions[e] := last_position;
                    chains[e] := last_chain;
                    written := written + 1;
                END IF;
            END LOOP;
        END IF;
        first_write := call_ends[c] + 1;
        first_event := last_event + 1;
    END LOOP;

    IF written > 0 THEN
        INSERT INTO headwater.events (
            position, version, occurred_at, recorded_at, event_id, schema_version, spec_version, shard, tenant, stream_type,
            stream_id, type, encoding, digest, chain, run_id, correlation_id, causation_id, actor, traceparent, blob,
            metadata, data)
        SELECT n.position, n.version, n.occurred_at, now_us, n.event_id, n.schema_version, n.spec_version, judge.shard,
            stream_tenants[n.stream], stream_types[n.stream], stream_ids[n.stream], n.type, n.encoding, n.digest, n.chain,
            n.run_id, n.correlation_id, n.causation_id, n.actor, n.traceparent, n.blob, n.metadata, n.data
        FROM unnest(event_streams, positions, versions, chains, event_ids, event_types, schema_versions, spec_versions,
                    occurred_ats, run_ids, correlation_ids, causation_ids, actors, traceparents, encodings, datas,
                    metadatas, blobs, digests)
            n(stream, position, version, chain, event_id, type, schema_version, spec_version, occurred_at, run_id,
              correlation_id, causation_id, actor, traceparent, encoding, data, metadata, blob, digest)
        WHERE n.chain IS NOT NULL;
    END IF;

    -- A call of known events only is a retry: its side rows changed the first time.
    IF has_side THEN
        IF known IS NOT NULL OR refused IS NOT NULL THEN
            PERFORM headwater.apply_side(
                now_us, side_tenants,
                (SELECT array_agg(CASE WHEN accepted[s.call] THEN s.kind END ORDER BY s.i)
                 FROM unnest(side_calls, side_kinds) WITH ORDINALITY s(call, kind, i)),
                side_keys, side_names, side_numbers, side_priorities, side_datas, side_labels, side_statuses);
        ELSE
            PERFORM headwater.apply_side(now_us, side_tenants, side_kinds, side_keys, side_names, side_numbers,
                                         side_priorities, side_datas, side_labels, side_statuses);
        END IF;
    END IF;
END
$$;
