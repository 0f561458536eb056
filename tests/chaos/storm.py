"""Chaos with real processes: `python -m tests.chaos.storm sqlite|postgres --seconds 600 --seed 1`.

Writers and readers are killed, stopped and started again at random; the Postgres server crashes under load and the
network to it is cut and stalled; the disk under SQLite fills up, where a small one can be mounted. In the end everybody
is stopped and the log is held to every promise. The seed draws what happens; the operating system decides when.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from random import Random
from urllib.parse import urlsplit, urlunsplit

from headwater.events.envelope import Stream
from headwater.events.ids import derived_id
from headwater.log.log import Log
from headwater.log.open import backend_for
from headwater.testing.invariants import Acknowledged, check
from headwater.testing.proxy import Proxy
from tests.servers.fixtures import migrate
from tests.servers.postgres import Database, PostgresServer, Template

WRITERS, READERS = 3, 1
Blow = Callable[[Random], Awaitable[None]]


class Crew:
    """The processes of the storm."""

    def __init__(self, url: str, folder: Path) -> None:
        self._url, self._folder = url, folder
        self.names = [f"write-{n}" for n in range(WRITERS)] + [f"read-{n}" for n in range(READERS)]
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str) -> None:
        what = name.partition("-")[0]
        command = [sys.executable, "-m", "tests.chaos.worker", what, self._url, name, str(self.file(name))]
        self._running[name] = subprocess.Popen(command)

    def file(self, name: str) -> Path:
        return self._folder / f"{name}.promises"

    async def kill(self, chance: Random) -> None:
        name = chance.choice(self.names)
        self._end(name)
        self.start(name)

    async def stall(self, chance: Random) -> None:
        process = self._running[chance.choice(self.names)]
        process.send_signal(signal.SIGSTOP)
        await asyncio.sleep(chance.uniform(0.05, 2.0))
        process.send_signal(signal.SIGCONT)

    def check_alive(self) -> None:
        """Nobody ends by himself: not on trouble, and a reader only to tell of something wrong."""
        for name, process in self._running.items():
            if process.poll() is not None:
                wrong = (
                    self.file(name).read_text()
                    if name.startswith("read") and self.file(name).exists()
                    else ""
                )
                raise AssertionError(f"{name} has ended with {process.returncode}: {wrong}")

    def _end(self, name: str) -> None:
        process = self._running.pop(name, None)
        if process is not None:
            process.kill()
            process.wait()

    def end(self) -> None:
        for name in self.names:
            self._end(name)

    def promises(self) -> list[Acknowledged]:
        found: list[Acknowledged] = []
        for name in self.names[:WRITERS]:
            for line in self.file(name).read_text().splitlines() if self.file(name).exists() else ():
                lane, *numbers = line.split()
                number, position, asked, answered, known = map(int, numbers)
                stream = Stream("storm", lane)
                id = derived_id(stream, str(number))
                found.append(Acknowledged(stream.tenant, id, position, number, asked, answered, bool(known)))
        return found


@asynccontextmanager
async def sqlite(folder: Path) -> AsyncIterator[tuple[str, str, dict[str, Blow]]]:
    """A file, on a small disk of its own where one can be mounted."""
    disk = folder / "disk"
    disk.mkdir()
    mounted = not subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256m", "tmpfs", disk], check=False, capture_output=True
    ).returncode

    async def fill(chance: Random) -> None:
        filler = disk / "filler"
        with suppress(OSError), filler.open("wb", buffering=0) as file:
            while True:
                file.write(bytes(1 << 20))
        await asyncio.sleep(chance.uniform(0.1, 1.0))
        filler.unlink()

    url = f"sqlite:///{disk / 'log.db'}"
    try:
        yield url, url, {"fill the disk": fill} if mounted else {}
    finally:
        if mounted:
            subprocess.run(["umount", "-l", disk], check=False)


@asynccontextmanager
async def postgres(folder: Path) -> AsyncIterator[tuple[str, str, dict[str, Blow]]]:
    """A server of the storm's own, behind a network that fails."""
    server = await asyncio.to_thread(PostgresServer.launch)
    try:
        template = await asyncio.to_thread(Template.create, server, migrate)
        database = await asyncio.to_thread(Database.create, server, template)
        async with Proxy(server.host, server.port) as proxy:
            parts = urlsplit(database.worker_url)
            login = parts.netloc.rpartition("@")[0]
            through = urlunsplit(parts._replace(netloc=f"{login}@{proxy.host}:{proxy.port}"))

            async def crash(chance: Random) -> None:
                await asyncio.to_thread(server.restart, "immediate")

            async def cut(chance: Random) -> None:
                proxy.cut(after=chance.randrange(20_000), direction=chance.choice(["sent", "received"]))

            async def stall(chance: Random) -> None:
                direction = chance.choice(["sent", "received"])
                proxy.stall(direction)
                await asyncio.sleep(chance.uniform(0.05, 1.0))
                proxy.resume(direction)

            async def refuse(chance: Random) -> None:
                proxy.refuse = True
                proxy.drop()
                await asyncio.sleep(chance.uniform(0.05, 1.0))
                proxy.refuse = False

            blows: dict[str, Blow] = {"crash the server": crash, "cut": cut, "stall": stall, "refuse": refuse}
            yield through, database.worker_url, blows
    finally:
        await asyncio.to_thread(server.close)


PLACES = {"sqlite": sqlite, "postgres": postgres}


async def storm(place: str, seconds: float, seed: int) -> dict[str, int]:
    """Let it blow, then check; what happened, counted."""
    chance, happened = Random(seed), Counter[str]()
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="headwater-storm-")))
        url, direct, blows = await stack.enter_async_context(PLACES[place](folder))
        crew = Crew(url, folder)
        stack.callback(crew.end)
        async with Log(backend_for(direct)):
            pass  # the log is there before anybody comes
        for name in crew.names:
            crew.start(name)
        blows = {**blows, "kill": crew.kill, "stop for a while": crew.stall}
        deadline = asyncio.get_running_loop().time() + seconds
        bag: list[str] = []
        while (
            bag or asyncio.get_running_loop().time() < deadline
        ):  # every blow falls, however slow the machine
            await asyncio.sleep(chance.uniform(0.1, 0.8))
            crew.check_alive()
            bag = bag or chance.sample(list(blows), len(blows))
            name = bag.pop()
            happened[name] += 1
            await blows[name](chance)
        crew.check_alive()
        crew.end()
        promises = crew.promises()
        async with Log(backend_for(direct)) as log:
            await check(log, promises)
            events = (await log.head()).position
        return {"events": events, "promises": len(promises), **happened}


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
