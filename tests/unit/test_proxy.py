"""The failing network: see `headwater.testing.proxy`."""

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest

from headwater.testing.proxy import Direction, Proxy

DIRECTIONS: list[Direction] = ["sent", "received"]


class Echo:
    """A server that answers every byte with two, and remembers what reached it."""

    def __init__(self) -> None:
        self.got = b""
        self.resets = 0
        self.port = 0

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                self.got += data
                writer.write(data * 2)
                await writer.drain()
        except ConnectionError:
            self.resets += 1
        finally:
            writer.close()


@pytest.fixture
async def echo() -> AsyncIterator[Echo]:
    echo = Echo()
    server = await asyncio.start_server(echo.answer, "127.0.0.1", 0)
    echo.port = server.sockets[0].getsockname()[1]
    yield echo
    server.close()
    await server.wait_closed()


@pytest.fixture
async def proxy(echo: Echo) -> AsyncIterator[Proxy]:
    async with Proxy("127.0.0.1", echo.port) as proxy:
        yield proxy


class Client:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    async def connect(cls, proxy: Proxy) -> "Client":
        return cls(*await asyncio.open_connection(proxy.host, proxy.port))

    async def ask(self, data: bytes) -> bytes:
        self.writer.write(data)
        return await self.reader.readexactly(2 * len(data))

    async def rest(self) -> tuple[bytes, bool]:
        """Everything until the end, and whether that was a reset."""
        got = b""
        try:
            while data := await self.reader.read(65536):
                got += data
        except ConnectionError:
            return got, True
        return got, False

    def close(self) -> None:
        self.writer.transport.abort()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.001)


async def test_it_forwards_and_counts_both_directions(echo: Echo, proxy: Proxy) -> None:
    client = await Client.connect(proxy)
    assert await client.ask(b"abc") == b"abcabc"
    assert (proxy.sent, proxy.received, echo.got) == (3, 6, b"abc")
    client.close()


async def test_an_orderly_end_passes_through(proxy: Proxy) -> None:
    client = await Client.connect(proxy)
    client.writer.write(b"abc")
    client.writer.write_eof()
    assert await client.rest() == (b"abcabc", False)
    client.close()
    await until(lambda: proxy.connections == 0)


async def test_a_large_answer_passes_whole(proxy: Proxy) -> None:
    client = await Client.connect(proxy)
    data = bytes(range(256)) * 4096
    got = 0
    client.writer.write(data)
    while got < 2 * len(data):
        got += len(await client.reader.read(65536))
    assert (proxy.sent, proxy.received) == (len(data), 2 * len(data))
    client.close()


@pytest.mark.parametrize("after", range(11))
async def test_a_cut_lets_exactly_so_many_bytes_reach_the_server(
    echo: Echo, proxy: Proxy, after: int
) -> None:
    client = await Client.connect(proxy)
    proxy.cut(after=after, direction="sent")
    client.writer.write(b"0123456789")
    _, reset = await client.rest()
    assert reset
    await until(lambda: echo.resets == 1 or proxy.connections == 0)
    assert echo.got == b"0123456789"[:after]
    assert (proxy.sent, proxy.cuts) == (after, 1)
    client.close()


@pytest.mark.parametrize("after", range(9))
async def test_a_cut_lets_exactly_so_many_bytes_reach_the_client(
    echo: Echo, proxy: Proxy, after: int
) -> None:
    client = await Client.connect(proxy)
    proxy.cut(after=after, direction="received")
    client.writer.write(b"0123")
    got, reset = await client.rest()
    assert reset
    assert got == b"01230123"[:after]
    assert (echo.got, proxy.received, proxy.cuts) == (b"0123", after, 1)
    client.close()


async def test_a_cut_resets_every_open_connection_and_no_later_one(proxy: Proxy) -> None:
    first, second = await Client.connect(proxy), await Client.connect(proxy)
    await first.ask(b"a")
    await second.ask(b"b")
    proxy.cut(after=3, direction="sent")
    await first.ask(b"cc")
    second.writer.write(b"dd")
    assert (await second.rest())[1]
    assert (await first.rest())[1]
    assert proxy.sent == 5
    third = await Client.connect(proxy)
    assert await third.ask(b"efgh") == b"efghefgh"
    for client in (first, second, third):
        client.close()


async def test_a_disarmed_cut_does_not_happen(proxy: Proxy) -> None:
    client = await Client.connect(proxy)
    proxy.cut(after=1, direction="sent")
    proxy.disarm()
    assert await client.ask(b"abc") == b"abcabc"
    assert proxy.cuts == 0
    client.close()


@pytest.mark.parametrize("direction", DIRECTIONS)
async def test_a_stalled_direction_holds_everything_until_it_resumes(
    proxy: Proxy, direction: Direction
) -> None:
    client = await Client.connect(proxy)
    await client.ask(b"a")
    proxy.stall(direction)
    answer = asyncio.create_task(client.ask(b"b"))
    done, _ = await asyncio.wait([answer], timeout=0.05)
    assert not done
    proxy.resume(direction)
    assert await answer == b"bb"
    client.close()


async def test_it_refuses_new_connections_and_keeps_old_ones(proxy: Proxy) -> None:
    old = await Client.connect(proxy)
    await old.ask(b"a")
    proxy.refuse = True
    with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
        await (await Client.connect(proxy)).ask(b"b")
    assert await old.ask(b"c") == b"cc"
    proxy.refuse = False
    new = await Client.connect(proxy)
    assert await new.ask(b"d") == b"dd"
    old.close()
    new.close()


async def test_a_server_that_is_not_there_resets_the_client() -> None:
    async with Proxy("127.0.0.1", 1) as proxy:
        client = await Client.connect(proxy)
        assert await client.rest() == (b"", True)
        client.close()


async def test_leaving_resets_what_is_open(echo: Echo) -> None:
    async with Proxy("127.0.0.1", echo.port) as proxy:
        client = await Client.connect(proxy)
        await client.ask(b"a")
    assert await client.rest() == (b"", True)
    assert proxy.connections == 0
    client.close()


async def test_a_cut_in_the_past_is_refused(proxy: Proxy) -> None:
    with pytest.raises(ValueError, match="in the past"):
        proxy.cut(after=-1, direction="sent")
