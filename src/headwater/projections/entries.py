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
    """A key's row, and its state decoded when it is first folded onto."""

    __slots__ = ("begun", "lines", "row", "state")

    def __init__(self, row: StateRow) -> None:
        self.row = row
        self.state: Any = _UNSET
        self.lines: Sequence[Line] | None = None
        """The rows of the table that are to be written with it, if there are any."""
        self.begun = 0
        """The first event in what is to be written."""

    def fold(
        self, projection: Projection[Any], events: Sequence[Recorded], shown: Table[Any] | None
    ) -> StateRow | None:
        """Fold events onto the state: what is to be written, None if nothing changes."""
        row = self.row
        if row.parked:
            return None
        fold, state, position, parked, why = projection.fold, self.state, row.position, 0, ""
        begun = 0
        for recorded in events:
            here = recorded.row[0]
            if here <= row.position:
                continue
            try:
                if state is _UNSET:
                    state = projection.initial if row.state is None else projection.decode(row.state)
                state = fold(state, recorded.event)
            except Exception as error:  # noqa: BLE001  (whatever it is, it is this key's)
                parked, why = here, said(error)
                break
            position = here
            begun = begun or here
        kept = row.state
        if position > row.position:
            try:
                kept = projection.encode(state)
                if shown is not None:
                    self.lines = shown.lines(Key(row.tenant, row.key), state)
            except Exception as error:  # noqa: BLE001  (a state that cannot be kept, or not be shown)
                parked, why, position, kept, state = begun, said(error), row.position, row.state, _UNSET
            self.begun = self.begun or begun
        elif not parked:
            return None
        self.state = state
        self.row = StateRow(row.tenant, row.key, position, kept, parked, why, row.again)
        return self.row

    def read_anew(
        self,
        projection: Projection[Any],
        history: Sequence[Recorded],
        position: int,
        shown: Table[Any] | None,
    ) -> StateRow:
        """The state from all events of its stream, up to a position."""
        try:
            made = projection.whole(history) if projection.whole else projection.initial
            state = projection.encode(made)
            lines = None if shown is None else shown.lines(Key(self.row.tenant, self.row.key), made)
        except Exception as error:  # noqa: BLE001  (whatever it is, it is this key's)
            self.row = self.row._replace(parked=position, error=said(error))
        else:
            self.begun, self.lines, self.state = position, lines, _UNSET
            self.row = self.row._replace(position=position, state=state)
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
                parked=entries[key].begun, error=said(RowsRefused(why)), again=0
            )
            for key, why in refused.items()
        ]
        others = [row for row in rows if (row.tenant, row.key) not in refused]
        left = {key: made for key, made in lines.items() if key not in refused}
        saved = await table.save(at, position, [*others, *parked], left)
    for _, entry in changed:
        entry.lines, entry.begun = None, 0
    return saved, refused
