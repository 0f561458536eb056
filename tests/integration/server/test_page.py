"""The page, in a real browser: it shows runs as they go, takes payloads for text, and runs no script but its own."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager

import pytest
from playwright.async_api import Page, expect

from headwater.log.log import Log
from headwater.server.options import ServerOptions
from tests.integration.server.listening import Place, serving
from tests.integration.server.shop import app
from tests.servers.chromium import chromium

pytestmark = pytest.mark.timeout(300)  # the first may have to fetch the browser

EVIL = "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>"
PICTURES = os.environ.get("HEADWATER_TEST_PICTURES")
"""A folder in which to put what the page looks like."""


@pytest.fixture
async def page() -> AsyncIterator[Page]:
    async with chromium() as browser:
        page = await browser.new_page(color_scheme="dark", viewport={"width": 1200, "height": 800})
        said: list[str] = []
        page.on("console", lambda message: said.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: said.append(str(error)))
        yield page
        assert not [
            text for text in said if "401" not in text
        ]  # that a key is missing, a browser says itself


@asynccontextmanager
async def opened(page: Page, place: Place) -> AsyncGenerator[None]:
    """The page, which is left before its server goes: it would ask for it again."""
    await page.goto(place.address)
    yield
    await page.goto("about:blank")


async def pictured(page: Page, name: str) -> None:
    if PICTURES:
        await page.screenshot(path=f"{PICTURES}/{name}.png", full_page=True)


async def started(place: Place, **asked: object) -> str:
    answer = await place.http.post("/api/v1/runs", json=asked)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["run"])


async def test_runs_and_their_timelines_are_live(memory: Log, page: Page) -> None:
    async with serving(app, memory, worker=True) as place, opened(page, place):
        await expect(page.get_by_text("No run yet")).to_be_visible()
        await expect(page.get_by_role("status")).to_have_text("live")
        run = await started(place, workflow="approve", id="order/7", input={"token": "go"})
        row = page.get_by_role("row").filter(has_text=run)
        await expect(row).to_contain_text("running")
        await page.get_by_role("link", name=run).click()
        await expect(page.get_by_role("heading", name=run)).to_be_visible()
        await expect(page.get_by_role("cell", name="hook_created", exact=True)).to_be_visible()
        await place.http.post("/api/v1/hooks/go", json={"payload": {"yes": True}})
        await expect(page.get_by_role("cell", name="run_completed", exact=True)).to_be_visible()
        await expect(page.get_by_role("list", name="Timeline")).to_contain_text("received")
        await expect(page.locator(".facts")).to_contain_text("completed")
        await pictured(page, "run-dark")
        await page.get_by_role("button", name="◐").click()
        await expect(page.locator("html")).to_have_attribute("data-theme", "light")
        await pictured(page, "run-light")
        await page.get_by_role("link", name="All runs").click()
        await expect(row).to_contain_text("completed")
        await pictured(page, "runs-light")
        await page.get_by_label("Status").select_option("failed")
        await expect(page.get_by_text("No run yet")).to_be_visible()


async def test_payloads_are_text(memory: Log, page: Page) -> None:
    async with serving(app, memory, worker=True) as place:
        run = await started(place, workflow="approve", id=EVIL, input={"token": EVIL})
        async with opened(page, place):
            await page.get_by_role("link", name=run).click()
            await expect(page.get_by_role("cell", name="hook_created", exact=True)).to_be_visible()
            await place.http.post(f"/api/v1/runs/{_quoted(run)}/cancel", json={"reason": EVIL})
            await expect(page.get_by_role("cell", name="run_cancelled", exact=True)).to_be_visible()
            assert await page.title() == "Headwater"
            assert await page.locator("img").count() == 0


async def test_a_server_that_comes_back_is_taken_up_again(memory: Log, page: Page) -> None:
    async with serving(app, memory, worker=True) as place, opened(page, place):
        await expect(page.get_by_role("status")).to_have_text("live")
        place.server.feeds.close()
        await expect(page.get_by_role("status")).to_have_text("reconnecting")
        place.server.feeds.closing = False
        run = await started(place, workflow="fulfil", input={"order": 1})
        await expect(page.get_by_role("row").filter(has_text=run)).to_contain_text("completed")


async def test_a_key_is_asked_for_where_one_is_needed(memory: Log, page: Page) -> None:
    from headwater.server.access.keyring import Keyring

    _, text = await Keyring(memory).create_key("page", "default", ["read"])
    page.on("dialog", lambda dialog: dialog.accept(text))
    async with serving(app, memory, ServerOptions(require_key=True)) as place, opened(page, place):
        await expect(page.get_by_text("No run yet")).to_be_visible()


def _quoted(id: str) -> str:
    from urllib.parse import quote

    return quote(id, safe="")
