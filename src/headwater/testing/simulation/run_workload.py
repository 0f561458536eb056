"""The engine's workload: workers that execute runs of every kind, and clients that start, tell and cancel them."""

from __future__ import annotations

from random import Random
from typing import Final

from headwater.engine.options import EngineOptions
from headwater.log.log import Log, LogOptions
from headwater.runs.events import registry_of
from headwater.testing.invariants import check
from headwater.testing.run_invariants import check_runs
from headwater.testing.simulation.run_flows import Flows
from headwater.testing.simulation.run_programs import ClientProgram, work
from headwater.testing.simulation.run_promises import Promises
from headwater.testing.simulation.workload import Node

_ONE: Final = "default", "default"
_TWO: Final = "default", "other"


class RunWorkload:
    """One to three workers and one or two clients, maybe of two tenants; a client may embed a worker."""

    def __init__(self, seed: int) -> None:
        chance = Random(f"run workload {seed}")
        self._workers = [f"w{n}" for n in range(1, 1 + chance.choice((1, 2, 2, 3)))]
        self._clients = [f"c{n}" for n in range(1, 1 + chance.choice((1, 2)))]
        self.processes = [*self._workers, *self._clients]
        self.seconds = chance.choice((1.0, 4.0, 12.0))
        self._operations = chance.choice((4, 10, 24))
        self._runs = chance.choice((3, 8, 20))
        self._restarts = chance.choice((0.0, 0.0, 0.5, 4.0))
        self._evict_every = chance.choice((0.0, 0.0, 0.03, 0.004))
        self._embedded = chance.random() < 0.4
        edits = chance.random() < 0.3
        self._change = (chance.uniform(0, self.seconds), chance.uniform(0, 3.0))
        self._engine = EngineOptions(
            lease=chance.choice((1.0, 2.0)),
            poll=chance.choice((0.05, 0.25, 2.0)),
            runs=chance.choice((1, 2, 5, 100)),
            idle=0.0 if edits else chance.choice((0.0, 0.0, 0.3, 30.0)),
            concurrency=chance.choice((1, 3)),
            grace=chance.choice((0.0, 0.3, 3.0)),
        )
        self._options = LogOptions(
            page=chance.choice((2, 50)),
            poll=chance.choice((0.25, 1.0)),
            linger=chance.choice((0.0, 0.005)),
            batch_calls=chance.choice((1, 3, 1000)),
            close_patience=60.0,
        )
        self._flows = Flows(lambda: 0)
        self._tenants = dict(zip(self._clients, chance.choice((_ONE, _TWO)), strict=False))
        kinds = sorted(self._flows.kinds)
        self._kinds = chance.sample(kinds, chance.choice((1, 2, 4, len(kinds))))
        if (
            edits
        ):  # while the code changes, and runs that wait are replayed: much may go wrong with one that is held
            self._kinds = ["edited", *self._kinds[:1]]
        self._promises = Promises()
        self._programs: dict[str, ClientProgram] = {}
        self._nodes: dict[str, Node] = {}

    async def run(self, node: Node) -> None:
        if not self._nodes:
            begin, lasts = self._change
            now = node.world.loop.time
            self._flows = Flows(lambda: int(begin <= now() < begin + lasts))
        self._nodes[node.name] = node
        registry = registry_of(self._flows.app)
        async with node.log(registry, self._options) as log:
            if node.name in self._workers:
                await work(node, log, self._flows.app, self._engine, self._restarts, self._evict_every)
            else:
                program = self._programs[node.name] = ClientProgram(
                    node,
                    log,
                    self._flows,
                    self._promises,
                    operations=self._operations,
                    pace=self.seconds / self._operations,
                    runs=self._runs,
                    kinds=self._kinds_on(node.world.setup.storage),
                    tenant=self._tenants[node.name],
                    embedded=self._engine if self._embedded else None,
                )
                await program.run()

    def _kinds_on(self, storage: str) -> list[str]:
        """Memory has no transactions."""
        return [kind for kind in self._kinds if kind != "booking" or storage != "memory"] or ["line"]

    def unfinished(self) -> str | None:
        for name in self.processes:
            node = self._nodes.get(name)
            if node is None or not node.alive:
                return f"{name} is down"
        for name in self._clients:
            program = self._programs.get(name)
            if program is None or not program.node.alive:
                return f"{name} is not up yet"
            if busy := program.busy():
                return busy
        return None

    async def check(self, log: Log) -> None:
        await check(log)
        may_diverge = frozenset({"edited"})
        await check_runs(log, self._flows.app.workflows, may_diverge=may_diverge)
        await self._promises.check(log, self._flows)
