"""The app that the server is measured with."""

from headwater import Headwater

app = Headwater("bench")


@app.step
async def same(n: int) -> int:
    return n


@app.workflow
async def one(n: int) -> int:
    return await same(n)


@app.workflow
async def waits(token: str) -> int:
    return await app.hook(int, token=token)
