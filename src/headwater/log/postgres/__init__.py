"""The log on Postgres."""
