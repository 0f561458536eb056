-- Connections that simulated processes have left open.
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND application_name = 'headwater' AND pid <> pg_backend_pid()
