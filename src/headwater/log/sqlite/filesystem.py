"""Where a log's file may not be: on a network filesystem, or open in this process through another library.

A network filesystem does not share memory between hosts, and many do not keep locks: two writers would both be let
in. And POSIX locks belong to a process, not to a descriptor: whoever closes any descriptor of the file, in this
process, drops the locks of all. Python's own `sqlite3` cannot know of ours, so a file that it (or a plain `open`)
holds here is refused. The look is at our descriptors, when the log is opened: it is the best that can be seen, not a
proof.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Final

import apsw

from headwater.errors import NotSupported

_PLAIN: Final = (
    "nfs nfs3 nfs4 cifs smb smb2 smb3 smbfs ncpfs afs 9p ceph glusterfs lustre gpfs ocfs2 beegfs davfs"
)
_FUSE: Final = "sshfs s3fs glusterfs ceph rclone gcsfuse davfs2 goofys"
NETWORK: Final = frozenset([*_PLAIN.split(), *(f"fuse.{name}" for name in _FUSE.split())])


def refuse_network(path: Path, mounts: str | None = None) -> None:
    """Refuse a path whose filesystem is not this host's own. `mounts` is text as in /proc/mounts."""
    if mounts is None:
        try:
            mounts = Path("/proc/mounts").read_text(encoding="utf-8", errors="replace")
        except OSError:
            return
    kind, mount = _mount_of(path.resolve(), mounts)
    if kind in NETWORK:
        raise NotSupported(
            f"{path} is on {mount}, a network filesystem ({kind}), where SQLite's locks do not hold. "
            "Put the file on a local disk, or use Postgres for a log that several hosts share."
        )


def _mount_of(path: Path, mounts: str) -> tuple[str, str]:
    best, kind = "", ""
    for line in mounts.splitlines():
        fields = line.split(" ")
        if len(fields) < 3:
            continue
        mount = fields[1].replace("\\040", " ").replace("\\011", "\t").replace("\\134", "\\")
        if len(mount) >= len(best) and path.is_relative_to(mount):
            best, kind = mount, fields[2]
    return kind, best


def refuse_shared(path: Path) -> None:
    """Refuse a file that this process has open by other means than ours, or had open when it was forked."""
    try:
        wanted = path.stat()
    except OSError:
        return
    same = [c for c in apsw.connections() if _is_same(_file_of(c), wanted)]
    if any(isinstance(connection, OwnConnection) and connection.pid != os.getpid() for connection in same):
        raise NotSupported(
            f"{path} was open in the process that forked this one. Spawn workers instead of forking them."
        )
    if not same and _has_descriptor(wanted):
        raise NotSupported(
            f"{path} is open in this process already, through another library (Python's sqlite3?) or as a plain file. "
            "Closing it there would drop the log's locks. Close it first, or use another process."
        )


class OwnConnection(apsw.Connection):
    """A connection that knows which process opened it, and what: it may be asked while another thread uses it."""

    pid: int
    file: str


def _file_of(connection: apsw.Connection) -> str:
    if isinstance(connection, OwnConnection):
        return connection.file
    with suppress(apsw.ThreadingViolationError):
        return connection.filename
    return ""  # somebody else's, and busy: its file is found by its descriptor


def _is_same(name: str, wanted: os.stat_result) -> bool:
    with suppress(OSError):
        return bool(name) and os.path.samestat(os.stat(name), wanted)
    return False


def _has_descriptor(wanted: os.stat_result) -> bool:
    with suppress(OSError):
        for name in os.listdir("/proc/self/fd"):
            with suppress(OSError, ValueError):
                if os.path.samestat(os.fstat(int(name)), wanted):
                    return True
    return False
