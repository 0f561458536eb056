"""Where a case writes: a new SQLite file, or a new database on a durable Postgres.

Postgres is the one in HEADWATER_BENCH_POSTGRES_URL (a superuser's address), else a server of our own with the
defaults of its release but for 512 MB of shared buffers; commits are flushed to the disk.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.servers.fixtures import migrate
from tests.servers.postgres import Database, PostgresServer, Template

URL_VARIABLE = "HEADWATER_BENCH_POSTGRES_URL"
DURABLE = {"fsync": "on", "full_page_writes": "on", "synchronous_commit": "on", "shared_buffers": "512MB"}


class Places:
    """Everything is removed at the end."""

    def __init__(self) -> None:
        self._exits = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self._exits.__exit__(kind, error, at)

    @cached_property
    def _folder(self) -> Path:
        return Path(self._exits.enter_context(tempfile.TemporaryDirectory(prefix="headwater-bench-")))

    def file(self, name: str) -> Path:
        """A path in a new folder, on the disk that temporary files are on (TMPDIR)."""
        return Path(tempfile.mkdtemp(dir=self._folder)) / name

    @cached_property
    def _server(self) -> PostgresServer:
        url = os.environ.get(URL_VARIABLE)
        server = PostgresServer(url) if url else PostgresServer.launch(settings=DURABLE)
        self._exits.callback(server.close)
        return server

    @cached_property
    def _template(self) -> Template:
        server = self._server
        template = Template.create(server, migrate)
        self._exits.callback(template.drop)
        return template

    async def database(self) -> Database:
        """A migrated database: our log goes in as the worker's role, the bare driver as the owner."""

        def create() -> Database:
            database = Database.create(self._server, self._template)
            self._exits.callback(database.drop)
            return database

        return await asyncio.to_thread(create)
