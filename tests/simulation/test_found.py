"""What the simulator found in the real code, each with the smallest case that shows it."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from headwater import RawEvent, Stream, Write
from headwater.errors import HeadwaterError, OutcomeUnknown, StorageFull, StorageRefused
from headwater.log.log import Log
from headwater.log.memory import MemoryBackend
from headwater.log.port import BatchRefused, BatchUnknown, Call, Outcome

STREAM = Stream("order", "o-1")


class ThenRefused(MemoryBackend):
    """Writes the first batch and loses the answer; refuses it when it comes again; then is well."""

    def __init__(self, error: HeadwaterError, *, everybody: bool) -> None:
        super().__init__()
        self._error, self._everybody, self._times = error, everybody, 0

    async def append(self, shard: int, calls: Sequence[Call]) -> Sequence[Outcome]:
        self._times += 1
        if self._times == 2:
            raise BatchRefused(self._error, everybody=self._everybody)
        outcomes = await super().append(shard, calls)
        if self._times == 1:
            raise BatchUnknown
        return outcomes


async def test_a_full_disk_after_a_lost_answer_is_no_proof_that_nothing_was_written() -> None:
    """The retry of a written batch met a full disk, and its callers were told that nothing was written."""
    async with Log(ThenRefused(StorageFull(), everybody=True)) as log:
        appended = await log.append(Write(STREAM, [RawEvent("placed", {})]))
        assert appended[0].positions == (1,)
        assert appended[0].known == (True,)


async def test_a_refused_retry_of_one_call_leaves_its_outcome_unknown() -> None:
    """The same, with a refusal that meets this call alone."""
    async with Log(ThenRefused(StorageRefused(), everybody=False)) as log:
        write = Write(STREAM, [RawEvent("placed", {})])
        with pytest.raises(OutcomeUnknown):
            await log.append(write)
        assert (await log.append(write))[0].known == (True,)
