-- Side rows of an append: judged below the shard's lock before anything is written, and changed after.

-- For each call, the first guard that refuses it; NULL when none refuses any. Fences are locked here, in the order in which claims lock them, and
-- read by a later statement, so that a claim which was waited for is seen.
CREATE OR REPLACE FUNCTION headwater.judge_side(
    calls int, side_calls int[], side_tenants text[], side_kinds text[], side_keys text[], side_names text[],
    side_numbers bigint[]
) RETURNS jsonb[]
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    none CONSTANT jsonb[] := array_fill(NULL::jsonb, ARRAY[calls]);
    guards jsonb[];
    refusal record;
BEGIN
    IF side_kinds && ARRAY['fence', 'close', 'wake', 'wake!', 'wake_opened', 'need_fence', 'trust'] THEN
        PERFORM FROM headwater.fences f
        JOIN (SELECT DISTINCT s.tenant COLLATE "C" AS tenant, s.key COLLATE "C" AS key
              FROM unnest(side_tenants, side_kinds, side_keys) s(tenant, kind, key)
              WHERE s.kind IN ('fence', 'close', 'wake', 'wake!', 'wake_opened', 'need_fence', 'trust')) s
            USING (tenant, key)
        ORDER BY f.tenant, f.key FOR NO KEY UPDATE OF f;
        FOR refusal IN
            SELECT s.i, s.call, jsonb_build_object('error', 'FenceLost', 'key', s.key, 'expected', s.number,
                                                   'actual', f.epoch, 'order', s.i) AS facts
            FROM unnest(side_calls, side_tenants, side_kinds, side_keys, side_numbers)
                WITH ORDINALITY s(call, tenant, kind, key, number, i)
            LEFT JOIN headwater.fences f ON f.tenant = s.tenant AND f.key = s.key
            WHERE CASE s.kind WHEN 'fence' THEN f.epoch IS DISTINCT FROM s.number
                              WHEN 'wake!' THEN f.epoch IS NULL
                              WHEN 'need_fence' THEN f.epoch IS NULL END
            ORDER BY s.i DESC
        LOOP
            guards := coalesce(guards, none);
            guards[refusal.call] := refusal.facts;
        END LOOP;
    END IF;
    IF side_kinds && ARRAY['take', 'need', 'give'] THEN
        FOR refusal IN
            SELECT s.i, s.call, CASE s.kind
                WHEN 'take' THEN jsonb_build_object('error', 'KeyTaken', 'key', s.key, 'holder', k.holder, 'order', s.i)
                ELSE jsonb_build_object('error', 'KeyNotHeld', 'key', s.key, 'expected', s.name,
                                        'holder', k.holder, 'order', s.i) END AS facts
            FROM unnest(side_calls, side_tenants, side_kinds, side_keys, side_names)
                WITH ORDINALITY s(call, tenant, kind, key, name, i)
            LEFT JOIN headwater.keys k ON k.tenant = s.tenant AND k.key = s.key
            WHERE CASE s.kind WHEN 'take' THEN k.holder IS NOT NULL
                              WHEN 'need' THEN k.holder IS DISTINCT FROM s.name
                              WHEN 'give' THEN k.holder IS DISTINCT FROM s.name END
            ORDER BY s.i DESC
        LOOP
            guards := coalesce(guards, none);
            IF guards[refusal.call] IS NULL OR (guards[refusal.call] ->> 'order')::bigint > refusal.i THEN
                guards[refusal.call] := refusal.facts;
            END IF;
        END LOOP;
    END IF;
    IF side_kinds && ARRAY['clear_ready', 'need_ready'] THEN
        PERFORM FROM headwater.ready r
        JOIN (SELECT DISTINCT s.tenant COLLATE "C" AS tenant, s.name COLLATE "C" AS queue, s.key COLLATE "C" AS key
              FROM unnest(side_tenants, side_kinds, side_names, side_keys) s(tenant, kind, name, key)
              WHERE s.kind IN ('clear_ready', 'need_ready')) s USING (tenant, queue, key)
        ORDER BY r.tenant, r.queue, r.key FOR UPDATE OF r;
    END IF;
    IF side_kinds && ARRAY['clear_due', 'clear_ready', 'need_ready'] THEN
        FOR refusal IN
            SELECT s.i, s.call, jsonb_build_object(
                'error', 'RowGone', 'kind', CASE s.kind WHEN 'clear_due' THEN 'due' ELSE 'ready' END,
                'key', CASE s.kind WHEN 'clear_due' THEN s.key ELSE s.name || '/' || s.key END, 'order', s.i) AS facts
            FROM unnest(side_calls, side_tenants, side_kinds, side_keys, side_names, side_numbers)
                WITH ORDINALITY s(call, tenant, kind, key, name, number, i)
            WHERE CASE s.kind
                WHEN 'clear_due' THEN NOT EXISTS (
                    SELECT FROM headwater.due d WHERE d.tenant = s.tenant AND d.key = s.key)
                WHEN 'clear_ready' THEN NOT EXISTS (
                    SELECT FROM headwater.ready r WHERE r.tenant = s.tenant AND r.queue = s.name AND r.key = s.key
                        AND r.claim = coalesce(s.number, r.claim))
                WHEN 'need_ready' THEN NOT EXISTS (
                    SELECT FROM headwater.ready r WHERE r.tenant = s.tenant AND r.queue = s.name AND r.key = s.key
                        AND r.claim = s.number) END
            ORDER BY s.i DESC
        LOOP
            guards := coalesce(guards, none);
            IF guards[refusal.call] IS NULL OR (guards[refusal.call] ->> 'order')::bigint > refusal.i THEN
                guards[refusal.call] := refusal.facts;
            END IF;
        END LOOP;
    END IF;
    RETURN guards;
END
$$;

-- Change the side rows of the calls that were accepted; a kind of NULL belongs to one that was not.
CREATE OR REPLACE FUNCTION headwater.apply_side(
    now_us bigint, side_tenants text[], side_kinds text[], side_keys text[], side_names text[], side_numbers bigint[],
    side_priorities int[], side_datas bytea[], side_labels text[], side_statuses text[]
) RETURNS void
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF side_kinds <@ ARRAY['fence'] THEN
        RETURN;
    END IF;
    IF side_kinds && ARRAY['give', 'give?'] THEN
        DELETE FROM headwater.keys k
        USING unnest(side_tenants, side_kinds, side_keys, side_names) s(tenant, kind, key, name)
        WHERE s.kind IN ('give', 'give?') AND k.tenant = s.tenant AND k.key = s.key AND k.holder = s.name;
    END IF;
    IF side_kinds && ARRAY['take'] THEN
        INSERT INTO headwater.keys (tenant, key, holder)
        SELECT s.tenant, s.key, s.name FROM unnest(side_tenants, side_kinds, side_keys, side_names) s(tenant, kind, key, name)
        WHERE s.kind = 'take';
    END IF;
    IF side_kinds && ARRAY['close'] THEN
        DELETE FROM headwater.fences f USING unnest(side_tenants, side_kinds, side_keys) s(tenant, kind, key)
        WHERE s.kind = 'close' AND f.tenant = s.tenant AND f.key = s.key;
    END IF;
    IF side_kinds && ARRAY['trust'] THEN
        UPDATE headwater.fences f SET trial = 0, deaths = 0
        FROM (SELECT DISTINCT s.tenant, s.key FROM unnest(side_tenants, side_kinds, side_keys) s(tenant, kind, key)
              WHERE s.kind = 'trust') s
        WHERE f.tenant = s.tenant AND f.key = s.key AND (f.trial > 0 OR f.deaths > 0);
    END IF;
    IF side_kinds && ARRAY['wake', 'wake!'] THEN
        UPDATE headwater.fences f SET wakes = f.wakes + s.wakes,
            woken_at = CASE WHEN f.wakes = f.seen THEN now_us ELSE f.woken_at END
        FROM (SELECT s.tenant, s.key, count(*) AS wakes
              FROM unnest(side_tenants, side_kinds, side_keys) s(tenant, kind, key)
              WHERE s.kind IN ('wake', 'wake!') GROUP BY s.tenant, s.key) s
        WHERE f.tenant = s.tenant AND f.key = s.key;
    END IF;
    IF side_kinds && ARRAY['open'] THEN
        INSERT INTO headwater.fences (tenant, key, epoch, label, holder)
        SELECT s.tenant, s.key, CASE WHEN s.name IS NULL THEN 0 ELSE 1 END, coalesce(s.label, ''), s.name
        FROM unnest(side_tenants, side_kinds, side_keys, side_names, side_labels) s(tenant, kind, key, name, label)
        WHERE s.kind = 'open' ON CONFLICT DO NOTHING;
    END IF;
    IF side_kinds && ARRAY['wake_opened'] THEN
        UPDATE headwater.fences f SET wakes = f.wakes + s.wakes,
            woken_at = CASE WHEN f.wakes = f.seen THEN now_us ELSE f.woken_at END
        FROM (SELECT s.tenant, s.key, count(*) AS wakes
              FROM unnest(side_tenants, side_kinds, side_keys) s(tenant, kind, key)
              WHERE s.kind = 'wake_opened' GROUP BY s.tenant, s.key) s
        WHERE f.tenant = s.tenant AND f.key = s.key;
    END IF;
    IF side_kinds && ARRAY['clear_due', 'clear_due?'] THEN
        DELETE FROM headwater.due d USING unnest(side_tenants, side_kinds, side_keys) s(tenant, kind, key)
        WHERE s.kind IN ('clear_due', 'clear_due?') AND d.tenant = s.tenant AND d.key = s.key;
    END IF;
    IF side_kinds && ARRAY['set_due'] THEN
        INSERT INTO headwater.due (tenant, key, at, data)
        SELECT s.tenant, s.key, s.number, s.data
        FROM unnest(side_tenants, side_kinds, side_keys, side_numbers, side_datas) s(tenant, kind, key, number, data)
        WHERE s.kind = 'set_due'
        ON CONFLICT (tenant, key) DO UPDATE SET at = excluded.at, data = excluded.data;
    END IF;
    IF side_kinds && ARRAY['clear_ready', 'clear_ready?'] THEN
        DELETE FROM headwater.ready r
        USING unnest(side_tenants, side_kinds, side_keys, side_names, side_numbers) s(tenant, kind, key, name, number)
        WHERE s.kind IN ('clear_ready', 'clear_ready?') AND r.tenant = s.tenant AND r.queue = s.name AND r.key = s.key
            AND r.claim = coalesce(s.number, r.claim);
    END IF;
    IF side_kinds && ARRAY['withdraw_ready'] THEN
        DELETE FROM headwater.ready r
        USING unnest(side_tenants, side_kinds, side_keys, side_names) s(tenant, kind, key, name)
        WHERE s.kind = 'withdraw_ready' AND r.tenant = s.tenant AND r.queue = s.name AND r.key = s.key
            AND r.holder IS NULL;
    END IF;
    IF side_kinds && ARRAY['put_ready'] THEN
        INSERT INTO headwater.ready (tenant, queue, key, priority, at, data)
        SELECT s.tenant, s.name, s.key, s.priority, coalesce(s.number, now_us), s.data
        FROM unnest(side_tenants, side_kinds, side_keys, side_names, side_numbers, side_priorities, side_datas)
            s(tenant, kind, key, name, number, priority, data)
        WHERE s.kind = 'put_ready'
        ON CONFLICT (tenant, queue, key)
            DO UPDATE SET priority = excluded.priority, at = excluded.at, data = excluded.data, holder = NULL;
    END IF;
    IF side_kinds && ARRAY['put_entry'] THEN
        INSERT INTO headwater.entries (tenant, list, key, at, label, status, data)
        SELECT s.tenant, s.name, s.key, now_us, s.label, s.status, s.data
        FROM unnest(side_tenants, side_kinds, side_keys, side_names, side_datas, side_labels, side_statuses)
            s(tenant, kind, key, name, data, label, status)
        WHERE s.kind = 'put_entry'
        ON CONFLICT (list, key, tenant)
            DO UPDATE SET label = excluded.label, status = excluded.status, data = excluded.data;
    END IF;
    -- Rows of states are locked in the order in which those who fold them do: see headwater/projections/folding.py.
    IF side_kinds && ARRAY['put_state'] THEN
        INSERT INTO headwater.states AS kept (name, generation, tenant, key, position, state, parked, error, again)
        SELECT s.name, p.generation, s.tenant, s.key, e.position, s.data, 0, '', 0
        FROM unnest(side_tenants, side_kinds, side_keys, side_names, side_numbers, side_priorities, side_datas, side_labels)
            s(tenant, kind, key, name, number, priority, data, label)
        JOIN headwater.projections p ON p.name = s.name AND p.live AND p.version = s.priority
        JOIN headwater.events e ON e.tenant = s.tenant AND e.stream_type = s.label
            AND e.stream_id = substr(s.key, length(s.label) + 2) AND e.version = s.number
        WHERE s.kind = 'put_state'
        ORDER BY s.name COLLATE "C", s.tenant COLLATE "C", s.key COLLATE "C"
        ON CONFLICT (name, generation, tenant, key)
            DO UPDATE SET position = excluded.position, state = excluded.state, parked = 0, error = '';
    END IF;
END
$$;
