"""A worker process: `python -m tests.integration.redis.worker URL`, until its input is closed."""

import asyncio
import sys

from headwater import Headwater

app = Headwater("redis-test")


@app.step
async def one_more(n: int) -> int:
    return n + 1


@app.workflow
async def add(n: int) -> int:
    return await one_more(n)


async def main(url: str) -> None:
    async with app.connect(url, worker=True):
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
