import asyncio

from pydantic import BaseModel

from headwater import Headwater

DAY = 24 * 3600

app = Headwater("shop")


class Order(BaseModel):
    id: str
    cents: int


class Receipt(BaseModel):
    order: str
    cents: int


class Approval(BaseModel):
    by: str


class Picture(BaseModel):
    url: str


@app.step(retries=5, timeout=30)
async def charge(order: Order) -> Receipt:
    return Receipt(order=order.id, cents=order.cents)


@app.step(queue="gpu")                       # may run on another worker
async def render(order: Order) -> Picture:
    return Picture(url=f"https://shop.example/{order.id}.png")


@app.step
def notify(order: Order) -> None:            # not async: runs in a thread
    print("notified about", order.id)


@app.workflow
async def fulfil(order: Order) -> Receipt:
    receipt = await charge(order)
    async with asyncio.timeout(3 * DAY):     # durable
        approval = await app.hook(Approval, token=f"approve:{order.id}")
    app.set_state(f"approved by {approval.by}")
    picture, _ = await asyncio.gather(render(order), notify(order))   # both at once
    await asyncio.sleep(1)                   # durable: DAY would be as safe
    return receipt
