"""`headwater migrate`: make or lift the schema of the log's database."""

from __future__ import annotations

import typer

from headwater.cli.output import say, say_json
from headwater.cli.session import Json, Session, Url, run


def migrate(ctx: typer.Context, *, url: Url = None, as_json: Json = False) -> None:
    """Bring the log's database to this version's schema, while it is in use. Safe to repeat."""
    session = Session.of(ctx, url, as_json)
    applied = run(_migrate(session))
    if session.as_json:
        say_json({"url": session.shown_url, "applied": applied})
    elif applied:
        say(f"migrated {session.shown_url}: {', '.join(applied)}")
    else:
        say(f"{session.shown_url} is up to date")


async def _migrate(session: Session) -> list[str]:
    from headwater.log.open import backend_for

    if session.file is not None:
        from headwater.cli.checks.sqlite import applied_steps
        from headwater.log.sqlite.statements import migrations

        before = applied_steps(session.file)
        backend = backend_for(session.url, migrate=True)
        try:
            await backend.open()
        finally:
            await backend.close()
        return [step.name for step in migrations() if step.name not in before]
    if session.url.partition(":")[0] in {"postgres", "postgresql"}:
        from headwater.log.postgres.backend import take_direct_url
        from headwater.log.postgres.migrate import migrate as migrate_postgres

        pooled, direct = take_direct_url(session.url)
        return await migrate_postgres(direct or pooled)
    backend_for(session.url)  # an address of nothing is refused; the memory log has no schema
    return []
