"""PgBouncer in transaction mode in front of a Postgres of the tests.

From the PATH, or on Debian and its relatives from the distribution's package, unpacked (not installed) into
`.cache/pgbouncer` together with the shared libraries that the machine lacks.
"""

import os
import shutil
import socket
import subprocess
import time
from functools import cache
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit, urlunsplit

from tests.servers.ports import free_port
from tests.servers.postgres import OWNER, SERVER, WORKER, PostgresServer
from tests.servers.process import ServerFailed, ServerProcess, runnable, server_account

CACHE = Path(__file__).resolve().parents[2] / ".cache" / "pgbouncer"


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
        path = f"LD_LIBRARY_PATH={':'.join(map(str, libraries))}"
        command: list[str | Path] = ["env", path, program, folder / "pgbouncer.ini"]
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
def pgbouncer_program() -> tuple[Path, tuple[Path, ...]]:
    """The program, and the folders with shared libraries it needs beyond the machine's own."""
    if installed := shutil.which("pgbouncer", path=os.environ.get("PATH", "") + ":/usr/sbin"):
        return Path(installed), ()
    if not (CACHE / "complete").exists():
        _unpack_packages()
    tree = runnable(CACHE, "usr/sbin/pgbouncer", ["usr"])
    libraries = sorted({library.parent for library in tree.glob("usr/lib/**/*.so*")})
    return tree / "usr/sbin/pgbouncer", tuple(libraries)


def _unpack_packages() -> None:
    if not (shutil.which("apt-get") and shutil.which("dpkg")):
        raise ServerFailed("There is no PgBouncer on the PATH and this is not Debian: install pgbouncer")
    shutil.rmtree(CACHE, ignore_errors=True)
    downloads = CACHE / "packages"
    downloads.mkdir(parents=True)
    _unpack("pgbouncer", downloads)
    needed = subprocess.run(
        ["apt-cache", "depends", "pgbouncer"], capture_output=True, text=True, check=True
    ).stdout
    for line in needed.splitlines():
        kind, _, package = line.strip().partition(": ")
        if kind == "Depends" and package.startswith("lib") and not _installed(package):
            _unpack(package, downloads)
    (CACHE / "complete").touch()


def _installed(package: str) -> bool:
    status = subprocess.run(
        ["dpkg-query", "-W", "-f", "${Status}", package], capture_output=True, text=True, check=False
    )
    return status.stdout.endswith(" installed")


def _unpack(package: str, downloads: Path) -> None:
    got = subprocess.run(
        ["apt-get", "download", package], cwd=downloads, capture_output=True, text=True, check=False
    )
    files = list(downloads.glob(f"{package}_*.deb"))
    if got.returncode != 0 or not files:
        raise ServerFailed(
            f"Could not download the package {package} (install pgbouncer, or run apt-get update):\n{got.stderr}"
        )
    subprocess.run(["dpkg", "-x", files[0], CACHE], check=True)
