"""One write transaction, whatever happens in it.

`BEGIN IMMEDIATE` takes the file's one write lock first, so nothing that is read in the transaction can change before
it commits, and no later statement can find the file busy. Any failure ends with the transaction rolled back: the
connection works again. A disk that fails in COMMIT is told apart: the pages may have reached the disk, and a crash
right then could bring them back, so the outcome is unknown and the caller asks again with the same ids. A full disk
is not unknown: the commit's last page was not written, and without it the rest counts for nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

import apsw

from headwater.log.sqlite.database import Database
from headwater.log.sqlite.trouble import CommitFailed

T = TypeVar("T")


def transact(connection: Database, body: Callable[[Database], T]) -> T:
    """Run `body` under the write lock and commit what it wrote."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        result = body(connection)
        commit(connection)
    except BaseException:
        roll_back(connection)
        raise
    return result


def commit(connection: Database) -> None:
    try:
        connection.execute("COMMIT")
    except apsw.IOError as error:
        raise CommitFailed(f"The disk failed while the transaction was committed: {error}.") from error


def roll_back(connection: Database) -> None:
    """End whatever is open. SQLite has rolled back by itself after some errors."""
    if connection.in_transaction:
        with suppress(apsw.Error):
            connection.execute("ROLLBACK")
