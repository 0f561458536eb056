"""`/`: a page to look at, as it lies here: no build, no script from elsewhere, and payloads always as text."""

from __future__ import annotations

from importlib.resources import files
from typing import Final

from fastapi import APIRouter, Response

_FILES: Final = {
    "": ("index.html", "text/html; charset=utf-8"),
    "page/icon.svg": ("icon.svg", "image/svg+xml"),
    "page/page.css": ("page.css", "text/css; charset=utf-8"),
    "page/page.js": ("page.js", "text/javascript; charset=utf-8"),
    "page/dom.js": ("dom.js", "text/javascript; charset=utf-8"),
    "page/api.js": ("api.js", "text/javascript; charset=utf-8"),
    "page/run.js": ("run.js", "text/javascript; charset=utf-8"),
    "page/runs.js": ("runs.js", "text/javascript; charset=utf-8"),
}


def routes() -> APIRouter:
    """The page's files; they hold no data, so they need no key."""
    router = APIRouter(include_in_schema=False)
    here = files(__name__)
    for path, (name, media) in _FILES.items():
        _add(router, f"/{path}", here.joinpath(name).read_bytes(), media)
    return router


def _add(router: APIRouter, path: str, content: bytes, media: str) -> None:
    async def get() -> Response:
        return Response(content, media_type=media, headers={"cache-control": "no-cache"})

    router.get(path)(get)
