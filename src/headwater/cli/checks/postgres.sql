-- What doctor asks of a server, in one row. It must work in a database without a log, and for any role.
SELECT
    current_user AS role,
    pg_backend_pid() AS backend_pid,
    current_setting('server_version') AS version,
    current_setting('server_version_num')::int AS version_number,
    current_setting('transaction_read_only') = 'on' OR pg_is_in_recovery() AS read_only,
    current_setting('default_transaction_isolation') AS isolation,
    current_setting('synchronous_commit') AS synchronous_commit,
    current_setting('fsync') AS fsync,
    current_setting('full_page_writes') AS full_page_writes,
    me.rolsuper AS superuser,
    me.rolbypassrls AS bypasses_rls,
    EXISTS (
        SELECT FROM pg_class c WHERE c.relnamespace = log.oid AND c.relkind = 'r' AND c.relowner = me.oid
    ) AS owner,
    ARRAY(
        SELECT r.rolname::text FROM pg_roles r
        WHERE r.rolname IN ('headwater_worker', 'headwater_server') AND pg_has_role(me.oid, r.oid, 'usage')
        ORDER BY r.rolname
    ) AS groups,
    (SELECT count(*) FROM pg_class c WHERE c.relnamespace = log.oid AND c.relkind = 'r') AS tables,
    ARRAY(
        SELECT c.relname::text FROM pg_class c
        WHERE c.relnamespace = log.oid AND c.relkind = 'r' AND NOT (c.relrowsecurity AND c.relforcerowsecurity)
        ORDER BY c.relname
    ) AS unforced,
    ARRAY(
        SELECT p.proname::text FROM pg_proc p JOIN pg_roles r ON r.oid = p.proowner
        WHERE p.pronamespace = log.oid AND p.prosecdef AND (r.rolsuper OR r.rolbypassrls)
        ORDER BY p.proname
    ) AS mighty
FROM pg_roles me LEFT JOIN pg_namespace log ON log.nspname = 'headwater'
WHERE me.rolname = current_user
