"""The app that the server is tested with."""

from __future__ import annotations

import asyncio
from typing import Any

from headwater import Headwater, current_step

app = Headwater("shop")


@app.step
async def charge(order: int) -> str:
    if order < 0:
        raise ValueError(f"order {order} is below zero")
    return f"charged {order}"


@app.step
async def linger() -> int:
    """Goes on for ever, the first time."""
    attempt = current_step().attempt
    if attempt == 1:
        await asyncio.Event().wait()
    return attempt


@app.workflow
async def lingers() -> int:
    return await linger()


@app.workflow
async def fulfil(order: int, express: bool = False) -> str:
    """Charge an order."""
    app.set_state("express" if express else "charging")
    return await charge(order)


@app.workflow
async def approve(token: str | None = None) -> Any:
    hook = app.hook(dict[str, Any], token=token)
    app.set_state({"token": hook.token})
    return await hook
