"""A client of a server: the same surface, over HTTP.

Every request that changes something carries an idempotency key, or an id, that the client has made: so one whose answer
was lost is sent again, and has its effect once. It is sent again while the server is away, for `PATIENCE` seconds.
Errors come back as what they are on the server's side, by the names of the error tree.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, cast
from urllib.parse import quote
from uuid import uuid4

import orjson

from headwater import errors
from headwater.app.workflows import Bound
from headwater.client.handle import RunEnd
from headwater.client.side import Started
from headwater.errors import HeadwaterError, LogClosed, LogUnavailable, NotSupported, OutcomeUnknown
from headwater.events.codec import Codec
from headwater.events.envelope import Recorded
from headwater.events.registry import Registry, RegistryDecoder
from headwater.log.plain import recorded_of_json
from headwater.runs.entry import RunSummary
from headwater.runs.events import ErrorInfo, RunCancelled, RunCompleted, RunFailed
from headwater.runs.machines import RunStatus
from headwater.runs.plain import state_of_json, summary_of_json
from headwater.runs.rows import DEFAULT_TENANT, label_of
from headwater.runs.state import RunState
from headwater.settings import Settings
from headwater.telemetry import tracing

try:
    import httpx
except ImportError:
    raise NotSupported("A client of a server needs httpx: `pip install headwater[client]`.") from None

PATIENCE: Final = 15.0
_POLL: Final = 30.0
_PAGE: Final = 500
_AWAY: Final = frozenset({429, 502, 503, 504})


class Remote:
    """The side of a client that asks a server."""

    def __init__(self, address: str, tenant: str, key: str | None, registry: Registry) -> None:
        self._address = address.rstrip("/")
        key = key or Settings.read().api_key
        self._headers = {"authorization": f"Bearer {key}"} if key else {}
        if tenant != DEFAULT_TENANT:
            self._headers["headwater-tenant"] = tenant
        self._decoder = RegistryDecoder(registry, Codec())
        self._http: httpx.AsyncClient | None = None

    async def open(self) -> None:
        self._http = httpx.AsyncClient(
            base_url=f"{self._address}/api/v1",
            headers=self._headers,
            timeout=httpx.Timeout(PATIENCE, read=_POLL + PATIENCE),
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=100),
        )

    async def close(self) -> None:
        if self._http is not None:
            await self._http.aclose()
            self._http = None

    async def start_all(self, runs: Mapping[str, Bound[Any]], attributes: Mapping[str, str]) -> list[Started]:
        asked = [
            {
                "workflow": bound.workflow.name,
                "version": bound.workflow.version,
                "input": bound.input(),
                "id": id,
                "attributes": dict(attributes),
            }
            for id, bound in runs.items()
        ]
        if len(asked) == 1:
            made = [await self._ask("POST", "/runs", asked[0])]
        else:
            made = (await self._ask("POST", "/runs/batch", {"runs": asked}))["runs"]
        return [Started(one["run"], one["new"], label_of(one["workflow"], one["version"])) for one in made]

    async def send(
        self, token: str, payload: Any, run: str | None, key: str | None, actor: str | None
    ) -> None:
        if actor is not None:
            raise NotSupported("A server says itself who acts: by the API key. Leave `actor` out.")
        await self._ask("POST", f"/hooks/{_id(token)}", {"payload": payload, "run": run}, key=key)

    async def cancel(self, run: str, reason: str | None) -> None:
        await self._ask("POST", f"/runs/{_id(run)}/cancel", {"reason": reason})

    async def resume(self, run: str) -> None:
        await self._ask("POST", f"/runs/{_id(run)}/release")

    async def get(self, run: str, version: int | None, until: datetime | None) -> RunState:
        asked = {"version": version, "at": until.isoformat() if until else None}
        return state_of_json(await self._ask("GET", f"/runs/{_id(run)}", query=asked))

    async def list(
        self,
        workflow: str | None,
        status: Sequence[RunStatus],
        before: tuple[int, str] | None,
        limit: int,
    ) -> Sequence[RunSummary]:
        found: list[RunSummary] = []
        after = before[1] if before else None
        while len(found) < limit:
            most = min(_PAGE, limit - len(found))
            asked = {"workflow": workflow, "status": list(status), "before": after, "limit": most}
            page = await self._ask("GET", "/runs", query=asked)
            found += [summary_of_json(one) for one in page["runs"]]
            after = page["next"]
            if after is None:
                break
        return found

    async def history(self, run: str, until: datetime | None) -> AsyncIterator[Recorded]:
        version: str | None = "0"
        while version is not None:
            asked = {
                "after_version": version,
                "limit": _PAGE,
                "at": until.isoformat() if until else None,
            }
            page = await self._ask("GET", f"/runs/{_id(run)}/events", query=asked)
            for event in page["events"]:
                yield recorded_of_json(event, self._decoder)
            version = page["next"]

    async def wait_for(self, run: str, label: str | None, timeout: float | None) -> RunEnd:
        del label  # whether anybody serves it is for the server's side to say
        loop = asyncio.get_running_loop()
        until = None if timeout is None else loop.time() + timeout
        while True:
            left = _POLL if until is None else min(_POLL, until - loop.time())
            if left < 0:
                raise TimeoutError
            found = await self._ask("GET", f"/runs/{_id(run)}/result", query={"timeout": left})
            match found["status"]:
                case "completed":
                    return RunCompleted(output=found["output"])
                case "failed":
                    return RunFailed(error=ErrorInfo.model_validate(found["error"]))
                case "cancelled":
                    return RunCancelled(reason=found["reason"])
                case _:
                    pass

    async def _ask(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        query: Mapping[str, Any] | None = None,
        key: str | None = None,
    ) -> Any:
        """One request, sent again while the server is away."""
        if self._http is None:
            raise LogClosed("The client is not open. Use it inside `async with`.")
        headers = {"idempotency-key": key or str(uuid4())} if method == "POST" else {}
        if (trace := tracing.current()) is not None:
            headers["traceparent"] = trace
        content = None
        if body is not None:
            headers["content-type"], content = "application/json", orjson.dumps(body)
        asked = {name: value for name, value in (query or {}).items() if value is not None}
        loop = asyncio.get_running_loop()
        until, delay, sent = loop.time() + PATIENCE, 0.05, False
        while True:
            try:
                answer = await self._http.request(
                    method, path, content=content, headers=headers, params=asked
                )
            except httpx.TransportError as error:
                sent = sent or not isinstance(error, httpx.ConnectError | httpx.ConnectTimeout)
                failure: HeadwaterError = self._away(
                    method, sent=sent, why=str(error) or type(error).__name__
                )
            else:
                if answer.is_success:
                    return orjson.loads(answer.content)
                failure = _error_of(answer)
                if answer.status_code not in _AWAY:
                    raise failure
            if loop.time() + delay > until:
                raise failure
            await asyncio.sleep(delay)
            delay = min(delay * 2, 1.0)

    def _away(self, method: str, *, sent: bool, why: str) -> HeadwaterError:
        if method == "POST" and sent:
            return OutcomeUnknown(
                f"The server at {self._address} went away during a request: {why}. Send it again."
            )
        return LogUnavailable(f"The server at {self._address} cannot be reached: {why}.")


def _id(id: str) -> str:
    return quote(id, safe="")


_NAMED: Final[dict[str, type[HeadwaterError]]] = {
    kind.code: kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, HeadwaterError)
}


def _error_of(answer: httpx.Response) -> HeadwaterError:
    """The error that a problem document tells of, with its facts."""
    try:
        problem: dict[str, Any] = orjson.loads(answer.content)
        kind = _NAMED.get(problem["code"], HeadwaterError)
        detail, facts = str(problem["detail"]), cast("dict[str, Any]", problem.get("facts") or {})
    except (ValueError, KeyError, TypeError):
        return LogUnavailable(
            f"{answer.url.host} answered {answer.status_code} {answer.reason_phrase}: no server of ours?"
        )
    error = kind.__new__(kind)
    HeadwaterError.__init__(error, detail)
    vars(error).update(facts)
    return error
