"""`headwater worker --processes N`: one process that watches the others, and tells of all of them at one port."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Sequence
from typing import Any, Final
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

from headwater.cli.output import flush, plain, say, say_json
from headwater.cli.process import on_signals
from headwater.cli.session import Session
from headwater.cli.supervise import Child, supervise
from headwater.telemetry.answering import Text, Texts, answer_near
from headwater.telemetry.counts import MEDIA, together

LOGGER: Final = logging.getLogger("headwater.worker")
_PATIENCE: Final = 2.0
_CLOSING: Final = 10.0


def run_workers(
    session: Session, arguments: Sequence[str], processes: int, grace: float, host: str, port: int
) -> int:
    """Run so many workers until told to stop; the exit code."""
    return asyncio.run(_run(session, children_of(session.url, arguments, processes, grace), host, port))


def children_of(url: str, arguments: Sequence[str], processes: int, grace: float) -> list[Child]:
    """The workers: each has the grace of its steps to stop, and some more to close."""
    asked = [*arguments, "--grace", str(grace), "--metrics-port", "0"]
    environment = {"HEADWATER_URL": url}
    return [
        Child(f"worker {number}", asked, environment, patience=grace + _CLOSING)
        for number in range(processes)
    ]


async def _run(session: Session, children: Sequence[Child], host: str, port: int) -> int:
    stop = on_signals()

    def tell(child: Child, told: dict[str, Any]) -> None:
        if session.as_json:
            say_json({"process": child.name, **told})
        elif told.get("event") == "serving":
            say(plain(f"{child.name}: {told['worker']} serves {', '.join(told['workflows']) or 'queues'}"))
        flush()

    server, told_at = await answer_near(host, port, _texts(children), LOGGER)
    if session.as_json:
        say_json({"event": "supervising", "metrics": f"{told_at}/metrics"})
    else:
        say(f"{len(children)} workers; their metrics are at {told_at}/metrics")
    flush()
    try:
        return await supervise(children, stop, tell)
    finally:
        server.close()


def _texts(children: Sequence[Child]) -> Texts:
    async def asked(path: str) -> dict[str, tuple[int, str]]:
        answers = await asyncio.gather(*[asyncio.to_thread(_fetch, child, path) for child in children])
        return {str(number): found for number, found in enumerate(answers)}

    async def metrics() -> Text:
        found = await asked("/metrics")
        return Text(
            together({process: text for process, (code, text) in found.items() if code == 200}), media=MEDIA
        )

    async def well() -> Text:
        found = await asked("/healthz")
        worst = max(code for code, _ in found.values())
        told = {process: json.loads(text) for process, (_, text) in found.items()}
        return Text(json.dumps({"status": "ok" if worst == 200 else "stuck", "processes": told}), worst)

    return {"/metrics": metrics, "/healthz": well, "/readyz": well}


def _fetch(child: Child, path: str) -> tuple[int, str]:
    """What a child tells at a path; 503 from one that does not answer."""
    address = str(child.told.get("metrics", "")).removesuffix("/metrics")
    if not address.startswith("http://"):
        return 503, '{"status": "starting"}'
    try:
        with urlopen(address + path, timeout=_PATIENCE) as answered:  # noqa: S310  (an address of our child)
            return int(answered.status), str(answered.read().decode())
    except HTTPError as error:
        return error.code, error.read().decode()
    except (URLError, OSError) as error:
        return 503, json.dumps({"status": "down", "why": str(error)})
