-- May this login simulate here? One at a time; the lock is held as long as the connection.
SELECT
    pg_try_advisory_lock(1214731854) AS alone,
    pg_has_role(current_user, c.relowner, 'usage') AND pg_has_role(current_user, 'headwater_worker', 'usage') AS owner,
    to_regclass('headwater.simulated_now') IS NOT NULL AS taken,
    EXISTS (SELECT FROM headwater.events) AS used
FROM pg_class c WHERE c.oid = 'headwater.events'::regclass
