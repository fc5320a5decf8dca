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
        """One connection: requests with a content length, each passed on by a connection of its own."""
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, ValueError):
            while not self.down:
                head = await reader.readuntil(b"\r\n\r\n")
                body = await reader.readexactly(_length(head))
                answer = await self._pass_on(head, body)
                self.requests += 1
                if self.down or self.dice.random() < self.cut:
                    self.cuts += 1
                    break
                writer.write(answer)
                await writer.drain()
        writer.close()

    async def _pass_on(self, head: bytes, body: bytes) -> bytes:
        path = head.split(b" ", 2)[1].decode()
        if path.endswith("/receipts"):
            self.kept.append((path, body))
        reader, writer = await asyncio.open_connection("127.0.0.1", self.target)
        try:
            writer.write(head.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n", 1) + body)
            await writer.drain()
            answered = await reader.readuntil(b"\r\n\r\n")
            return answered.replace(b"connection: close\r\n", b"") + await reader.readexactly(_length(answered))
        finally:
            writer.close()


def _length(head: bytes) -> int:
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"content-length":
            return int(value)
    return 0
