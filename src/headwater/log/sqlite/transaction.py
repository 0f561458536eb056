"""A program's own transaction on the log's file: its statements and its appends, together or not at all.

SQLite has one writer. A transaction that stayed open while the program thinks would make every append wait, in every
process. So what the block does is kept, and done at its end in one go: statements first, then appends, in the order
in which they came, under one `BEGIN IMMEDIATE`. A refusal rolls back all of it and is raised from the block.

A statement may touch the program's own tables only. SQLite asks an authorizer about each table that a statement, a
view or a trigger of it would use; ours start with `hw_`.
"""

from __future__ import annotations

from typing import Any, Final, NoReturn

import apsw

from headwater.errors import NotSupported
from headwater.log.port import Call
from headwater.log.sqlite.append import Appender
from headwater.log.sqlite.database import Database
from headwater.log.sqlite.transact import transact

_FORBIDDEN: Final = {
    apsw.SQLITE_ATTACH,
    apsw.SQLITE_DETACH,
    apsw.SQLITE_PRAGMA,
    apsw.SQLITE_SAVEPOINT,
    apsw.SQLITE_TRANSACTION,
}


class KeptTransaction:
    """What a block asked for, until it ends."""

    def __init__(self) -> None:
        self._statements: list[tuple[str, tuple[Any, ...]]] = []
        self._calls: list[Call] = []

    @property
    def connection(self) -> NoReturn:
        raise NotSupported(
            "SQLite has one writer, so a transaction's statements are kept and run when it ends; there is no open "
            "connection to share. Use `execute` in the transaction, and read through another connection's process."
        )

    async def execute(self, sql: str, *args: Any) -> None:
        self._statements.append((sql, args))

    async def stage(self, call: Call) -> None:
        self._calls.append(call)

    def run(self, connection: Database, appender: Appender) -> None:
        """Do it all, in one transaction."""

        def body(connection: Database) -> None:
            connection.set_authorizer(_authorize)
            try:
                for sql, args in self._statements:
                    connection.execute(sql, args).fetchall()
            except apsw.AuthError as error:
                raise NotSupported(
                    "A statement in a transaction may touch tables of your own only, not those that start with hw_, "
                    f"and may not attach, set pragmas or end the transaction ({error})."
                ) from None
            finally:
                connection.set_authorizer(None)
            appender.append_all(connection, self._calls)

        transact(connection, body)


def _authorize(action: int, first: str | None, second: str | None, _: str | None, __: str | None) -> int:
    if action in _FORBIDDEN or _is_ours(first) or _is_ours(second):
        return apsw.SQLITE_DENY
    return apsw.SQLITE_OK


def _is_ours(name: str | None) -> bool:
    return name is not None and name.lower().startswith("hw_")
