"""How much a run of the tests takes on: all of it with HEADWATER_TEST_FULL, as `make full` sets it; else a part."""

import os
from zlib import crc32

FULL = bool(os.environ.get("HEADWATER_TEST_FULL"))


def scaled(full: int, part: int) -> int:
    """So many."""
    return full if FULL else part


def sampled(name: str, one_in: int) -> bool:
    """Whether a thing of that name is in the part: always the same ones."""
    return FULL or crc32(name.encode()) % one_in == 0
