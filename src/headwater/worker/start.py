"""Where background work starts: for a worker process, and for a client that embeds one."""

from __future__ import annotations

from headwater.app import Headwater
from headwater.app.domain import Part
from headwater.engine.engine import Alone, Ended, Engine
from headwater.engine.options import EngineOptions
from headwater.log.log import Log
from headwater.projections.projector import Projector
from headwater.worker.parts import Worker


async def start(
    app: Headwater,
    log: Log,
    options: EngineOptions | None = None,
    *,
    ended: Ended | None = None,
    alone: Alone | None = None,
) -> Worker:
    """Begin to work for an app on a log that is open. The caller stops what it gets."""
    engine = Engine(app, log, options, ended=ended, alone=alone)
    beside: list[Part] = [  # what else goes on in a worker, one line each
        *(part for domain in app.domains.values() if domain.parts for part in domain.parts(app, log)),
    ]
    if app.projections:
        beside.append(Projector(log, list(app.projections.values())))
    worker = Worker(engine, beside)
    await worker.start()
    return worker
