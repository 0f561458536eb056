"""The log: one typed, append-only order of events, on memory, SQLite and Postgres."""
