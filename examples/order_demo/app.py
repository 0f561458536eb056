"""An order, fulfilled: it is charged, approved by a person, rendered and announced, and delivered after a while.

Its steps tell the outside world, which here is a file that takes down every request with its idempotency key. Like any
good service, it does a thing once for a key, however often it is asked.
"""

import asyncio
import json
import os
import time
from pathlib import Path

from pydantic import BaseModel

from headwater import Headwater, RetryableError, current_step

app = Headwater("orders")
DAY = 24 * 3600


class Order(BaseModel):
    id: str
    cents: int


class Receipt(BaseModel):
    order: str
    cents: int


class Approval(BaseModel):
    by: str


def tell_the_world(what: str) -> None:
    """Ask the outside to do something; the step's key comes along, the same on every attempt."""
    step = current_step()
    request = {"key": step.key, "what": what, "attempt": step.attempt, "pid": os.getpid()}
    with Path(os.environ["ORDER_DEMO_WORLD"]).open("a") as world:
        world.write(json.dumps(request) + "\n")


@app.step(retries=5, backoff=0.5)
async def charge(order: Order) -> Receipt:
    if current_step().attempt == 1:
        raise RetryableError("the bank's line is busy", after=0.3)
    tell_the_world(f"charge {order.cents} cents")
    await asyncio.sleep(0.2)
    return Receipt(order=order.id, cents=order.cents)


@app.step
async def render(order: Order) -> str:
    tell_the_world("render the label")
    await asyncio.sleep(1.0)
    return f"{order.id}.png"


@app.step
def notify(order: Order) -> None:  # a sync step: it runs in a thread
    time.sleep(0.2)
    tell_the_world(f"write to the customer of {order.id}")


@app.step
async def deliver(order: Order, label: str) -> None:
    tell_the_world(f"deliver {order.id} with {label}")


@app.workflow
async def fulfil(order: Order) -> Receipt:
    app.set_state("charging")
    receipt = await charge(order)
    app.set_state("waiting for approval")
    async with asyncio.timeout(3 * DAY):  # durable, as is every wait here
        approval = await app.hook(Approval, token=f"approve:{order.id}")
    app.set_state(f"packing, approved by {approval.by}")
    label, _ = await asyncio.gather(render(order), notify(order))
    await asyncio.sleep(0.8)  # the courier comes; it could be a month
    await deliver(order, label)
    app.set_state("delivered")
    return receipt
