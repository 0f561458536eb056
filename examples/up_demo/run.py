"""`make run`: a server and a worker on one SQLite file, with orders to look at.

    python examples/up_demo/run.py [--seconds N]

Prints the address of the page, starts a few orders, and one more every few seconds, until it is stopped (Ctrl-C,
SIGTERM) or N seconds are over. The file stays in `.headwater/`: start it again, and what waited goes on.
"""

import argparse
import asyncio
import os
import signal
import socket
import sys
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

from orders import LARGE, Order, app, fulfil

from headwater import Client

HERE = Path(__file__).parent
HEADWATER = Path(sys.executable).with_name("headwater")
FILE = Path(".headwater") / "orders.db"
PORT = 8233


async def main(seconds: float | None) -> int:
    FILE.parent.mkdir(exist_ok=True)
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    port = free_port()
    url = f"sqlite:///{FILE.resolve()}"
    process = await asyncio.create_subprocess_exec(
        HEADWATER, "--url", url, "up", "orders:app", "--port", str(port),
        cwd=HERE,
        start_new_session=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )  # fmt: skip
    ended = asyncio.create_task(process.wait())
    orders = asyncio.create_task(start_orders(f"http://127.0.0.1:{port}"))
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait({ended, stopping}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    orders.cancel()
    await asyncio.wait([orders])
    if process.returncode is None:
        process.send_signal(signal.SIGTERM)
    return await ended


async def start_orders(address: str) -> None:
    async with app.connect(address) as hw:
        for number in range(3):
            await start(hw, cents=1999 + number)
        await start(hw, cents=LARGE)
        print("  four orders are under way, and more come; one is large and waits for you:")
        print(f"    curl {address}/api/v1/hooks", flush=True)
        while True:
            await asyncio.sleep(5)
            await start(hw, cents=2599)


async def start(hw: Client, cents: int) -> None:
    order = Order(id=uuid4().hex[:6], cents=cents)
    await hw.start(fulfil, order, id=f"order-{order.id}")


def free_port() -> int:
    """The usual port, or another where that is taken."""
    for port in (PORT, 0):
        with suppress(OSError), socket.socket() as place:
            place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            place.bind(("127.0.0.1", port))
            number: int = place.getsockname()[1]
            return number
    raise SystemExit("There is no free port.")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float)
    sys.exit(asyncio.run(main(parser.parse_args().seconds)))
