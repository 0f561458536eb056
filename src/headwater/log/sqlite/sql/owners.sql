-- name: claim
-- Raise a fence for a holder.
UPDATE hw_fences SET epoch = epoch + 1, holder = ?3 WHERE tenant = ?1 AND key = ?2 RETURNING key, epoch, wakes;

-- name: release
-- Let go, unless the fence was raised or woken since.
UPDATE hw_fences SET holder = NULL, seen = wakes WHERE tenant = ?1 AND key = ?2 AND epoch = ?3 AND wakes = ?4
RETURNING key;

-- name: enrol
INSERT OR REPLACE INTO hw_workers (id, place, lease_us, data, enrolled_at, beat_at) VALUES (?1, ?2, ?3, ?4, ?5, ?5);

-- name: beat
UPDATE hw_workers SET data = ?2, beat_at = ?3 WHERE id = ?1 RETURNING id;

-- name: workers
SELECT id, place, lease_us, data, enrolled_at, beat_at FROM hw_workers ORDER BY id;

-- name: held
SELECT holder, count(*) FROM hw_fences WHERE holder IS NOT NULL GROUP BY holder;

-- name: held_ready
SELECT tenant, queue, key, claim FROM hw_ready WHERE holder = ?1;

-- name: worker
SELECT id FROM hw_workers WHERE id = ?1;

-- name: dismiss
DELETE FROM hw_workers WHERE id = ?1;

-- name: free
-- Fences of a label that wait for an owner, the longest waiting first, but for those of some tenants.
SELECT woken_at, tenant, key FROM hw_fences
WHERE label = ?1 AND holder IS NULL AND wakes > seen AND trial = 0
    AND tenant NOT IN (SELECT value FROM json_each(?2))
ORDER BY woken_at, tenant, key LIMIT ?3;

-- name: first_suspect
-- The suspect of a label that has waited longest.
SELECT woken_at, tenant, key, trial FROM hw_fences
WHERE label = ?1 AND holder IS NULL AND wakes > seen AND trial > 0
    AND tenant NOT IN (SELECT value FROM json_each(?2))
ORDER BY woken_at, tenant, key LIMIT 1;

-- name: suspects
-- The suspects of a label that are to be taken in groups of one size.
SELECT woken_at, tenant, key FROM hw_fences
WHERE label = ?1 AND holder IS NULL AND wakes > seen AND trial > 0 AND trial = ?4
    AND tenant NOT IN (SELECT value FROM json_each(?2))
ORDER BY woken_at, tenant, key LIMIT ?3;

-- name: take
-- Raise a fence for a holder who has then seen all its wakes.
UPDATE hw_fences SET epoch = epoch + 1, holder = ?3, seen = wakes WHERE tenant = ?1 AND key = ?2
RETURNING tenant, key, label, epoch, wakes, trial, deaths;

-- name: woken
-- What a holder has not seen yet, of the many that it may hold.
SELECT tenant, key, epoch, wakes FROM hw_fences INDEXED BY hw_fences_woken
WHERE holder = ?1 AND wakes > seen ORDER BY tenant, key LIMIT ?2;

-- name: see
UPDATE hw_fences SET seen = wakes WHERE tenant = ?1 AND key = ?2;

-- name: next_holder
-- Who holds fences, one after another, without a look at each fence.
SELECT holder FROM hw_fences WHERE holder > ?1 ORDER BY holder LIMIT 1;

-- name: next_ready_holder
SELECT holder FROM hw_ready WHERE holder > ?1 ORDER BY holder LIMIT 1;

-- name: count_held
SELECT count(*) FROM hw_fences WHERE holder = ?1;

-- name: free_held
-- Take from a holder all that it holds.
UPDATE hw_fences
SET epoch = epoch + 1, holder = NULL,
    woken_at = CASE WHEN wakes = seen THEN ?2 ELSE woken_at END, wakes = wakes + 1
WHERE holder = ?1;

-- name: suspect_held
-- Suspect all that a dead worker held, being so many: half of them, or of the group before, are to be taken together.
UPDATE hw_fences
SET deaths = deaths + (trial = 1), trial = (min(?2, CASE WHEN trial > 0 THEN trial ELSE ?2 END) + 1) / 2
WHERE holder = ?1;

-- name: free_ready
UPDATE hw_ready SET holder = NULL WHERE holder = ?1 RETURNING key;

-- name: next_priority
-- The priorities of a queue, one after another: among those of one, what is due comes first.
SELECT priority FROM hw_ready WHERE queue = ?1 AND priority > ?2 AND holder IS NULL ORDER BY priority LIMIT 1;

-- name: due_ready
-- Rows of one priority that are due and that nobody holds.
SELECT tenant, key FROM hw_ready
WHERE queue = ?1 AND priority = ?2 AND at <= ?3 AND holder IS NULL
ORDER BY at, tenant, key LIMIT ?4;

-- name: take_ready
UPDATE hw_ready SET holder = ?4, claim = claim + 1 WHERE tenant = ?1 AND queue = ?2 AND key = ?3
RETURNING tenant, queue, key, claim, at, data;

-- name: tenants
SELECT tenant FROM hw_tenants;

-- name: entries
-- A tenant's list before a place, newest first.
SELECT tenant, list, key, label, status, at, data FROM hw_entries
WHERE tenant = ?1 AND list = ?2 AND (at, key) < (?3, ?4)
ORDER BY at DESC, key DESC LIMIT ?5;

-- name: entries_of_label
SELECT tenant, list, key, label, status, at, data FROM hw_entries
WHERE tenant = ?1 AND list = ?2 AND (at, key) < (?3, ?4) AND label = ?5
ORDER BY at DESC, key DESC LIMIT ?6;

-- name: entries_of_status
SELECT tenant, list, key, label, status, at, data FROM hw_entries
WHERE tenant = ?1 AND list = ?2 AND (at, key) < (?3, ?4) AND (?5 IS NULL OR label = ?5) AND status = ?7
ORDER BY at DESC, key DESC LIMIT ?6;

-- name: entry
SELECT tenant, list, key, label, status, at, data FROM hw_entries WHERE tenant = ?1 AND list = ?2 AND key = ?3;
