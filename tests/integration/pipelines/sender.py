"""A process that commands accounts: `sender.py URL FIRST LAST [send]`. It says after each how many were new."""

from __future__ import annotations

import asyncio
import sys

from headwater.log.open import open_log
from tests.integration.pipelines.accounts import Pay, accounts


async def main(url: str, first: int, last: int, *, send: bool) -> None:
    async with open_log(url) as log:
        service = accounts().on(log)
        new = 0
        for n in range(first, last):
            command, key, account = Pay(cents=n), f"k{n}", f"a{n % 3}"
            if send:
                new += await service.send(account, command, key=key)
            else:
                new += (await service.handle(account, command, key=key)).new
            print(new, flush=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), send=sys.argv[4:] == ["send"]))
