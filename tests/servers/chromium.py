"""A real browser: Debian's Chromium (see `debian`), headless, driven by Playwright."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path

from playwright.async_api import Browser, async_playwright

from tests.servers.debian import find_program

_QUIET = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@cache
def chromium_program() -> tuple[Path, tuple[str | Path, ...]]:
    return find_program("usr/lib/chromium/chromium", "chromium", "chromium-common")


@asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    program, prefix = chromium_program()
    environment = dict(str(part).split("=", 1) for part in prefix[1:])
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=program, args=list(_QUIET), env={"PATH": "/usr/bin:/bin", **environment}
        )
        try:
            yield browser
        finally:
            await browser.close()
