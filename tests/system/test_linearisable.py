"""A hundred handlers at the same twenty orders: what everybody was told fits into one order of events for each.

Every answer is kept with the instants between which it came about. Each order must then have one history, a row of
versions without a gap, in which every success was allowed by the state before it, every refusal and every reading shows
a state of its own time, and nothing that ended before something else began stands behind it.
"""

from __future__ import annotations

import random
import threading
import time
import uuid
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import httpx
import pytest

from tests.bench.stack import TOKEN, Stack
from tests.system.test_concurrency import until

HANDLERS, ORDERS, OPERATIONS = 100, 20, 12

TABLE: dict[str, tuple[set[str], str | None]] = {
    # action: from which states, into which (None: the same); api.md, dispatch
    "accept": ({"dispatched"}, "accepted"),
    "contact": ({"accepted"}, None),
    "progress": ({"accepted"}, None),
    "complete": ({"accepted"}, "completed"),
    "transfer": ({"dispatched", "accepted"}, "dispatched"),
}
BODIES: dict[str, dict[str, Any]] = {
    "complete": {"result": "已修好。", "solved": True},
    "transfer": {"reason": "换一个单位"},
}
WEIGHTS = {"accept": 6, "contact": 6, "progress": 8, "complete": 1, "transfer": 3, "read": 8}


@dataclass(frozen=True)
class Told:
    """What one handler was told, between two instants of one clock."""

    order: str
    what: str
    began: float
    ended: float
    status: int
    state: str
    version: int
    seen: int | None
    """the version of `If-Match`"""
    idle: bool = False
    """a transfer to whom it has already: refused, whatever the state"""


def anomalies(first: dict[str, tuple[str, int]], told: Sequence[Told]) -> list[str]:
    """What fits into no history; `first`: state and version of each order before."""
    found = []
    for order, (state, version) in first.items():
        own = [one for one in told if one.order == order]
        writes = sorted((one for one in own if one.what != "read" and one.status == 200), key=lambda one: one.version)
        states = {version: state}
        for one in writes:
            before = one.version - 1
            if before not in states or one.version in states:
                found.append(f"{order}: {one.what} made version {one.version}, behind {sorted(states)[-1]}")
                continue
            allowed, then = TABLE[one.what]
            if states[before] not in allowed:
                found.append(f"{order}: {one.what} succeeded from {states[before]} (version {before})")
            if one.seen is not None and one.seen != before:
                found.append(f"{order}: {one.what} saw version {one.seen} and changed {before}")
            states[one.version] = then or states[before]
            if one.state != states[one.version]:
                found.append(f"{order}: {one.what} made {one.state}, the table says {states[one.version]}")
        for one in own:
            if states.get(one.version) != one.state:
                found.append(f"{order}: {one.what} was told {one.state} at version {one.version}: {states}")
            if one.what != "read" and one.status == 409 and one.state in TABLE[one.what][0] and not one.idle:
                found.append(f"{order}: {one.what} was refused from {one.state}")
            if one.status == 412 and one.seen == one.version:
                found.append(f"{order}: {one.what} was too late at the version that it saw")
            for other in own:
                if other.ended < one.began and other.version > one.version:
                    found.append(f"{order}: {one.what} was told version {one.version} after {other.version} was known")
                if (
                    other.ended < one.began
                    and other.version == one.version
                    and one.what != "read"
                    and one.status == 200
                ):
                    found.append(f"{order}: version {one.version} was known before {one.what} made it")
    return found


def test_the_judge_finds_what_cannot_be() -> None:
    def told(what: str, span: tuple[float, float], status: int, state: str, version: int) -> Told:
        return Told("o", what, *span, status, state, version, None)

    first = {"o": ("dispatched", 1)}
    good = [
        told("accept", (0, 1), 200, "accepted", 2),
        told("accept", (0, 1), 409, "accepted", 2),
        told("read", (2, 3), 200, "accepted", 2),
    ]
    assert anomalies(first, good) == []
    assert anomalies(first, [*good, told("accept", (0, 1), 200, "accepted", 2)])  # two that won
    assert anomalies(first, [*good, told("read", (4, 5), 200, "dispatched", 1)])  # back in time
    assert anomalies(first, [told("complete", (0, 1), 200, "completed", 2)])  # not allowed from there
    assert anomalies(first, [*good, told("contact", (2, 3), 200, "accepted", 4)])  # a gap
    assert anomalies(first, [*good, told("contact", (2, 3), 409, "accepted", 2)])  # refused for nothing
    assert anomalies(first, [told("read", (0, 1), 200, "accepted", 2), told("accept", (2, 3), 200, "accepted", 2)])


def orders_of(http: httpx.Client, path: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = http.get(path).json()["work_orders"]
    return found


@pytest.fixture
def orders(http: httpx.Client) -> list[dict[str, Any]]:
    found = []
    for number in range(ORDERS):
        body = {"channel": "web", "text": f"路灯不亮 {uuid.uuid4().hex}", "location": {"region_code": "460106"}}
        appeal = http.post("/v1/appeals", json=body).json()["id"]
        path = f"/v1/appeals/{appeal}"
        order = until(partial(orders_of, http, path), f"order {number}")
        found.append(order[0]["id"])
    units = [unit["code"] for unit in http.get("/v1/units", params={"region": "460106", "limit": 5}).json()["items"]]
    ready = []
    for order in found:
        answer = http.post(f"/v1/work-orders/{order}/transfer", json={"lead": units[0], "reason": "测试"})
        assert answer.status_code == 200, answer.text
        ready.append(answer.json() | {"units": units})
    return ready


def test_a_hundred_handlers_at_twenty_orders_are_told_one_history(stack: Stack, orders: list[dict[str, Any]]) -> None:
    first = {order["id"]: (order["status"], order["version"]) for order in orders}
    start = threading.Barrier(HANDLERS)

    def handle(number: int) -> list[Told]:
        dice = random.Random(number)
        known: dict[str, int] = {}
        found = []
        headers = {"Authorization": f"Bearer {TOKEN}"}
        with httpx.Client(base_url=stack.url, headers=headers, timeout=60, trust_env=False) as client:
            start.wait(60)
            for _ in range(OPERATIONS):
                order = dice.choice(orders)
                [what] = dice.choices(list(WEIGHTS), list(WEIGHTS.values()))
                path = f"/v1/work-orders/{order['id']}"
                seen = known.get(order["id"]) if dice.random() < 0.5 else None
                lead = dice.choice(order["units"])
                began = time.monotonic()
                if what == "read":
                    answer, seen = client.get(path), None
                else:
                    body = BODIES.get(what, {}) | ({"lead": lead} if what == "transfer" else {})
                    match = {"If-Match": f'"{seen}"'} if seen is not None else {}
                    answer = client.post(f"{path}/{what}", json=body, headers=match)
                ended = time.monotonic()
                assert answer.status_code in (200, 409, 412), answer.text
                state = answer.json() if answer.status_code == 200 else answer.json()["present"]
                known[order["id"]] = state["version"]
                found.append(
                    Told(
                        order["id"],
                        what,
                        began,
                        ended,
                        answer.status_code,
                        state["status"],
                        state["version"],
                        seen,
                        idle=what == "transfer" and answer.status_code == 409 and state["lead"] == lead,
                    )
                )
        return found

    with ThreadPoolExecutor(HANDLERS) as pool:
        told = [one for part in pool.map(handle, range(HANDLERS)) for one in part]
    assert len(told) == HANDLERS * OPERATIONS
    assert {one.status for one in told} == {200, 409, 412}
    assert anomalies(first, told) == []
