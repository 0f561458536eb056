"""Where background work starts: for a worker process, and for a client that embeds one."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace

from headwater.app import Headwater
from headwater.app.domain import Part
from headwater.engine.engine import Alone, Ended, Engine
from headwater.engine.options import EngineOptions
from headwater.log.log import Log
from headwater.projections.projector import Projector
from headwater.worker.parts import Worker

_NONE: Mapping[str, int] = {}


async def start(
    app: Headwater,
    log: Log,
    options: EngineOptions | None = None,
    *,
    ended: Ended | None = None,
    alone: Alone | None = None,
    only: Collection[str] = (),
) -> Worker:
    """Begin to work for an app on a log that is open. The caller stops what it gets.

    With `only`, no more than these parts: `runs`, `queues`, `projections`, `pipelines`, or domains by their names.
    """
    options = options or EngineOptions()
    if only:
        queues: Mapping[str, int] | None = options.queues if "queues" in only else _NONE
        options = replace(options, workflows=options.workflows and "runs" in only, queues=queues)
    engine = Engine(app, log, options, ended=ended, alone=alone)
    beside: list[Part] = [  # what else goes on in a worker, one line each
        *(
            part
            for name, domain in app.domains.items()
            if domain.parts and (not only or name in only)
            for part in domain.parts(app, log)
        ),
    ]
    if not only or "pipelines" in only:
        for declared in app.pipelines.values():
            beside += declared.parts(log)
    if app.projections and (not only or "projections" in only):
        beside.append(Projector(log, list(app.projections.values())))
    worker = Worker(engine, beside)
    await worker.start()
    return worker
