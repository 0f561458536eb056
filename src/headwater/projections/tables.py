"""A table of the user's own that shows the states of a projection as rows: to query, join and index with plain SQL.

    spending = Table(
        "spending",
        columns={"customer": "text NOT NULL", "cents": "bigint NOT NULL"},
        rows=lambda key, state: [(state.customer, state.cents)],
    )
    Projection("spent", state=Spent, ..., table=spending)

Promise. Rows are a function of states: what stands under the table's name is what `rows` makes of each state in use, at
the checkpoint. They change in the transaction that moves the checkpoint.

Why it is right. Rows lie in `<name>_rows`, beside the generation, tenant and key that they are of. Whenever a state is
written, the rows of its key are taken away and made anew, in the same transaction. The name itself is a view of the
rows of the generation in use. So a rebuild fills another generation's rows while the view shows the live one's, and the
swap, which changes no table, changes what the view shows. A generation that begins again at 0 takes away what one of
the same number may have left, and what dropped generations have left is swept away in small parts.

What the database refuses (a constraint of yours, a value of the wrong type) parks its key, as a fold that raises does.

Rejected: renaming tables at the swap (a worker would need the rights of their owner, and every statement that uses
them would wait); writing rows from events without states (nothing to verify, to redrive or to rebuild one key from).
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Generic, Protocol, TypeVar

from headwater.errors import DeclarationRefused, Refused
from headwater.projections.stores import Checkpoint, Key, StateRow

S = TypeVar("S")
Line = tuple[Any, ...]
Lines = Mapping[Key, Sequence[Line]]
_NAME: Final = re.compile(r"[a-z_][a-z0-9_]{0,47}")
OWN: Final = ("generation", "tenant", "key")


class RowsRefused(Refused):
    """The database takes the rows of some key in no case; nothing was written."""


class Tried(Exception):
    """Roll back what was only tried."""


@dataclass(frozen=True)
class Table(Generic[S]):
    """Columns with their SQL types and constraints, and the rows that a state stands for."""

    name: str
    columns: Mapping[str, str]
    rows: Callable[[Key, S], Iterable[Sequence[Any]]]

    def __post_init__(self) -> None:
        for what in (self.name, *self.columns):
            if not _NAME.fullmatch(what):
                raise DeclarationRefused(
                    f"Table {self.name!r}: {what!r} is no name for it. Use small letters, digits and _, 48 at most."
                )
        if taken := set(OWN) & set(self.columns):
            raise DeclarationRefused(f"Table {self.name!r}: the column {min(taken)!r} is there already.")
        if not self.columns:
            raise DeclarationRefused(f"Table {self.name!r} has no columns. Name them, with their SQL types.")

    @property
    def stored(self) -> str:
        """The table in which the rows of all generations are."""
        return f"{self.name}_rows"

    def lines(self, key: Key, state: S) -> list[Line]:
        """The rows of a state; an error if one has not a value for each column."""
        found = [tuple(row) for row in self.rows(key, state)]
        for line in found:
            if len(line) != len(self.columns):
                raise DeclarationRefused(
                    f"Table {self.name!r} has {len(self.columns)} columns, and a row of {key.key!r} {len(line)} values."
                )
        return found

    def filled(self, statements: Mapping[str, str], projection: str, marks: Sequence[str]) -> dict[str, str]:
        """A database's statements, of this table. All names in them were checked."""
        names = {
            "stored": f'"{self.stored}"',
            "view": f'"{self.name}"',
            "by_key": f'"{self.stored}_by_key"',
            "columns": ", ".join(f'"{column}"' for column in self.columns),
            "defined": ",\n    ".join(f'"{column}" {type}' for column, type in self.columns.items()),
            "marks": ", ".join(marks),
            "projection": projection,
        }
        return {name: statement.format(**names) for name, statement in statements.items()}


class TableStore(Protocol):
    """A table in the log's own database."""

    @property
    def made(self) -> str:
        """The statements that make it."""
        ...

    async def check(self) -> None:
        """See that the table is there, as it was declared."""
        ...

    async def make(self) -> None:
        """Make the table and its view, where they are not there."""
        ...

    async def save(self, at: Checkpoint, position: int, rows: Sequence[StateRow], lines: Lines) -> Checkpoint:
        """What a store's `save` does, and the rows of these keys with it; `RowsRefused` if some cannot be."""
        ...

    async def refused(self, at: Checkpoint, lines: Lines) -> Mapping[Key, str]:
        """The keys whose rows cannot be, and why; nothing is written."""
        ...

    async def sweep(self) -> None:
        """Take away the rows of generations that there are no more."""
        ...


def as_stored(generation: int, lines: Lines) -> list[Line]:
    """The rows of some keys with what stands before their columns."""
    return [(generation, *key, *line) for key, its in lines.items() for line in its]


async def sweep(
    following: Callable[[int], Awaitable[int | None]], take_away: Callable[[int], Awaitable[bool]]
) -> None:
    """Go through the generations of which there are rows, and take away what is left of those that are gone."""
    generation = await following(0)
    while generation is not None:
        while await take_away(generation):
            pass
        generation = await following(generation)
