"""What may be a name: the door at which wrong ones are refused.

Types, keys' kinds and queues are identifiers of code; ids, tenants and tokens are text of people and other
systems: anything printable, of bounded length. None of them is encrypted, so none may hold personal data.
"""

from __future__ import annotations

import re
from functools import lru_cache

from headwater.errors import InvalidName

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.:/-]{0,127}")
_MAX_ID = 512
_MAX_BYTES = 1024


@lru_cache(maxsize=4096)
def check_name(what: str, name: str) -> str:
    """An identifier: a letter, then letters, digits and `_.:/-`, 128 characters at most."""
    if not _NAME.fullmatch(name):
        raise InvalidName(
            what, name, "it must start with a letter and hold letters, digits and _ . : / - only"
        )
    return name


@lru_cache(maxsize=8192)
def check_id(what: str, value: str) -> str:
    """An id: 1 to 512 printable characters, of 1024 bytes at most (indexes cannot hold more)."""
    if not 0 < len(value) <= _MAX_ID or not value.isprintable() or len(value.encode()) > _MAX_BYTES:
        raise InvalidName(
            what, value, f"it must be 1 to {_MAX_ID} printable characters, {_MAX_BYTES} bytes at most"
        )
    return value
