"""The schema, brought up to date while the log is in use.

Promise. `migrate` may run twice at once, again after a failure at any point, and under load. It needs no superuser: the
owner of the database with CREATEROLE will do.

Why it is right. Every step is one transaction that takes an advisory lock, looks whether the step is recorded, runs
it and records it: two at once take turns, and a step is there with its record or not at all. A step may not wait long
for a table's lock, because everybody behind it would wait too: after `lock_timeout` it gives way and tries again.
Migrations add and never rewrite; functions are replaced in one transaction, so a running program calls the old one or
the new one.

Definer functions are given to `headwater_tail`, a role that can do nothing else, whoever migrates.

Rejected: a session-level lock (it does not survive a pooler in transaction mode), and one transaction for all steps (it
would hold each step's locks until the last has run).
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

import asyncpg

from headwater.errors import LogUnavailable, SchemaOutdated, StorageRefused
from headwater.log.postgres.connections import connect
from headwater.log.postgres.statements import Step, steps
from headwater.log.postgres.trouble import DRIVER_ERRORS, as_trouble

ROLES: Final = ("headwater_worker", "headwater_server", "headwater_tail")
_LOCK: Final = 1214731853
_PATIENCE: Final = 60


async def migrate(url: str) -> list[str]:
    """Apply what is missing; the names of the steps that were applied."""
    try:
        connection = await connect(url)
        try:
            await _make_roles(connection)
            done = [step.name for step in steps() if await _apply(connection, step)]
            if done:
                await _give_away(connection)
            return done
        finally:
            await connection.close()
    except DRIVER_ERRORS as error:
        raise as_trouble(error) from error


async def pending(url: str) -> list[str]:
    """The steps that `migrate` would apply."""
    try:
        connection = await connect(url)
        try:
            async with connection.transaction():
                there = await recorded(connection)
        finally:
            await connection.close()
    except DRIVER_ERRORS as error:
        raise as_trouble(error) from error
    return [step.name for step in steps() if there.get(step.name) != step.checksum]


async def has_log(connection: Any) -> bool:
    return bool(await connection.fetchval("SELECT true FROM pg_namespace WHERE nspname = 'headwater'"))


async def recorded(connection: Any) -> dict[str, str]:
    """The steps that a database has, with their checksums; none when there is no log in it."""
    if not await has_log(connection):
        return {}
    rows = await connection.fetch("SELECT name, checksum FROM headwater.migrations")
    return {row["name"]: row["checksum"] for row in rows}


def check_schema(there: dict[str, str]) -> None:
    """Refuse a database whose schema is not this code's."""
    ours = {step.name: step for step in steps() if step.migration}
    theirs = {name for name in there if name.startswith("migrations/")}
    if not theirs:
        raise SchemaOutdated(
            "There is no log in this database. Run `headwater migrate` as the database's owner."
        )
    if newer := sorted(theirs - ours.keys()):
        raise SchemaOutdated(
            f"The database's schema is newer than this code (it has {newer[-1]}). Install a newer Headwater."
        )
    if missing := sorted(ours.keys() - theirs):
        raise SchemaOutdated(
            f"The database's schema is older than this code (it lacks {missing[0]}). Run `headwater migrate`."
        )


async def _make_roles(connection: Any) -> None:
    """Group roles belong to the server, not to the database: they may be there from another log."""
    for role in ROLES:
        try:
            if not await _ask(connection, "SELECT true FROM pg_roles WHERE rolname = $1", role):
                await connection.execute(f"CREATE ROLE {role} NOLOGIN NOSUPERUSER NOBYPASSRLS")
        except (asyncpg.DuplicateObjectError, asyncpg.UniqueViolationError):
            pass  # somebody else has just made it
        except asyncpg.InsufficientPrivilegeError:
            raise StorageRefused(
                f"The role {role} is missing, and this login may not make it. As an administrator, run "
                f"`{'; '.join(f'CREATE ROLE {name} NOLOGIN' for name in ROLES)}`, or give this login CREATEROLE."
            ) from None
    for role in ("headwater_worker", "headwater_tail"):
        if await _ask(connection, "SELECT pg_has_role(current_user, $1, 'usage')", role):
            continue
        try:
            await connection.execute(f"GRANT {role} TO CURRENT_USER")
        except asyncpg.PostgresError:
            raise StorageRefused(
                f"This login may not make itself a member of {role}. As an administrator, run "
                f"`GRANT {role} TO <this login>`."
            ) from None


async def _ask(connection: Any, question: str, role: str) -> bool:
    async with connection.transaction():  # through a pooler, one statement with arguments needs one
        return bool(await connection.fetchval(question, role))


async def _apply(connection: Any, step: Step) -> bool:
    for _ in range(_PATIENCE):
        try:
            async with connection.transaction():
                return await _apply_once(connection, step)
        except (asyncpg.LockNotAvailableError, asyncpg.DeadlockDetectedError):
            await asyncio.sleep(1)
    raise LogUnavailable(
        f"{step.name} has waited too long for others' locks. Stop long transactions and migrate again."
    )


async def _apply_once(connection: Any, step: Step) -> bool:
    await connection.execute(f"SELECT pg_advisory_xact_lock({_LOCK})")
    there = await recorded(connection)
    if there.get(step.name) == step.checksum:
        return False
    if step.migration and step.name in there:
        raise SchemaOutdated(f"{step.name} was applied in another form than this code's. Restore the file.")
    await connection.execute("SET LOCAL lock_timeout = '2s'; SET LOCAL client_min_messages = 'warning'")
    await connection.execute(step.sql)
    await connection.execute(
        "INSERT INTO headwater.migrations (name, checksum) VALUES ($1, $2)"
        " ON CONFLICT (name) DO UPDATE SET checksum = excluded.checksum, applied_at = now()",
        step.name,
        step.checksum,
    )
    return True


async def _give_away(connection: Any) -> None:
    """Nobody but the group roles may call our functions, and a definer function has no more rights than it needs."""
    async with connection.transaction():
        await connection.execute(f"SELECT pg_advisory_xact_lock({_LOCK})")
        await connection.execute(
            "SET LOCAL lock_timeout = '2s';"
            "REVOKE ALL ON ALL FUNCTIONS IN SCHEMA headwater FROM PUBLIC;"
            f"GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA headwater TO {', '.join(ROLES)};"
            "GRANT CREATE ON SCHEMA headwater TO headwater_tail;"
            "ALTER FUNCTION headwater.place(smallint, bigint) OWNER TO headwater_tail;"
            "REVOKE CREATE ON SCHEMA headwater FROM headwater_tail"
        )
