"""PgBouncer in transaction mode in front of a Postgres of the tests.

From the PATH, or from Debian's package (see `debian`).
"""

import os
import shutil
import socket
import time
from functools import cache
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit, urlunsplit

from tests.servers.debian import find_program
from tests.servers.ports import free_port
from tests.servers.postgres import OWNER, SERVER, WORKER, PostgresServer
from tests.servers.process import ServerFailed, ServerProcess, server_account


class PgBouncer:
    """Listens on `port`; logs in to Postgres as the role that the client logged in as."""

    def __init__(self, server: PostgresServer, *, pool_size: int = 20) -> None:
        program, libraries = pgbouncer_program()
        account = server_account()
        self.server = server
        self.port = free_port()
        self._folder = folder = account.new_folder("headwater-pgbouncer-")
        admin = urlsplit(server.admin_url)
        users = {role: server.password(role) for role in (OWNER, WORKER, SERVER)}
        users[admin.username or "postgres"] = admin.password or ""
        (folder / "users").write_text("".join(f'"{name}" "{password}"\n' for name, password in users.items()))
        (folder / "pgbouncer.ini").write_text(
            f"""
[databases]
* = host={server.host} port={server.port}

[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {self.port}
unix_socket_dir =
auth_type = plain
auth_file = {folder / "users"}
admin_users = {admin.username or "postgres"}
pool_mode = transaction
default_pool_size = {pool_size}
max_client_conn = 500
ignore_startup_parameters = extra_float_digits
"""
        )
        if not account.is_us:
            for name in ("users", "pgbouncer.ini"):
                os.chown(folder / name, account.uid, account.gid)
        (folder / "users").chmod(0o600)
        command = [*libraries, program, folder / "pgbouncer.ini"]
        self._process = ServerProcess(account, folder, command, folder / "log")
        self._wait()

    def _wait(self) -> None:
        deadline = time.monotonic() + 20
        while self._process.running and time.monotonic() < deadline:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
            except OSError:
                time.sleep(0.02)
            else:
                return
        said = self._process.said()
        self.stop()
        raise ServerFailed(f"PgBouncer did not start:\n{said}")

    def url(self, direct: str) -> str:
        """The address through PgBouncer for an address of the server behind it."""
        parts = urlsplit(direct)
        login = parts.netloc.rpartition("@")[0]
        return urlunsplit(parts._replace(netloc=f"{login}@127.0.0.1:{self.port}"))

    def stop(self) -> None:
        self._process.kill()
        shutil.rmtree(self._folder, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


@cache
def pgbouncer_program() -> tuple[Path, tuple[str | Path, ...]]:
    """The program, and what its command begins with."""
    return find_program("usr/sbin/pgbouncer", "pgbouncer")
