"""One key while it is folded: its state as it was last written, and what is to be written next.

Whatever fails here is the key's own affair, and parks it: a fold that raises, a state that cannot be kept, rows that a
table does not take. The state before stays.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from headwater.events.envelope import Recorded
from headwater.projections.projection import Projection
from headwater.projections.stores import Checkpoint, Key, StateRow, Store, said
from headwater.projections.tables import Line, RowsRefused, Table, TableStore

_UNSET: Final = object()


class Entry:
    """A key's row as it is in the store or on its way there, and the state that was folded onto it since."""

    __slots__ = ("begun", "error", "lines", "parked", "position", "row", "since", "state")

    def __init__(self, row: StateRow) -> None:
        self.row = row
        self.position, self.parked, self.error = row.position, row.parked, row.error
        self.state: Any = _UNSET
        """Decoded when it is first folded onto."""
        self.lines: Sequence[Line] | None = None
        """The rows of the table that are to be written with it, if there are any."""
        self.begun = 0
        """The first event that is not in the row."""
        self.since = 0
        """The first event that came into the row when it was last made."""

    def fold(self, projection: Projection[Any], events: Sequence[Recorded]) -> bool:
        """Fold events onto the state: whether there is anything to write."""
        if self.parked:
            return False
        fold, state, position = projection.fold, self.state, self.position
        for recorded in events:
            here = recorded.row[0]
            if here <= position:
                continue
            try:
                if state is _UNSET:
                    state = (
                        projection.initial if self.row.state is None else projection.decode(self.row.state)
                    )
                state = fold(state, recorded.event)
            except Exception as error:  # noqa: BLE001  (whatever it is, it is this key's)
                self.parked, self.error = here, said(error)
                break
            position = here
            self.begun = self.begun or here
        changed = bool(self.parked) or position > self.position
        self.state, self.position = state, position
        return changed

    def read_anew(self, projection: Projection[Any], history: Sequence[Recorded], position: int) -> None:
        """The state from all events of its stream, up to a position."""
        try:
            self.state = projection.whole(history) if projection.whole else projection.initial
        except Exception as error:  # noqa: BLE001  (whatever it is, it is this key's)
            self.parked, self.error = position, said(error)
        else:
            self.position, self.begun = position, self.begun or position

    def made(self, projection: Projection[Any], shown: Table[Any] | None) -> StateRow:
        """The row that is to be written."""
        row, state = self.row, self.row.state
        if self.position > row.position:
            try:
                state = projection.encode(self.state)
                if shown is not None:
                    self.lines = shown.lines(Key(row.tenant, row.key), self.state)
            except Exception as error:  # noqa: BLE001  (a state that cannot be kept, or not be shown)
                self.parked, self.error = self.begun, said(error)
                self.position, state, self.state = row.position, row.state, _UNSET
        if projection.whole is not None:
            self.state = _UNSET  # it is never folded onto
        self.since, self.begun = self.begun, 0
        self.row = StateRow(row.tenant, row.key, self.position, state, self.parked, self.error, row.again)
        return self.row


async def save_shown(
    table: TableStore,
    store: Store,
    at: Checkpoint,
    position: int,
    rows: Sequence[StateRow],
    entries: Mapping[Key, Entry],
) -> tuple[Checkpoint, Mapping[Key, str]]:
    """Save states with the rows that show them. Keys whose rows the database does not take are parked, and told."""
    changed = [(Key(row.tenant, row.key), entries[Key(row.tenant, row.key)]) for row in rows]
    lines = {key: entry.lines for key, entry in changed if entry.lines is not None}
    refused: Mapping[Key, str] = {}
    try:
        saved = await table.save(at, position, rows, lines)
    except RowsRefused:
        refused = await table.refused(at, lines)
        if not refused:
            raise
        before = await store.load(at.name, at.generation, list(refused))
        parked = [
            (before.get(key) or StateRow(*key, 0, None))._replace(
                parked=entries[key].since, error=said(RowsRefused(why)), again=0
            )
            for key, why in refused.items()
        ]
        others = [row for row in rows if (row.tenant, row.key) not in refused]
        left = {key: made for key, made in lines.items() if key not in refused}
        saved = await table.save(at, position, [*others, *parked], left)
    for _, entry in changed:
        entry.lines = None
    return saved, refused
