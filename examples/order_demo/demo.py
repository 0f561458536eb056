"""A workflow whose worker is killed in the middle, and which goes on as if nothing had been.

    python examples/order_demo/demo.py

It runs on a SQLite file in a temporary folder, which it removes. Everything that it shows is read from the log.
"""

import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from app import Approval, Order, Receipt, app, fulfil
from rich.console import Console

from headwater import Client, RunHandle
from headwater.runs.state import RunState

HERE = Path(__file__).parent
HEADWATER = Path(sys.executable).with_name("headwater")
ORDER = Order(id="7", cents=4200)
RUN = f"order-{ORDER.id}"

console = Console(highlight=False, soft_wrap=True)


class Worker:
    """`headwater worker app:app`, as another process."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [HEADWATER, "worker", "app:app", "--json"],
            cwd=HERE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert self.process.stdout is not None
        serving = json.loads(self.process.stdout.readline())
        self.name, self.pid = serving["worker"], serving["pid"]

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self) -> int:
        self.process.terminate()
        return self.process.wait(10)

    def end(self) -> None:
        """Whatever happens, no process is left."""
        self.process.kill()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()


def headwater(*arguments: str) -> None:
    """Call the command, as a person would."""
    console.print(f"[dim]$ headwater {' '.join(arguments)}[/]")
    subprocess.run([HEADWATER, *arguments], check=True)


async def until(hw: Client, holds: Callable[[RunState], bool]) -> RunState:
    while True:
        state = await hw.get(RUN)
        if holds(state):
            return state
        await asyncio.sleep(0.02)


def running(name: str) -> Callable[[RunState], bool]:
    return lambda state: any(s.name == name and s.status == "running" for s in state.steps.values())


async def story(hw: Client, start_worker: Callable[[], Coroutine[Any, Any, Worker]]) -> Receipt:
    console.print("\n[bold]1.[/] A worker starts, and an order comes in.")
    first = await start_worker()
    console.print(
        f"   Worker [cyan]{first.name}[/] serves the workflow [cyan]fulfil[/], as process {first.pid}."
    )
    run: RunHandle[Receipt] = await hw.start(fulfil, ORDER, id=RUN)
    await until(hw, lambda state: bool(state.open_tokens))
    console.print(
        "   The bank's line was busy; the second attempt went through. Now the run waits for a person."
    )
    await asyncio.sleep(0.7)  # a person takes a while
    await hw.send(f"approve:{ORDER.id}", Approval(by="Ann"), actor="ann")
    console.print(
        "   Ann approves. Two steps begin at once: the label is rendered, the customer is written to."
    )

    console.print(
        "\n[bold]2.[/] The worker is killed in the middle ([red]SIGKILL[/]): no goodbye, no clean-up."
    )
    state = await until(hw, running("render"))
    first.kill()
    console.print(
        f"   The log has {state.version} events, and knows what was under way. Another worker starts."
    )
    started = time.perf_counter()
    second = await start_worker()
    receipt = await run.result(timeout=20)
    seconds = time.perf_counter() - started
    console.print(
        f"   Worker [cyan]{second.name}[/] took the run over; it was done {seconds:.1f} s later: {receipt!r}"
    )
    code = second.stop()
    console.print(f"   Told to stop (SIGTERM), it ended with exit code {code}.")
    return receipt


def check(state: RunState, world: list[dict[str, Any]]) -> bool:
    """Count what the outside was asked to do, and what the log holds."""
    asked = Counter(request["key"] for request in world)
    what = {request["key"]: request["what"] for request in world}
    results = Counter(
        f"{state.tenant}/{state.run}/{s.call}" for s in state.steps.values() if s.status == "completed"
    )
    for key, times in asked.items():
        again = f"asked {times} times, with the same key" if times > 1 else "asked once"
        console.print(
            f"   [cyan]{key:<22}[/] {what[key]:<26} {again}; recorded {'once' if results[key] == 1 else 'NO'}"
        )
    checks = {
        "every step has one result": set(results) == set(asked) and set(results.values()) == {1},
        "what was under way at the kill was asked for again, under its own key": max(asked.values()) > 1,
        "another process went on": len({request["pid"] for request in world}) > 1,
        "the run is completed": state.status == "completed",
    }
    for promise, held in checks.items():
        console.print(f"   {'[green]yes[/]' if held else '[red]NO [/]'}  {promise}")
    return all(checks.values())


async def main(folder: Path) -> int:
    world = folder / "world.jsonl"
    world.touch()
    os.environ |= {"HEADWATER_URL": f"sqlite:///{folder / 'orders.db'}", "ORDER_DEMO_WORLD": str(world)}
    console.print(f"The log is one SQLite file: {folder / 'orders.db'}")
    workers: list[Worker] = []

    async def start_worker() -> Worker:
        workers.append(await asyncio.to_thread(Worker))
        return workers[-1]

    try:
        async with app.connect(worker=False) as hw:
            receipt = await story(hw, start_worker)
            console.print("\n[bold]3.[/] What happened, as the log tells it:\n")
            await asyncio.to_thread(headwater, "run", "show", RUN)
            console.print("\n[bold]4.[/] What the outside world was asked to do:\n")
            requests = [json.loads(line) for line in world.read_text().splitlines()]
            held = check(await hw.get(RUN), requests) and receipt == Receipt(
                order=ORDER.id, cents=ORDER.cents
            )
    finally:
        for worker in workers:
            worker.end()
    console.print("\nEverything held; the file is removed." if held else "\n[red]A promise was BROKEN.[/]")
    return 0 if held else 1


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="headwater-demo-") as place:
        code = asyncio.run(main(Path(place)))
    sys.exit(code)
