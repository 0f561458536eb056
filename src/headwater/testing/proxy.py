"""A TCP proxy that fails on purpose: what a driver meets when the network goes away in mid-sentence.

    async with Proxy("127.0.0.1", 5432) as proxy:
        ...                                        # connect to proxy.host, proxy.port
        proxy.cut(after=100, direction="sent")     # the server gets 100 bytes more, then everyone is reset

A cut is exact: the bytes before it have arrived in the receiver's kernel when the reset goes out, and not one more
follows. It happens as soon as the last byte is through, so that a cut after a whole request leaves its outcome
unknown to the client; a cut after 0 bytes happens when the next byte would pass.
"""

import asyncio
import fcntl
import functools
import socket
import struct
import termios
from collections.abc import Callable
from types import TracebackType
from typing import Final, Literal, Self

Direction = Literal["sent", "received"]

CHUNK: Final = 64 * 1024


class Proxy:
    """Forwards connections to `host` and `port`; `sent` and `received` count bytes as the client sees them."""

    def __init__(self, host: str, port: int) -> None:
        self.host: Final = "127.0.0.1"
        self.port = 0
        self.sent = 0
        self.received = 0
        self.cuts = 0
        """How often an armed cut has happened."""
        self.refuse = False
        """Reset new connections at once."""
        self._target = (host, port)
        self._armed: dict[Direction, int] = {}
        self._turns: dict[Direction, asyncio.Lock] = {"sent": asyncio.Lock(), "received": asyncio.Lock()}
        self._flows: dict[Direction, asyncio.Event] = {"sent": asyncio.Event(), "received": asyncio.Event()}
        self._links: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self.resume("sent")
        self.resume("received")
        self._listener = socket.create_server((self.host, 0))
        self._listener.setblocking(False)
        self.port = int(self._listener.getsockname()[1])
        self._accepting = asyncio.create_task(self._accept())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._accepting.cancel()
        self.drop()
        await asyncio.gather(self._accepting, *self._links, return_exceptions=True)
        self._listener.close()

    @property
    def connections(self) -> int:
        """How many connections are open."""
        return len(self._links)

    def cut(self, *, after: int, direction: Direction) -> None:
        """Forward `after` more bytes in this direction, over all connections together, then reset them all.

        Later connections work. Arming a direction again replaces its earlier cut.
        """
        if after < 0:
            raise ValueError(f"A cut after {after} bytes is in the past: give 0 or more")
        self._armed[direction] = after

    def disarm(self) -> None:
        """Take back the cuts that have not happened."""
        self._armed.clear()

    def drop(self) -> None:
        """Reset every connection now."""
        for link in self._links:
            link.cancel()

    def stall(self, direction: Direction) -> None:
        """Hold back what comes in this direction, without closing anything, until `resume`."""
        self._flows[direction].clear()

    def resume(self, direction: Direction) -> None:
        self._flows[direction].set()

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            client, _ = await loop.sock_accept(self._listener)
            if self.refuse:
                _reset(client)
                continue
            link = asyncio.create_task(self._serve(client))
            self._links.add(link)
            link.add_done_callback(self._links.discard)
            link.add_done_callback(functools.partial(_close, client))  # it may be dropped before it starts

    async def _serve(self, client: socket.socket) -> None:
        server = socket.socket(socket.AF_INET6 if ":" in self._target[0] else socket.AF_INET)
        for end in (client, server):
            end.setblocking(False)
        close: Callable[[socket.socket], None] = (
            _reset  # a cut, or one side reset or was not there: the other side learns it
        )
        try:
            await asyncio.get_running_loop().sock_connect(server, self._target)
            for end in (client, server):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            async with asyncio.TaskGroup() as pumps:
                pumps.create_task(self._pump("sent", client, server))
                pumps.create_task(self._pump("received", server, client))
            close = socket.socket.close
        except* OSError:
            pass
        finally:
            for end in (client, server):
                close(end)

    async def _pump(self, direction: Direction, source: socket.socket, sink: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while data := await loop.sock_recv(source, CHUNK):
            await self._flows[direction].wait()
            if direction not in self._armed:
                await self._forward(direction, sink, data)
                continue
            async with self._turns[direction]:
                await self._forward_armed(direction, sink, data)
        sink.shutdown(socket.SHUT_WR)

    async def _forward(self, direction: Direction, sink: socket.socket, data: bytes) -> None:
        await asyncio.get_running_loop().sock_sendall(sink, data)
        if direction == "sent":
            self.sent += len(data)
        else:
            self.received += len(data)

    async def _forward_armed(self, direction: Direction, sink: socket.socket, data: bytes) -> None:
        left = self._armed.get(direction)
        if left is None or left > len(data):
            if left is not None:
                self._armed[direction] = left - len(data)
            await self._forward(direction, sink, data)
            return
        await self._forward(direction, sink, data[:left])
        await _arrived(sink)
        self._armed.pop(direction, None)
        self.cuts += 1
        self.drop()
        raise ConnectionAbortedError("cut")


async def _arrived(sink: socket.socket) -> None:
    """Wait until the receiver's kernel has what was sent: a reset throws away what is still on the way."""
    while struct.unpack("i", fcntl.ioctl(sink, termios.TIOCOUTQ, bytes(4)))[0]:  # noqa: ASYNC110 - nothing wakes us
        await asyncio.sleep(0)


def _close(end: socket.socket, _: object) -> None:
    end.close()


def _reset(end: socket.socket) -> None:
    """Close with a reset instead of an orderly end."""
    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    end.close()
