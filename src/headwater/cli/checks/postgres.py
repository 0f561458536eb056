"""What is looked at where the log is in Postgres."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any

import asyncpg

from headwater.cli.checks.finding import Finding, judged
from headwater.log.postgres.backend import take_direct_url
from headwater.log.postgres.connections import connect
from headwater.log.postgres.migrate import pending
from headwater.settings import redacted

_OLDEST = 140_000


async def check_server(url: str) -> list[Finding]:
    """Everything but the log's content."""
    url, direct = take_direct_url(url)
    try:
        connection = await connect(url, timeout=10)
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, ValueError) as error:
        why = str(error) or type(error).__name__
        return [Finding("address", "problem", f"{redacted(url)} cannot be reached: {why}", _reach(error))]
    try:
        sql = (files("headwater.cli.checks") / "postgres.sql").read_text()
        row = await connection.fetchrow(sql)
        facts: Mapping[str, Any] = dict(row) if row else {}
        behind_pool = connection.get_server_pid() != facts["backend_pid"]
    finally:
        await connection.close(timeout=5)
    missing = await pending(url) if facts["groups"] and facts["tables"] else []
    return [
        Finding("address", "ok", f"{redacted(url)} answers"),
        *_server(facts),
        _pool(behind_pool=behind_pool, direct=direct is not None),
        *_role(facts),
        *_durability(facts),
        *_schema(facts, missing),
    ]


def _reach(error: Exception) -> str:
    match error:
        case asyncpg.InvalidPasswordError() | asyncpg.InvalidAuthorizationSpecificationError():
            return "Check user and password, and pg_hba.conf on the server."
        case asyncpg.InvalidCatalogNameError():
            return "Create the database, then run `headwater migrate` as the role that shall own the tables."
        case _:
            return "Check host, port and network, and that the server is running."


def _pool(*, behind_pool: bool, direct: bool) -> Finding:
    return judged(
        "pool",
        "through a pool such as PgBouncer" if behind_pool else "a direct connection",
        "Subscriptions poll. To have them told at once, add ?direct_url=... with an address past the pool.",
        good=direct or not behind_pool,
        level="warning",
    )


def _server(facts: Mapping[str, Any]) -> list[Finding]:
    return [
        judged(
            "server",
            f"PostgreSQL {facts['version']}",
            "Upgrade to PostgreSQL 14 or newer.",
            good=facts["version_number"] >= _OLDEST,
        ),
        judged(
            "writable",
            "read-only" if facts["read_only"] else "accepts writes",
            "This is a replica, or transactions are read-only by default. Use the primary's address.",
            good=not facts["read_only"],
        ),
        judged(
            "isolation",
            f"default isolation is {facts['isolation']}",
            f"ALTER ROLE {facts['role']} SET default_transaction_isolation = 'read committed';",
            good=facts["isolation"] == "read committed",
            level="warning",
        ),
    ]


def _role(facts: Mapping[str, Any]) -> list[Finding]:
    role, groups = facts["role"], facts["groups"]
    above = [what for what in ("superuser", "bypasses_rls", "owner") if facts[what]]
    return [
        judged(
            "role",
            f"{role}: {', '.join(above).replace('_', ' ') or 'an ordinary role'}",
            "Row-level security does not hold this role, or it can switch it off. "
            "Let programs log in as a role that is only a member of headwater_worker or headwater_server.",
            good=not above,
            level="warning",
        ),
        judged(
            "groups",
            f"member of {', '.join(groups) or 'neither headwater_worker nor headwater_server'}",
            f"GRANT headwater_worker TO {role};  (or headwater_server, which sees only the tenants that it names)",
            good=bool(groups),
        ),
    ]


def _durability(facts: Mapping[str, Any]) -> list[Finding]:
    return [
        judged(
            "synchronous_commit",
            f"synchronous_commit = {facts['synchronous_commit']}",
            "Appends turn it on for their own transaction; what else your programs commit may be lost in a crash.",
            good=facts["synchronous_commit"] != "off",
            level="warning",
        ),
        judged(
            "fsync",
            f"fsync = {facts['fsync']}",
            "An acknowledged event may be lost when the server crashes. Set fsync = on.",
            good=facts["fsync"] == "on",
        ),
        judged(
            "full_page_writes",
            f"full_page_writes = {facts['full_page_writes']}",
            "A crash may damage pages. Set full_page_writes = on, unless the filesystem never tears a page.",
            good=facts["full_page_writes"] == "on",
            level="warning",
        ),
    ]


def _schema(facts: Mapping[str, Any], missing: Sequence[str]) -> list[Finding]:
    migrate = "Run `headwater migrate` as the role that owns the database."
    if not facts["tables"]:
        return [Finding("schema", "problem", "there is no log in this database", migrate)]
    return [
        judged(
            "schema", f"lacks {', '.join(missing)}" if missing else "up to date", migrate, good=not missing
        ),
        judged(
            "row-level security",
            f"not forced on {', '.join(facts['unforced'])}" if facts["unforced"] else "forced on every table",
            "Somebody has switched it off: ALTER TABLE headwater.<name> ENABLE and FORCE ROW LEVEL SECURITY.",
            good=not facts["unforced"],
        ),
        judged(
            "definer functions",
            f"{', '.join(facts['mighty'])} run as a role above row-level security"
            if facts["mighty"]
            else "none runs as a role above row-level security",
            "ALTER FUNCTION headwater.<name> OWNER TO headwater_tail;",
            good=not facts["mighty"],
        ),
    ]
