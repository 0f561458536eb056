"""Where a worker's process is, so that others on the same host can see that it is gone.

A place names the boot, the namespace of process ids, the process and the time at which it started. Who shares the first
two can look the process up; a number that was given to another process since has another start.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

_BOOT: Final = Path("/proc/sys/kernel/random/boot_id")


def here() -> str:
    """The place of this process; empty where it cannot be told."""
    started = _started(os.getpid())
    return f"{_host()}:{os.getpid()}:{started}" if started and _host() else ""


def is_gone(place: str) -> bool:
    """Whether the process at a place is certainly dead: false when that cannot be seen from here."""
    host, _, rest = place.rpartition(":")[0].rpartition(":")
    if not host or host != _host():
        return False
    return _started(int(rest)) != place.rpartition(":")[2]


def _host() -> str:
    try:
        return f"{_BOOT.read_text().strip()}/{os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return ""


def _started(pid: int) -> str:
    """When a process started, in ticks since the boot; empty when there is none (a zombie has ended too)."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] in {"Z", "X"} else fields[19]
