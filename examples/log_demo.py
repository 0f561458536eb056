"""The log, shown at work: two tills append at once, one is killed, nothing is lost and nothing is written twice.

    python examples/log_demo.py

It runs on a SQLite file in a temporary folder, which it removes. Every number that it prints was counted.
"""

import asyncio
import os
import sys
import tempfile
import time
from pathlib import Path

from shop import OrderPaid, OrderPlaced, OrderShipped, order_fold, registry

from headwater import NO_STREAM, Folder, HeadwaterError, Log, NewEvent, Stream, Write, derived_id, open_log
from headwater.log.verify import verify

ORDERS = 1500
KILL_AFTER = 500
TAMPERED, WITH = b'"cents":4200,', b'"cents":9200,'


# What the other processes do


async def till(name: str, url: str) -> None:
    """Place and pay orders, one after the other; print each when the log has acknowledged it."""
    async with open_log(url, registry=registry) as log:
        for number in range(ORDERS):
            stream = Stream("order", f"{name}-{number}")
            events = [
                NewEvent(
                    event=OrderPlaced(order_id=stream.id, cents=4200 + number, currency="EUR"),
                    id=derived_id(stream, "checkout", 0),
                ),
                NewEvent(event=OrderPaid(cents=4200 + number), id=derived_id(stream, "checkout", 1)),
            ]
            [appended] = await log.append(Write(stream, events, expect=NO_STREAM))
            was_there = "known" if all(appended.known) else "new"
            print(stream.id, *appended.positions, was_there, flush=True)


async def follow(url: str) -> None:
    """Print each position as it is delivered."""
    async with open_log(url, registry=registry) as log:
        async for recorded in log.subscribe():
            print(recorded.position, flush=True)


# What this process does


class Child:
    """Another operating-system process of this demo."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.lines: list[list[str]] = []

    @classmethod
    async def start(cls, *arguments: str) -> "Child":
        return cls(
            await asyncio.create_subprocess_exec(
                sys.executable, __file__, *arguments, stdout=asyncio.subprocess.PIPE
            )
        )

    async def read(self, *, until: int | None = None) -> None:
        """Collect what it prints: to its end, or until there are so many lines."""
        assert self.process.stdout is not None
        while until is None or len(self.lines) < until:
            line = await self.process.stdout.readline()
            if not line.endswith(b"\n"):  # the end, or the half of a line that a killed process leaves
                break
            self.lines.append(line.decode().split())

    async def end(self) -> None:
        """Kill it (SIGKILL), if it is still there."""
        if self.process.returncode is None:
            self.process.kill()
        await self.process.wait()


class Checks:
    """What was promised, and whether it held."""

    def __init__(self) -> None:
        self.failed = 0

    def say(self, good: object, what: str) -> None:
        self.failed += 0 if good else 1
        print(f"  {'yes' if good else 'NO '}  {what}")


async def sell(url: str) -> tuple[Child, Child, Child, Child]:
    print(f"\n1. Two tills append at once, {ORDERS} orders each, and a third process follows.")
    children = [await Child.start(*what, url) for what in (["follow"], ["till", "one"], ["till", "two"])]
    follower, one, two = children
    following = asyncio.create_task(follower.read(until=2 * 2 * ORDERS))
    selling = asyncio.create_task(one.read())
    try:
        started = time.perf_counter()
        await two.read(until=KILL_AFTER)
        await two.end()
        await two.read()  # what was in the pipe when it died
        print(f"   Till two is killed (SIGKILL) in its work, after {len(two.lines)} acknowledgements.")
        again = await Child.start("till", "two", url)
        children.append(again)
        print("   Its replacement starts from the first order, with the same event ids.")
        await asyncio.gather(again.read(), selling)
        seconds = time.perf_counter() - started
        await asyncio.wait([following], timeout=20)
        async with open_log(url) as log:
            end = (await log.head()).position
        print(f"   {end} events were appended in {seconds:.1f} s, each order in a durable commit of its own.")
        return one, two, again, follower
    finally:
        for child in children:
            await child.end()
        await asyncio.gather(following, selling)


async def check(log: Log, one: Child, two: Child, again: Child, follower: Child, checks: Checks) -> None:
    print("\n2. What must be true now:")
    events = [recorded async for recorded in log.read()]
    by_position = {recorded.position: recorded for recorded in events}
    acknowledged = {
        (line[0], int(position))
        for child in (one, two, again)
        for line in child.lines
        for position in line[1:3]
    }
    lost = [a for a in acknowledged if a[1] not in by_position or by_position[a[1]].stream.id != a[0]]
    checks.say(
        not lost,
        f"nothing acknowledged is lost: {len(acknowledged)} acknowledged events, {len(lost)} missing",
    )
    known = sum(line[3] == "known" for line in again.lines)
    checks.say(
        len(events) == 4 * ORDERS and len({e.id for e in events}) == len(events),
        f"nothing is written twice: {len(events)} events for {2 * ORDERS} orders; "
        f"the log knew {known} orders of the replacement's {len(again.lines)}",
    )
    if known > len(two.lines):
        print(
            f"       ({known - len(two.lines)} of them was written, but its till died before it heard of it)"
        )
    numbers = [recorded.position for recorded in events]
    checks.say(numbers == list(range(1, len(events) + 1)), f"positions are 1 to {len(events)} without a gap")
    followed = [int(line[0]) for line in follower.lines]
    checks.say(followed == numbers, f"the follower was given all {len(followed)}, in that order, each once")


async def states(log: Log, checks: Checks) -> None:
    print("\n3. A state is a fold of events, now or at any version:")
    stream = Stream("order", "one-0")
    await log.append(Write(stream, [OrderShipped(carrier="DHL")], expect=2))
    folder = Folder(log)
    for version in (1, 2, 3):
        state, at = await folder.state(stream, order_fold, to_version=version)
        print(f"   {stream.id} at version {at}: {state}")
    now = await folder.state(stream, order_fold)
    checks.say(now.state.status == "shipped", f"now it is {now.state.status}")
    try:
        await log.append(Write(stream, [OrderShipped(carrier="DHL")], expect=2))
        checks.say(False, "a second shipment was not refused")
    except HeadwaterError as error:
        checks.say(True, f"shipping it again is refused: {error}")


def change(file: Path) -> None:
    """Wherever it stands: the file also has bytes that are no event's any more."""
    file.write_bytes(file.read_bytes().replace(TAMPERED, WITH))


async def tamper(url: str, file: Path, checks: Checks) -> None:
    print("\n4. Each event extends a chain of SHA-256 digests:")
    async with open_log(url) as log:
        anchor = await verify(log)
    checks.say(
        True,
        f"the chain of {anchor.place.position} events verifies, and ends in {anchor.place.chain.hex()[:16]}…",
    )
    change(file)
    print(f"   Now a price in the file is changed, behind the log's back: {TAMPERED!r} becomes {WITH!r}.")
    try:
        async with open_log(url) as log:
            await verify(log)
        checks.say(False, "verify did not find it")
    except HeadwaterError as error:
        checks.say(True, f"verify finds it: {error}")


async def main() -> int:
    checks = Checks()
    with tempfile.TemporaryDirectory(prefix="headwater-demo-") as folder:
        file = Path(folder) / "shop.db"
        url = f"sqlite:///{file}"
        print(f"The log is one SQLite file: {file}")
        async with open_log(url):
            pass  # makes the file
        children = await sell(url)
        async with open_log(url, registry=registry) as log:
            await check(log, *children, checks)
            await states(log, checks)
        await tamper(url, file, checks)
    print(
        "\nEverything held; the file is removed."
        if not checks.failed
        else f"\n{checks.failed} checks FAILED."
    )
    return 1 if checks.failed else 0


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["till", name, url]:
            asyncio.run(till(name, url))
        case ["follow", url]:
            asyncio.run(follow(url))
        case _:
            os.environ.pop("HEADWATER_URL", None)
            sys.exit(asyncio.run(main()))
