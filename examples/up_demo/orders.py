"""The app of `make run`: orders that are charged, approved where they are large, and sent."""

import asyncio
from datetime import timedelta
from random import random

from pydantic import BaseModel

from headwater import Headwater

app = Headwater("orders")
LARGE = 100_00


class Order(BaseModel):
    id: str
    cents: int


class Approval(BaseModel):
    by: str


@app.step
async def reserve(order: Order) -> str:
    await asyncio.sleep(0.2)
    return f"shelf-{order.id}"


@app.step(retries=5, backoff=0.5)
async def charge(order: Order) -> str:
    await asyncio.sleep(0.3)
    if random() < 0.3:
        raise ConnectionError("the bank did not answer")
    return f"charge-{order.id}"


@app.step
async def send(order: Order, shelf: str) -> str:
    await asyncio.sleep(0.3)
    return f"parcel-{order.id} from {shelf}"


@app.workflow
async def fulfil(order: Order) -> str:
    """Charge an order and send it; a large one waits for a person first."""
    app.set_attributes(size="large" if order.cents >= LARGE else "small")
    if order.cents >= LARGE:
        app.set_state("waits for approval")
        approval = await app.hook(Approval, token=f"approve:{order.id}")
        app.set_state(f"approved by {approval.by}")
    shelf, _ = await asyncio.gather(reserve(order), charge(order))
    app.set_state("paid")
    await asyncio.sleep(timedelta(seconds=1).total_seconds())
    parcel = await send(order, shelf)
    app.set_state("sent")
    return parcel
