"""Bare apsw: prepared inserts on the loop's own thread, WAL, synchronous=FULL, a transaction a row or a batch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import apsw

from bench.harness import rate
from bench.orders import rows

_SCHEMA = Path(__file__).with_name("sqlite.sql")
_INSERT = f"INSERT INTO bare_events VALUES ({', '.join('?' * 22)})"
_INSERT_MINIMAL = "INSERT INTO bare_minimal VALUES (?, ?)"
_READ = "SELECT * FROM bare_events WHERE position > ? ORDER BY position LIMIT ?"
_READ_MINIMAL = "SELECT position, data FROM bare_minimal WHERE position > ? ORDER BY position LIMIT ?"


def connect(file: Path) -> apsw.Connection:
    connection = apsw.Connection(str(file))
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.set_busy_timeout(5000)
    return connection


class Bare:
    """One file with the two bare tables; positions go on from sample to sample."""

    def __init__(self, file: Path) -> None:
        self._connection = connect(file)
        self._connection.execute(_SCHEMA.read_text())
        self._next = 1

    @classmethod
    @contextmanager
    def open(cls, file: Path) -> Iterator[Self]:
        bare = cls(file)
        try:
            yield bare
        finally:
            bare._connection.close()

    async def append(self, count: int, batch: int, *, minimal: bool = False) -> float:
        """Events a second, `batch` rows a commit."""
        insert = _INSERT_MINIMAL if minimal else _INSERT
        made = self._rows(count, minimal=minimal)
        batches = [made[start : start + batch] for start in range(0, count, batch)]

        async def work() -> None:
            run, many = self._connection.execute, self._connection.executemany
            for rows_of_commit in batches:
                if batch == 1:
                    run(insert, rows_of_commit[0])
                else:
                    run("BEGIN IMMEDIATE")
                    many(insert, rows_of_commit)
                    run("COMMIT")

        return await rate(count, work)

    def fill(self, count: int) -> None:
        """Rows to be read, without a clock."""
        made = self._rows(count, minimal=False)
        with self._connection:
            self._connection.executemany(_INSERT, made)
            self._connection.executemany(_INSERT_MINIMAL, [(row[0], row[17]) for row in made])

    def pages(self, size: int, *, minimal: bool = False) -> Iterator[Sequence[Any]]:
        """The whole table, in pages."""
        after: Any = 0
        read = _READ_MINIMAL if minimal else _READ
        while page := self._connection.execute(read, (after, size)).fetchall():
            yield page
            after = page[-1][0]

    def _rows(self, count: int, *, minimal: bool) -> list[Any]:
        first, self._next = self._next, self._next + count
        made = rows(count, 32, first=first)
        if minimal:
            return [(row.position, row.data) for row in made]
        return [
            (*row[:5], row.event_id.bytes, *row[6:]) for row in made if not isinstance(row.event_id, bytes)
        ]
