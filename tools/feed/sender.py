"""Sends appeals in batches at full speed or at a given pace, keeps count, and survives a hub that goes away."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

BATCH = 500
IN_FLIGHT = 2
IN_FLIGHT_PACED = 32
PATIENCE_S = 600.0
"""how long one batch is tried again while the hub is away"""


class HubError(Exception):
    """The hub refuses or stays away; the text says what to do."""


@dataclass(slots=True)
class Counts:
    """What became of the rows so far."""

    received: int = 0
    duplicate: int = 0
    rejected: int = 0


@dataclass(slots=True)
class Progress:
    """Rows answered without a gap from the start, and the counts; kept in a file so that a feed can go on."""

    path: Path
    key: str
    next_row: int = 1
    counts: Counts = field(default_factory=Counts)

    @classmethod
    def load(cls, path: Path, key: str) -> Progress:
        """The state of an interrupted feed of the same file, mapping and hub; else a fresh one."""
        try:
            held = json.loads(path.read_text(encoding="utf-8"))
            if held["key"] == key:
                return cls(path, key, int(held["next_row"]), Counts(**held["counts"]))
        except (OSError, ValueError, KeyError, TypeError):
            pass
        return cls(path, key)

    def save(self) -> None:
        """Write it at once, whole."""
        counts = {name: getattr(self.counts, name) for name in ("received", "duplicate", "rejected")}
        fresh = self.path.with_suffix(".new")
        fresh.write_text(json.dumps({"key": self.key, "next_row": self.next_row, "counts": counts}), encoding="utf-8")
        fresh.replace(self.path)


@dataclass(frozen=True, slots=True)
class Item:
    """One row: its body, or why the mapping refused it."""

    row: int
    body: dict[str, Any] | None
    fault: str | None = None


@dataclass(slots=True)
class Sender:
    """One feed."""

    client: httpx.AsyncClient
    progress: Progress
    rejects: Path
    show: Callable[[Counts, int], None]
    rate: float | None = None
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    _answered: dict[int, tuple[int, Counts]] = field(default_factory=dict)
    _failure: BaseException | None = None

    async def send(self, items: AsyncIterator[Item]) -> None:
        """Send all items in order of rows; returns early, at a clean point, when `stopping` is set.

        Raises `HubError`.
        """
        size = BATCH if self.rate is None else max(1, round(self.rate / 10))
        gate = asyncio.Semaphore(IN_FLIGHT if self.rate is None else IN_FLIGHT_PACED)
        tasks: set[asyncio.Task[None]] = set()
        began, sent = time.monotonic(), 0
        batch: list[Item] = []

        async def launch(part: list[Item]) -> None:
            nonlocal sent
            if self.rate is not None:
                await asyncio.sleep(max(0.0, began + sent / self.rate - time.monotonic()))
            sent += len(part)
            await gate.acquire()
            task = asyncio.create_task(self._run(part, gate))
            tasks.add(task)
            task.add_done_callback(tasks.discard)

        try:
            async for item in items:
                if self.stopping.is_set() or self._failure is not None:
                    break
                batch.append(item)
                if len(batch) == size:
                    await launch(batch)
                    batch = []
            if batch and not self.stopping.is_set() and self._failure is None:
                await launch(batch)
        finally:
            if tasks:
                await asyncio.gather(*tasks, return_exceptions=True)
        if self._failure is not None:
            raise self._failure

    async def _run(self, part: list[Item], gate: asyncio.Semaphore) -> None:
        try:
            counts = await self._deliver(part)
            self._answered[part[0].row] = (part[-1].row + 1, counts)
            while self.progress.next_row in self._answered:
                upcoming, done = self._answered.pop(self.progress.next_row)
                self.progress.next_row = upcoming
                self.progress.counts.received += done.received
                self.progress.counts.duplicate += done.duplicate
                self.progress.counts.rejected += done.rejected
            self.progress.save()
            self.show(self.progress.counts, self.progress.next_row - 1)
        except BaseException as error:
            self._failure = self._failure or error
        finally:
            gate.release()

    async def _deliver(self, part: list[Item]) -> Counts:
        """Send until every row has a lasting answer: 503 of a row or of the hub is tried again."""
        counts = Counts()
        refused: list[dict[str, Any]] = []
        for item in part:
            if item.body is None:
                refused.append({"row": item.row, "status": 0, "code": "mapping", "detail": item.fault})
        waiting = [item for item in part if item.body is not None]
        deadline = time.monotonic() + PATIENCE_S
        pause = 0.2
        while waiting:
            answers = await self._post(waiting)
            again = []
            for item, answer in zip(waiting, answers, strict=True):
                status = answer["status"]
                if status >= 500 or status == 429:
                    again.append(item)
                elif status == 201:
                    counts.received += 1
                elif status == 200:
                    counts.duplicate += 1
                else:
                    refused.append(
                        {"row": item.row, **{k: v for k, v in answer.items() if k != "line"}, "appeal": item.body}
                    )
            waiting = again
            if waiting:
                if time.monotonic() > deadline:
                    raise HubError(
                        "the hub does not answer; run the same command when it is back, it goes on from here"
                    )
                await asyncio.sleep(pause)
                pause = min(5.0, pause * 2)
        counts.rejected = len(refused)
        if refused:
            with self.rejects.open("a", encoding="utf-8") as file:
                for line in refused:
                    file.write(json.dumps(line, ensure_ascii=False) + "\n")
        return counts

    async def _post(self, items: list[Item]) -> list[dict[str, Any]]:
        """One answer per item; a hub that is away answers 503 for each."""
        away = [{"status": 503}] * len(items)
        try:
            if len(items) == 1:
                answer = await self.client.post("/v1/appeals", json=items[0].body)
            else:
                raw = b"\n".join(json.dumps(item.body, ensure_ascii=False).encode("utf-8", "replace") for item in items)
                answer = await self.client.post(
                    "/v1/appeals/batch", content=raw, headers={"Content-Type": "application/x-ndjson"}
                )
        except httpx.TransportError:
            return away
        if answer.status_code in (401, 403):
            raise HubError(f"the hub refuses the token ({answer.status_code}): {_detail(answer)}")
        if answer.status_code >= 500 or answer.status_code == 429:
            return away
        if len(items) == 1:
            body = answer.json()
            return [{"status": answer.status_code} | ({} if answer.is_success else body)]
        if answer.status_code != 200:
            raise HubError(f"the hub refuses the batch ({answer.status_code}): {_detail(answer)}")
        answers = [json.loads(line) for line in answer.text.splitlines()]
        return answers + away[len(answers) :]  # an answer cut short: the rest is asked again


def _detail(answer: httpx.Response) -> str:
    try:
        return str(answer.json()["detail"])
    except (ValueError, KeyError, TypeError):
        return answer.text[:200]
