"""What is looked at in every log: that it opens, its last events, and its clock."""

from __future__ import annotations

import time

from headwater.cli.checks.finding import Finding, judged
from headwater.errors import ChainBroken, HeadwaterError, NotSupported
from headwater.events.clock import from_us, to_us
from headwater.log.log import Log
from headwater.log.open import open_log
from headwater.log.port import DEFAULT_SHARD, Query
from headwater.log.verify import verify_last

_LAST = 1000
_SKEW_US = 1_000_000


async def check_log(url: str) -> list[Finding]:
    try:
        async with open_log(url) as log:
            end = (await log.head()).position
            found = [Finding("log", "ok", f"{end:,} events, incarnation {log.info.incarnation}")]
            return [*found, await _clock(log), *await _events(log, end)]
    except HeadwaterError as error:
        return [Finding("log", "problem", str(error), "Do what the message says, then run doctor again.")]


async def _events(log: Log, end: int) -> list[Finding]:
    try:
        return [await _chain(log), await _newest(log, end)]
    except NotSupported:
        return [Finding("chain", "ok", "not looked at: this role does not see all tenants")]


async def _chain(log: Log) -> Finding:
    try:
        count = await verify_last(log, _LAST)
    except ChainBroken as error:
        fix = "Run `headwater log verify` to see how much is damaged, and restore the log from a copy."
        return Finding("chain", "problem", str(error), fix)
    return Finding("chain", "ok", f"the last {count:,} events are what was written")


async def _clock(log: Log) -> Finding:
    """The database's clock beside this machine's, as it was half-way through the round trip."""
    before = time.time_ns() // 1000
    theirs = await log.backend.now_us()
    ours = (before + time.time_ns() // 1000) // 2
    apart = abs(ours - theirs)
    return judged(
        "clock",
        f"this machine's clock and the database's are {apart / 1_000_000:.3f} s apart",
        "Let both machines set their clocks by NTP.",
        good=apart < _SKEW_US,
        level="warning",
    )


async def _newest(log: Log, end: int) -> Finding:
    if not end:
        return Finding("recorded time", "ok", "there are no events yet")
    page = await log.backend.read(Query(shard=DEFAULT_SHARD, after=end - 1, limit=1, payload=False))
    recorded = from_us(page.rows[0][10])
    ahead = to_us(recorded) - await log.backend.now_us()
    return judged(
        "recorded time",
        f"the last event was recorded at {recorded:%Y-%m-%d %H:%M:%S} UTC",
        "The clock was set back. Until it has caught up, new events carry the last one's time; set it right.",
        good=ahead < _SKEW_US,
        level="warning",
    )
