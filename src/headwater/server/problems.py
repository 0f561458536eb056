"""Errors as RFC 9457 problem documents, under the names of the error tree; one table says which status each has."""

from __future__ import annotations

import logging
from typing import Any, Final

import orjson
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from headwater import errors
from headwater.errors import HeadwaterError

LOGGER: Final = logging.getLogger("headwater.server")
MEDIA: Final = "application/problem+json"

STATUSES: Final[dict[type[HeadwaterError], int]] = {
    errors.RunNotFound: 404,
    errors.HookNotFound: 404,
    errors.TenantUnknown: 404,
    errors.KeyUnknown: 404,
    errors.WorkflowUnknown: 404,
    errors.PipelineUnknown: 404,
    errors.ProjectionUnknown: 404,
    errors.HookTooEarly: 409,
    errors.IdempotencyKeyReused: 422,
    errors.CursorRefused: 410,
    errors.NotSupported: 501,
    errors.Refused: 422,
    errors.Conflict: 409,
    errors.RunError: 409,
    errors.StorageFull: 507,
    errors.Trouble: 503,
    errors.Undecodable: 500,
    errors.HeadwaterError: 500,
}
"""The status of an error is that of the nearest class of its own that is here."""

_RETRY: Final = "1"


class Problem(Exception):
    """A problem of HTTP alone, without an error of the tree."""

    def __init__(self, status: int, code: str, detail: str) -> None:
        super().__init__(detail)
        self.status, self.code, self.detail = status, code, detail


def status_of(error: HeadwaterError) -> int:
    if isinstance(error, errors.AccessRefused):
        return error.status
    return next(STATUSES[kind] for kind in type(error).__mro__ if kind in STATUSES)


def problem(
    status: int, code: str, title: str, detail: str, headers: dict[str, str] | None = None, **more: Any
) -> Response:
    """A problem document."""
    body = {
        "type": f"urn:headwater:error:{code}",
        "title": title,
        "status": status,
        "code": code,
        "detail": detail,
    }
    return Response(orjson.dumps(body | more, default=str), status, headers, MEDIA)


def of_error(error: HeadwaterError) -> Response:
    """The document of an error."""
    status = status_of(error)
    headers: dict[str, str] = {}
    if isinstance(error, errors.AccessRefused):
        if status == 401:
            headers["www-authenticate"] = "Bearer"
        if error.retry_after is not None:
            headers["retry-after"] = str(max(1, round(error.retry_after)))
    elif status == 503:
        headers["retry-after"] = _RETRY
    if status >= 500:
        LOGGER.warning("Answered %d: %s", status, error)
    title = (type(error).__doc__ or error.code).split("\n")[0]
    return problem(status, error.code, title, str(error), headers, facts=_facts(error))


def _facts(error: HeadwaterError) -> dict[str, object]:
    """An error's attributes, as far as they are plain: what a client of ours makes the error from again."""
    return {name: value for name, value in vars(error).items() if isinstance(value, str | int | float | None)}


def of_problem(error: Problem, headers: dict[str, str] | None = None) -> Response:
    title = error.code.replace("_", " ").capitalize()
    return problem(error.status, error.code, title, error.detail, headers)


def document(error: Exception) -> Response:
    """The document of whatever a route has raised."""
    match error:
        case HeadwaterError():
            return of_error(error)
        case Problem():
            return of_problem(error)
        case RequestValidationError():
            wrong = [{"at": ".".join(map(str, one["loc"])), "what": one["msg"]} for one in error.errors()]
            detail = "; ".join(f"{one['at']}: {one['what']}" for one in wrong[:5])
            return problem(422, "request_refused", "The request does not fit.", detail, errors=wrong[:20])
        case HTTPException():
            code = {404: "no_such_route", 405: "method_not_allowed"}.get(error.status_code, "http_error")
            return problem(error.status_code, code, error.detail, error.detail, dict(error.headers or {}))
        case _:
            detail = f"{type(error).__name__}; the server's log has it."
            return problem(500, "defect", "This should not have happened.", detail)


def install(app: FastAPI) -> None:
    """Have every error of an app answered with a document."""

    async def handle(_: Request, error: Exception) -> Response:
        return document(error)

    for kind in (HeadwaterError, Problem, RequestValidationError, HTTPException, Exception):
        app.add_exception_handler(kind, handle)
