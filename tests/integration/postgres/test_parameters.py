"""What the server makes of the parameters of an append is what was given to the driver."""

from __future__ import annotations

from typing import Any, cast
from uuid import uuid4

import asyncpg
import pytest

from headwater.log.postgres.parameters import TYPES, sent, spelled

_VALUES: dict[str, list[Any]] = {
    "smallint": [0, 7],
    "text[]": [[], ["a"], ["a", None, "b"], [None], ['{"x"}', "a,b", "NULL", "back\\slash", "it's", "ü €"]],
    "int[]": [[], [1], (1, 2, 3), [-(2**31), 2**31 - 1]],
    "bigint[]": [[], (2**62,), [None, -1, None]],
    "boolean[]": [[], [True], (False, True, None)],
    "uuid[]": [None, [], [uuid4(), uuid4()]],
    "bytea[]": [[], [b"\x00\x1f", None]],
    "boolean": [True],
    "uuid": [uuid4()],
}


async def test_the_server_gets_what_was_given(admin: asyncpg.Connection) -> None:
    numbered = ", ".join([f"${n}" for n in range(1, len(TYPES) + 1)])
    columns = ", ".join([f"c{n} {type}" for n, type in enumerate(TYPES)])
    await admin.execute(
        f"CREATE FUNCTION pg_temp.echo({', '.join(TYPES)}) RETURNS TABLE ({columns}) LANGUAGE sql"
        f" AS 'SELECT {numbered}'"
    )
    for turn in range(5):
        given = [_VALUES[type][turn % len(_VALUES[type])] for type in TYPES]
        got = await admin.fetchrow(spelled("SELECT * FROM pg_temp.echo({parameters})"), *sent(given))
        assert got is not None
        assert [_plain(value) for value in got] == [_plain(value) for value in given]


def _plain(value: Any) -> Any:
    return list(cast("list[Any]", value)) if isinstance(value, list | tuple) else value


@pytest.mark.parametrize("column", [[""], ["a\x1fb"], ["\x1f", "b"]])
def test_what_would_shift_a_column_is_refused(column: list[str]) -> None:
    with pytest.raises(ValueError, match="control character"):
        sent([0, column])
