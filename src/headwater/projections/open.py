"""From a log to what is kept in its own database: the only place that knows which stores and tables there are."""

from __future__ import annotations

from typing import Any

from headwater.errors import NotSupported
from headwater.log.log import Log
from headwater.log.memory import MemoryBackend
from headwater.projections.memory import MemoryStore
from headwater.projections.stores import Store
from headwater.projections.tables import Table, TableStore


def table_for(log: Log, projection: str, table: Table[Any]) -> TableStore:
    """A projection's table beside a log."""
    backend = log.backend
    if backend.name == "sqlite":
        from headwater.log.sqlite.backend import SqliteBackend
        from headwater.projections.sqlite_tables import SqliteTable

        if isinstance(backend, SqliteBackend):
            return SqliteTable(backend, projection, table)
    if backend.name == "postgres":
        from headwater.log.postgres.backend import PostgresBackend
        from headwater.projections.postgres_tables import PostgresTable

        if isinstance(backend, PostgresBackend):
            return PostgresTable(backend, projection, table)
    raise NotSupported(
        f"Projection {projection!r} shows its states in table {table.name!r}, and a {backend.name} log has no tables. "
        "Use SQLite or Postgres."
    )


def store_for(log: Log) -> Store:
    """The store beside a log: where its events are, its states are."""
    backend = log.backend
    if isinstance(backend, MemoryBackend):
        kept = backend.beside.setdefault("projections", MemoryStore())
        if isinstance(kept, MemoryStore):
            backend.states = kept
            return kept
    if backend.name == "sqlite":
        from headwater.log.sqlite.backend import SqliteBackend
        from headwater.projections.sqlite import SqliteStore

        if isinstance(backend, SqliteBackend):
            return SqliteStore(backend)
    if backend.name == "postgres":
        from headwater.log.postgres.backend import PostgresBackend
        from headwater.projections.postgres import PostgresStore

        if isinstance(backend, PostgresBackend):
            return PostgresStore(backend)
    raise NotSupported(f"A {backend.name} log keeps no states. Give a store of your own.")
