"""`headwater doctor`: what is wrong, and how to mend it."""

from __future__ import annotations

from dataclasses import asdict

import typer

from headwater.cli.checks.finding import Finding, Level
from headwater.cli.output import OUT, Colour, plain, say, say_json
from headwater.cli.session import Json, Session, Url, run

_COLOURS: dict[Level, Colour] = {"ok": "green", "warning": "yellow", "problem": "red"}


def doctor(ctx: typer.Context, *, url: Url = None, as_json: Json = False) -> None:
    """Look at the address, the database and the log. Exit code 1 when there is a problem."""
    session = Session.of(ctx, url, as_json)
    findings = run(_examine(session))
    well = all(finding.level != "problem" for finding in findings)
    if session.as_json:
        say_json(
            {"ok": well, "url": session.shown_url, "findings": [asdict(finding) for finding in findings]}
        )
    else:
        for finding in findings:
            mark = OUT.paint(f"{finding.level:<8}", _COLOURS[finding.level])
            say(f"{mark} {finding.check:<20} {plain(finding.message)}")
            if finding.fix:
                say(f"{'':<8} {'':<20} → {plain(finding.fix)}")
    raise typer.Exit(0 if well else 1)


async def _examine(session: Session) -> list[Finding]:
    from headwater.cli.checks.log import check_log
    from headwater.log.open import backend_for

    if session.file is not None:
        from headwater.cli.checks.sqlite import check_file

        found = check_file(session.file)
    elif session.url.partition(":")[0] in {"postgres", "postgresql"}:
        from headwater.cli.checks.postgres import check_server

        found = await check_server(session.url)
    else:
        backend_for(session.url)  # refuses what is no address
        found = [Finding("address", "ok", f"{session.shown_url}, gone with the process")]
    unusable = {"address", "file", "permissions", "filesystem", "schema", "database"}
    if any(finding.level == "problem" and finding.check in unusable for finding in found):
        return found
    return [*found, *await check_log(session.url)]
