"""A cheap open-model load generator: raw sockets, planned send times, latency counted from the plan."""

import asyncio
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import orjson

from services.classify.grammar import Grammar
from shared.city import load as load_city


@dataclass
class Result:
    """One answer: planned and done in seconds of `time.time()`; status 0 = no answer."""

    planned: float
    done: float
    status: int
    body: bytes


@dataclass
class Client:
    """Keep-alive connections to one address; a request waits for a free one."""

    port: int
    token: str
    connections: int = 16
    _free: asyncio.Queue[tuple[asyncio.StreamReader, asyncio.StreamWriter] | None] = field(init=False)

    def __post_init__(self) -> None:
        self._free = asyncio.Queue()
        for _ in range(self.connections):
            self._free.put_nowait(None)

    def _head(self, method: str, path: str, length: int, kind: str, headers: str) -> bytes:
        return (
            f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{self.port}\r\nAuthorization: Bearer {self.token}\r\n"
            f"Content-Type: {kind}\r\nContent-Length: {length}\r\n{headers}\r\n"
        ).encode()

    async def request(
        self,
        method: str,
        path: str,
        body: bytes = b"",
        kind: str = "application/json",
        *,
        headers: str = "",
        timeout: float | None = None,
    ) -> tuple[int, bytes]:
        """Status and body; (0, b"") when the connection broke or `timeout` seconds brought no answer.

        `headers`: more header lines, each with its line end.
        """
        connection = await self._free.get()
        try:
            async with asyncio.timeout(timeout):
                if connection is not None and connection[0].at_eof():  # the server has closed it while it was idle
                    connection[1].close()
                    connection = None
                if connection is None:
                    connection = await asyncio.open_connection("127.0.0.1", self.port)
                reader, writer = connection
                writer.write(self._head(method, path, len(body), kind, headers) + body)
                head = await reader.readuntil(b"\r\n\r\n")
                status = int(head[9:12])
                lower = head.lower()
                if b"content-length:" in lower:
                    length = int(lower.split(b"content-length:", 1)[1].split(b"\r\n", 1)[0])
                    answer = await reader.readexactly(length) if length else b""
                elif b"transfer-encoding: chunked" in lower:
                    answer = await _chunks(reader)
                else:
                    answer = b""
                return status, answer
        except BaseException as error:
            if connection is not None:
                connection[1].close()  # half an answer may still come through it
                connection = None
            if isinstance(error, OSError | asyncio.IncompleteReadError | ValueError):  # a timeout is an OSError
                return 0, b""
            raise
        finally:
            self._free.put_nowait(connection)

    async def close(self) -> None:
        while not self._free.empty():
            connection = self._free.get_nowait()
            if connection is not None:
                connection[1].close()


async def _chunks(reader: asyncio.StreamReader) -> bytes:
    parts: list[bytes] = []
    while True:
        size = int((await reader.readline()).strip() or b"0", 16)
        if size == 0:
            await reader.readline()
            return b"".join(parts)
        parts.append(await reader.readexactly(size))
        await reader.readexactly(2)


async def at_rate(client: Client, path: str, bodies: Sequence[bytes], rate: float) -> list[Result]:
    """POST every body at its planned instant, whether or not earlier ones were answered."""
    start = time.time() + 0.2
    results: list[Result] = []

    async def one(planned: float, body: bytes) -> None:
        status, answer = await client.request("POST", path, body)
        results.append(Result(planned, time.time(), status, answer))

    tasks = []
    for number, body in enumerate(bodies):
        planned = start + number / rate
        delay = planned - time.time()
        if delay > 0:
            await asyncio.sleep(delay)
        tasks.append(asyncio.create_task(one(planned, body)))
    await asyncio.gather(*tasks)
    return results


def appeals(count: int, seed: int = 1, prefix: str = "bench") -> list[dict[str, object]]:
    """Appeals in the demo's own words (never real ones), from several channels, with external ids."""
    chance = random.Random(seed)
    grammar = Grammar.read(load_city("demo").file("grammar.yaml"))
    texts = [sentence.text for sentence in grammar.sentences(per_pattern=10, seed=seed)]
    found: list[dict[str, object]] = []
    for number in range(count):
        channel = chance.choice(("phone", "web", "app", "wechat"))
        found.append(
            {
                "channel": channel,
                "text": chance.choice(texts),
                "external_id": f"{prefix}-{seed}-{number}",
                "reporter": {"name": "王小明", "phone": f"139{chance.randrange(10**8):08d}"},
            }
        )
    return found


def lines(items: Sequence[dict[str, object]]) -> bytes:
    """NDJSON."""
    return b"\n".join(orjson.dumps(item) for item in items) + b"\n"


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which `share` of them lie (nearest rank); 0 when there are none."""
    if not values:
        return 0.0
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
