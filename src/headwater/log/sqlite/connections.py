"""Connections to the file, each on a lane of its own: one job at a time, on the event loop's thread or in another.

Promise. A connection is never used by two threads at once. Jobs of a lane run in the order in which they were handed
in. Another process that writes is waited for, and fairly: nobody sees "database is locked" before `patience` is over.

Why it is right. Handing a job to a thread and back costs as much as a commit on a fast disk. So a job runs on the
loop's thread while the lane's recent jobs were quick (a moving average), and while none of its jobs is in the thread:
the count of those changes on the loop's thread only. On the loop's thread nobody waits for a lock: a busy file ends
the job, before it has done anything, and it starts again in the thread, where waiting harms nobody. There, the busy
handler sleeps for short random times, since SQLite's own back off to 100 ms, and whoever commits often would starve
the others.

Measured, one caller and one event an append. A commit of 0.15 ms: always in a thread 1,900 appends/s, always on the
loop's thread 2,700, adaptive 2,700. A commit of 10 ms: 86 each, and the loop is held up for 10 ms a commit when it runs
there, for nothing when adaptive.

A connection does not survive a fork: the child would share the parent's locks and lose them for both. Every job
compares the process id, which costs a tenth of a microsecond; SQLite's own fork checks cost more and say less.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from random import Random
from typing import TypeVar

import apsw

from headwater.errors import NotSupported
from headwater.log.sqlite.database import Database
from headwater.log.sqlite.trouble import FAILURES, Explain, explain

T = TypeVar("T")
Job = Callable[[Database], T]

QUICK = 0.001
_WEIGHT = 1 / 8


class Lane:
    """One connection and the jobs on it. `in_thread` settles where they run; None lets the figures decide."""

    def __init__(
        self, path: Path, opener: Callable[[], Database], *, patience: float, in_thread: bool | None
    ) -> None:
        self.path = path
        self._opener, self._patience, self._in_thread = opener, patience, in_thread
        self._connection: Database | None = None
        self._executor: ThreadPoolExecutor | None = None
        self._handed_over = 0
        self._average = 0.0
        self._deadline = 0.0
        self._pid = os.getpid()
        self._random = Random(self._pid)

    async def run(self, job: Job[T], *, big: bool = False, explain: Explain = explain) -> T:
        """Do a job; `big` ones never on the loop's thread. It must be able to start again when the file was busy."""
        if self._pid != os.getpid():
            raise NotSupported(
                f"{self.path} was opened before this process was forked. Open the log in the child, or spawn workers."
            )
        if self._handed_over or self._in_thread or big or self._average > QUICK:
            return await self._hand_over(job, explain)
        started = asyncio.get_running_loop().time()
        try:
            return self._do(job, explain)
        except apsw.BusyError:
            return await self._hand_over(job, explain)
        finally:
            self._note(asyncio.get_running_loop().time() - started)

    async def _hand_over(self, job: Job[T], explain: Explain) -> T:
        return await self._in_turn(partial(self._do_patiently, job, explain))

    async def _in_turn(self, work: Callable[[], T]) -> T:
        """In the thread, behind what it was handed before."""
        loop = asyncio.get_running_loop()
        if self._executor is None:
            self._executor = ThreadPoolExecutor(1, thread_name_prefix="headwater-sqlite")
        self._handed_over += 1
        started = loop.time()
        done = loop.run_in_executor(self._executor, work)

        def returned(done: asyncio.Future[T]) -> None:
            self._handed_over -= 1
            self._note(loop.time() - started)
            if not done.cancelled():
                done.exception()  # nobody need be waiting

        done.add_done_callback(returned)
        return await asyncio.shield(done)

    def _note(self, seconds: float) -> None:
        self._average += (seconds - self._average) * _WEIGHT

    def _do_patiently(self, job: Job[T], explain: Explain) -> T:
        self._deadline = time.monotonic() + self._patience
        tries = 0
        try:
            while True:
                try:
                    return self._do(job, explain)
                except apsw.BusyError as error:  # SQLite asks nobody where two would wait for each other
                    if not self._busy(tries):
                        raise explain(error, self.path, 0) from error
                    tries += 1
        finally:
            self._deadline = 0.0

    def _do(self, job: Job[T], explain: Explain) -> T:
        try:
            return job(self._connect())
        except apsw.BusyError:
            raise
        except FAILURES as error:
            errno = self._connection.system_errno if self._connection else 0
            raise explain(error, self.path, errno) from error

    def _connect(self) -> Database:
        if self._connection is None:
            connection = self._opener()
            connection.set_busy_handler(self._busy)
            self._connection = connection
        return self._connection

    def _busy(self, tries: int) -> bool:
        """Whether to try again for a lock: only in the thread, after a short sleep that no two processes share."""
        if time.monotonic() >= self._deadline:
            return False
        time.sleep(self._random.uniform(0.00005, 0.0002 if tries < 50 else 0.002))
        return True

    async def close(self) -> None:
        """Close the connection behind the last job, which may be opening it while nobody waits for it any more.

        The last connection of all removes the write-ahead log.
        """
        if self._handed_over and self._pid == os.getpid():
            await self._in_turn(lambda: None)
        if self._connection is not None and self._pid == os.getpid():
            await self._hand_over(lambda connection: connection.close(), explain)
        self._connection = None
        if self._executor is not None:
            self._executor.shutdown()
            self._executor = None

    def abandon(self) -> None:
        """Let go of the connection as the death of the process would: what it has not committed is rolled back."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
