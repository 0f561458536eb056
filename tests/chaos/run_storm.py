"""Chaos for runs: `python -m tests.chaos.run_storm sqlite|postgres --seconds 600 --seed 1`.

Workers are killed and frozen past their leases at random, the Postgres server crashes and the network to it fails, the
disk under SQLite fills up, while runs are started, spoken to and cancelled. In the end everything works again: then
every run must end, with the result that its workflow computes, each result of a step recorded once, each effect under
one key.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

from headwater.client import Client, RunHandle
from headwater.errors import (
    HookNotFound,
    HookTooEarly,
    RunCancelledError,
    RunFinished,
    Trouble,
)
from tests.chaos.storm import PLACES, Blow
from tests.integration.engine.conftest import check_everything
from tests.integration.engine.shop import app, chat, fan, naps, sleepy, sums, tidy
from tests.integration.engine.workers import WorkerProcess, effects_in

WORKERS = 3
LEASE = "2"
PATIENCE = 90


class Crew:
    """The workers of the storm."""

    def __init__(self, url: str, effects: Path) -> None:
        self._url, self._effects = url, effects
        self._workers = [self._start() for _ in range(WORKERS)]

    def _start(self) -> WorkerProcess:
        return WorkerProcess(self._url, "--lease", LEASE, effects=self._effects)

    async def kill(self, chance: Random) -> None:
        number = chance.randrange(WORKERS)
        self._workers[number].end()
        self._workers[number] = self._start()

    async def freeze(self, chance: Random) -> None:
        frozen = chance.choice(self._workers)
        frozen.freeze()
        await asyncio.sleep(chance.uniform(0.1, 4.0))
        frozen.thaw()

    def check_alive(self) -> None:
        """Nobody who works ends by himself; who could not begin (there was no server, no space) is started again."""
        for number, worker in enumerate(self._workers):
            code = worker.process.poll()
            if code is not None:
                assert worker.process.stdout is not None
                said = worker.process.stdout.read()
                assert not said, f"a worker has ended by itself, with {code}: {said}"
                worker.end()
                self._workers[number] = self._start()

    def end(self) -> None:
        for worker in self._workers:
            worker.end()


class Users:
    """Start runs, talk to them, and remember what each must come to."""

    def __init__(self, hw: Client, chance: Random) -> None:
        self._hw, self._chance = hw, chance
        self.runs: list[tuple[RunHandle[Any], Callable[[Any], bool]]] = []
        self._talks: set[asyncio.Task[None]] = set()
        self._number = 0

    async def work(self) -> None:
        """Until cancelled."""
        while True:
            self._number += 1
            await self._start(f"r{self._number}")
            await asyncio.sleep(self._chance.uniform(0.0, 0.15))

    async def _start(self, id: str) -> None:
        n = self._chance.randrange(1, 6)
        match self._chance.randrange(6):
            case 0:
                await self._begin(id, sums.bind(n), lambda got: got == n * (n - 1) // 2)
            case 1:
                await self._begin(id, sleepy.bind(2, 0.1), lambda got: len(got) == 2)
            case 2:
                await self._begin(id, fan.bind(n, 0.05), lambda got: got == n * (n - 1) // 2)
            case 3:
                await self._begin(id, naps.bind(n, 0.2), lambda got: got == n)
            case 4:
                said = [f"{id}-{line}" for line in range(3)]
                await self._begin(id, chat.bind(id, 3), lambda got: got == said)
                self._later(self._talk(id, said))
            case _:
                await self._begin(id, tidy.bind(600.0), lambda got: isinstance(got, RunCancelledError))
                self._later(self._persist(lambda: self._hw.cancel(id)))

    async def _begin(self, id: str, bound: Any, expected: Callable[[Any], bool]) -> None:
        [run] = await self._persist(lambda: self._hw.start_all({id: bound}))
        self.runs.append((run, expected))

    async def _talk(self, token: str, lines: list[str]) -> None:
        for number, line in enumerate(lines):
            while True:
                try:
                    await self._persist(
                        partial(self._hw.send, token, line, run=token, key=f"{token}/{number}")
                    )
                    break
                except (HookTooEarly, HookNotFound):
                    await asyncio.sleep(0.1)
                except RunFinished:
                    return

    def _later(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._talks.add(task)

    async def _persist(self, ask: Callable[[], Awaitable[Any]]) -> Any:
        while True:
            try:
                async with asyncio.timeout(10):
                    return await ask()
            except (Trouble, TimeoutError, OSError):
                await asyncio.sleep(0.2)

    async def settle(self) -> None:
        """Everything works again: every run must come to what it must."""
        await asyncio.gather(*self._talks)
        for run, expected in self.runs:
            try:
                got: Any = await run.result(PATIENCE)
            except RunCancelledError as cancelled:
                got = cancelled
            except TimeoutError:
                state = await run.state()
                fences = await self._hw.log.backend.fences("default", [f"run/{run.id}"])
                history = [(e.version, e.type) async for e in self._hw.history(run.id)]
                raise AssertionError(f"{run} does not end: {state.status}, {fences}, {history}") from None
            assert expected(got), f"{run} came to {got!r}"


async def storm(place: str, seconds: float, seed: int) -> dict[str, int]:
    """Let it blow, then check; what happened, counted."""
    chance, happened = Random(seed), Counter[str]()
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="headwater-run-storm-")))
        url, direct, blows = await stack.enter_async_context(PLACES[place](folder))
        effects = folder / "effects"
        hw = await stack.enter_async_context(app.connect(direct, worker=False))
        crew = Crew(url, effects)
        stack.callback(crew.end)
        users = Users(hw, Random(seed))
        working = asyncio.create_task(users.work())
        blows: dict[str, Blow] = {**blows, "kill": crew.kill, "freeze": crew.freeze}
        deadline = asyncio.get_running_loop().time() + seconds
        while asyncio.get_running_loop().time() < deadline:
            await asyncio.sleep(chance.uniform(0.3, 1.5))
            if working.done():
                working.result()
            crew.check_alive()
            name = chance.choice(list(blows))
            happened[name] += 1
            await blows[name](chance)
        working.cancel()
        with suppress(asyncio.CancelledError):
            await working
        await users.settle()
        crew.check_alive()
        crew.end()
        await check_everything(direct)
        attempts = Counter((what, key) for what, key, _, _ in effects_in(effects))
        repeated = sum(number > 1 for number in attempts.values())
        return {"runs": len(users.runs), "effects": len(attempts), "repeated effects": repeated, **happened}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0] if __doc__ else None)
    parser.add_argument("places", nargs="*", default=list(PLACES), help="sqlite, postgres")
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    for place in options.places:
        happened = asyncio.run(storm(place, options.seconds, options.seed))
        print(f"{place}: " + ", ".join(f"{count} {name}" for name, count in happened.items()), flush=True)


if __name__ == "__main__":
    main()
