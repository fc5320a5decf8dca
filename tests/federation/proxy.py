"""The line between platforms, as bad as a test wants it: connections cut after the request went through, or refused."""

import asyncio
import contextlib
import random
from dataclasses import dataclass, field


@dataclass
class Line:
    """Stands in front of a platform under the address of the directory."""

    port: int
    target: int
    dice: random.Random
    cut: float = 0.0
    """share of the answers that never arrive, although the platform has taken the request"""
    down: bool = False
    requests: int = 0
    cuts: int = 0
    kept: list[tuple[str, bytes]] = field(default_factory=list)
    """receipts that went through: path and body"""
    _server: asyncio.Server | None = None

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection: requests with a content length, passed on by another one that is kept, too."""
        onward: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, ValueError):
            while not self.down:
                head = await reader.readuntil(b"\r\n\r\n")
                body = await reader.readexactly(_length(head))
                if onward is None or onward[0].at_eof():
                    onward = await asyncio.open_connection("127.0.0.1", self.target)
                answer = await self._pass_on(head, body, *onward)
                self.requests += 1
                if self.down or self.dice.random() < self.cut:
                    self.cuts += 1
                    break
                writer.write(answer)
                await writer.drain()
        for one in (writer, onward[1] if onward else None):
            if one is not None:
                one.close()

    async def _pass_on(
        self, head: bytes, body: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bytes:
        path = head.split(b" ", 2)[1].decode()
        if path.endswith("/receipts"):
            self.kept.append((path, body))
        writer.write(head + body)
        await writer.drain()
        answered = await reader.readuntil(b"\r\n\r\n")
        return answered + await reader.readexactly(_length(answered))


def _length(head: bytes) -> int:
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"content-length":
            return int(value)
    return 0
