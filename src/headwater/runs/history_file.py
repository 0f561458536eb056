"""The file format of a run's history: what `headwater run export` writes, and golden files hold.

A line is an event, as a JSON object: `run`, `tenant`, `version`, `type`, `schema_version`, `spec_version`,
`recorded_at`, `data` (the payload as it was recorded, not lifted). Lines stand for themselves, so histories may be put
together with `cat`; the events of one run stand in order. A file is ASCII.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from headwater.errors import PayloadRefused
from headwater.events.canonical import encode_json
from headwater.events.clock import to_us
from headwater.events.codec import PLAIN, Codec
from headwater.events.envelope import Recorded, StoredRow
from headwater.events.model import Event
from headwater.events.registry import Registry, RegistryDecoder
from headwater.runs.events import register_run_events
from headwater.runs.protocol import run_event
from headwater.runs.rows import STREAM_TYPE

_FIELDS = {"run", "tenant", "version", "type", "schema_version", "spec_version", "recorded_at", "data"}


class Fact(NamedTuple):
    """An event of a run, with its place and time."""

    version: int
    event: Event
    recorded_us: int


class History(NamedTuple):
    """The events of one run, from the first on."""

    run: str
    tenant: str
    facts: list[Fact]


def fact_of(recorded: Recorded) -> Fact:
    return Fact(recorded.version, run_event(recorded), recorded.row[10])


def history_line(recorded: Recorded) -> str:
    """An event of a run as a line of a file, without its end."""
    fields = {
        "run": recorded.stream.id,
        "tenant": recorded.tenant,
        "version": recorded.version,
        "type": recorded.type,
        "schema_version": recorded.schema_version,
        "spec_version": recorded.spec_version,
        "recorded_at": recorded.recorded_at.isoformat(),
        "data": recorded.data,
    }
    return json.dumps(fields)


def read_events(lines: Iterable[str]) -> Iterator[Recorded]:
    """The events of a file, as if they had been read from a log that holds nothing else."""
    decoder = RegistryDecoder(register_run_events(Registry()), Codec())
    for number, line in enumerate(lines, 1):
        if line.strip():
            yield Recorded(_row(number, line), decoder)


def read_histories(lines: Iterable[str]) -> list[History]:
    """The histories of a file, in the order in which they begin."""
    found: dict[tuple[str, str], History] = {}
    for recorded in read_events(lines):
        key = (recorded.tenant, recorded.stream.id)
        history = found.setdefault(key, History(recorded.stream.id, recorded.tenant, []))
        if recorded.version != len(history.facts) + 1:
            raise PayloadRefused(
                f"The history of run {history.run!r} goes on with version {recorded.version} after "
                f"{len(history.facts)}: lines are missing, or stand twice. Export it again."
            )
        history.facts.append(fact_of(recorded))
    return list(found.values())


def _row(number: int, line: str) -> StoredRow:
    try:
        fields: Any = json.loads(line)
        if missing := _FIELDS - set(fields):
            raise ValueError(f"it has no {', '.join(sorted(missing))}")
        at = to_us(datetime.fromisoformat(fields["recorded_at"]))
        return StoredRow(
            position=number,
            tenant=str(fields["tenant"]),
            stream_type=STREAM_TYPE,
            stream_id=str(fields["run"]),
            version=int(fields["version"]),
            event_id=UUID(int=number),
            type=str(fields["type"]),
            schema_version=int(fields["schema_version"]),
            spec_version=int(fields["spec_version"]),
            occurred_at=at,
            recorded_at=at,
            run_id=None,
            correlation_id=None,
            causation_id=None,
            actor=None,
            traceparent=None,
            encoding=PLAIN,
            data=encode_json(fields["data"], "payload"),
            metadata=None,
            blob=None,
            digest=b"",
            chain=b"",
        )
    except (ValueError, TypeError) as error:
        raise PayloadRefused(f"Line {number} is not an event of a run's history: {error}.") from None
