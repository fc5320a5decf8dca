"""The client's ledger: what was asked of the stack, what it answered, and so what it has promised."""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import orjson

from tests.bench import load

STORED = (200, 201)
NOT_PROMISED = (0, 502, 503, 504)
"""no answer, or an answer that promises nothing: the write may or may not be there, but never twice"""
ANSWER_WITHIN_S = 20.0


@dataclass(slots=True)
class Write:
    """One write and every answer to it. `headers` carry its Idempotency-Key, if it has one."""

    what: str
    """`appeal`, or the type of the event that it causes"""
    subject: str
    """the aggregate that it writes to; the external name of a new appeal"""
    path: str
    body: bytes
    headers: str = ""
    statuses: list[int] = field(default_factory=list)
    first: dict[str, Any] | None = None
    """the first answer that promised something"""
    contradiction: str | None = None
    """a later answer that was not the first one"""

    @property
    def stored(self) -> bool:
        """It was promised."""
        return self.first is not None

    def took(self, status: int, body: bytes) -> None:
        """Remember an answer."""
        self.statuses.append(status)
        if status in STORED:
            answer: dict[str, Any] = orjson.loads(body)
            if self.first is None:
                self.first = answer
            elif answer != self.first and self.contradiction is None:
                self.contradiction = f"{status} {answer} after {self.first}"[:400]
        elif status == 409 and b"rating_used" in body and len(self.statuses) > 1:
            self.first = self.first or {}  # a rating has no key; this says that the try without an answer had arrived
        elif status not in NOT_PROMISED and self.contradiction is None:
            self.contradiction = f"{status} {body[:300].decode(errors='replace')} after {self.statuses}"


class Ledger:
    """Posts appeals, whether or not earlier ones were answered, and keeps every write of the run."""

    def __init__(self, client: load.Client, seed: int, *, retried: float = 0.6, repeated: float = 0.02) -> None:
        """`retried`: share of writes without a promise that are sent again with the same key until they get one;
        `repeated`: share of stored ones that are sent again and must get the first answer."""
        self.client = client
        self.seed = seed
        self.chance = random.Random(seed)
        self.retried = retried
        self.repeated = repeated
        self.writes: list[Write] = []
        self.stored_appeals: list[tuple[float, str]] = []
        """(monotonic second of the answer, id), in the order of the answers"""
        self.fresh: asyncio.Queue[Write] = asyncio.Queue()
        """appeals just stored, for those who live on with them"""
        self._tasks: set[asyncio.Task[None]] = set()
        self._stopping = False
        self._pausing = asyncio.Event()
        self._pausing.set()
        self._bodies = load.appeals(4000, seed=seed, prefix="chaos")
        self._number = 0

    def appeal(self) -> Write:
        """The next appeal: a reporter of its own (so that a double shows), an external id, a key, or both."""
        number = self._number
        self._number += 1
        body = {**self._bodies[number % len(self._bodies)]}
        body["reporter"] = {"name": "王小明", "phone": f"139{number:08d}"}
        name = f"chaos-{self.seed}-{number}"
        keyed = number % 3
        if keyed == 0:
            del body["external_id"]
        else:
            body["external_id"] = name
        headers = "" if keyed == 1 else f"Idempotency-Key: {name}\r\n"
        return Write("appeal", name, "/v1/appeals", orjson.dumps(body), headers)

    async def post(self, rate: float) -> None:
        """Post `rate` appeals a second until `stop`."""
        planned = time.monotonic()
        while not self._stopping:
            await self._pausing.wait()
            planned = max(planned + 1 / rate, time.monotonic() - 1.0)
            delay = planned - time.monotonic()
            if delay > 0:
                await asyncio.sleep(delay)
            self._begin(self._one(self.appeal()))

    def pause(self) -> None:
        """Post nothing for a while."""
        self._pausing.clear()

    def resume(self) -> None:
        """Post again."""
        self._pausing.set()

    async def _one(self, write: Write) -> None:
        if await self.send(write):
            assert write.first is not None
            self.stored_appeals.append((time.monotonic(), write.first["id"]))
            self.fresh.put_nowait(write)

    async def send(self, write: Write, *, retried: float | None = None) -> bool:
        """Send a write until it is promised, or given up after the first answer that promises nothing; True when it
        is promised. It enters the ledger before it is sent."""
        self.writes.append(write)
        again = self.chance.random() < (self.retried if retried is None else retried)
        for attempt in range(60):
            await self._once(write)
            if write.stored:
                if self.chance.random() < self.repeated and write.what != "feedback.answered":
                    self._begin(self._repeat(write))
                return True
            if not again or write.contradiction:
                return False
            await asyncio.sleep(min(4.0, 0.5 * 2**attempt) * self.chance.uniform(0.7, 1.3))
        return False

    async def _once(self, write: Write) -> None:
        write.took(
            *await self.client.request("POST", write.path, write.body, headers=write.headers, timeout=ANSWER_WITHIN_S)
        )

    async def _repeat(self, write: Write) -> None:
        await asyncio.sleep(self.chance.uniform(0.2, 20))
        await self._once(write)

    def _begin(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def stop(self) -> None:
        """Post no more and wait for the answers that are due."""
        self._stopping = True
        self._pausing.set()
        while self._tasks:
            done, _ = await asyncio.wait(list(self._tasks))
            for task in done:
                task.result()

    def counts(self) -> dict[str, int]:
        """Writes promised, refused and unanswered (neither, ever), and retries."""
        found = Counter(_outcome(write) for write in self.writes)
        found["tries"] = sum(len(write.statuses) for write in self.writes)
        return dict(found)


def _outcome(write: Write) -> str:
    if write.stored:
        return "accepted"
    return "unanswered" if 0 in write.statuses else "refused"


def appeals(writes: Iterable[Write]) -> list[Write]:
    """The appeals among the writes."""
    return [write for write in writes if write.what == "appeal"]


def acts(writes: Iterable[Write]) -> list[Write]:
    """What was done to orders and ratings."""
    return [write for write in writes if write.what != "appeal"]
