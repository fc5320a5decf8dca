"""bench-routing: routing decisions a second on one core, one decision's time, and a replay of past orders.

python -m tests.bench.routing [n=30000] [replayed=100000]

A city of the size of Haikou is invented: 200 units, 3,000 matters, 500 duty entries. The decisions are those of the
chain of a medium city, with its guard, on one thread. The replay runs in dispatch as it is, on a database of its own,
over orders that are written into its tables; every line of its list is computed again.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from services.dispatch.domain import Case, Context, DutyList, HandlingClass, Unit, UnitDirectory, UnitKind, decide
from services.dispatch.domain.duties import Duty, DutyKind
from services.dispatch.domain.work_order import Status, WorkOrder
from services.dispatch.replay import Change, alternative, moved
from services.dispatch.rules.guard import Guard
from services.dispatch.rules.loading import load_rules
from services.dispatch.testing import NOON, demo_context
from shared import regions
from shared.city import CITIES
from shared.clock import rfc3339
from shared.ids import uuid7
from shared.service.process import run_async
from shared.testing.harness import Harness
from tests.bench.server import kept_folder, postgres
from tests.bench.stack import machine
from tools.seed.cost import load_average

UNITS, MATTERS, DUTIES = 200, 3_000, 500
DECISIONS_A_SECOND, P99_MS, REPLAY_S = 3_000, 5.0, 60.0
CITY = "460100"


def haikou(dice: random.Random) -> tuple[Context, list[str], list[str]]:
    """A context of that size, its matters and its places."""
    context = demo_context()
    tree = regions.load()
    towns = [town.code for county in tree.children(CITY) for town in tree.children(county.code)]
    matters = [
        f"{a:02d}{b:02d}{c:02d}{d:02d}"
        for a in range(1, 16)
        for b in range(1, 11)
        for c in range(1, 6)
        for d in range(1, 5)
    ]
    assert len(matters) == MATTERS
    units = dict(context.units.units)
    while len(units) < UNITS:
        code = f"{CITY}-bench{len(units)}"
        place = CITY if dice.random() < 0.5 else dice.choice(towns)[:6]
        kind = UnitKind.DEPARTMENT
        own = tuple(sorted({matter[: dice.choice((2, 4, 6))] for matter in dice.sample(matters, 5)}))
        units[code] = Unit(
            code, f"单位{len(units)}", kind, "city", place, supervisor=context.units.centre.code, matters=own
        )
    directory = UnitDirectory.of(list(units.values())[:UNITS])
    leads = [unit.code for unit in directory.units.values() if unit.kind is UnitKind.DEPARTMENT]
    duties = DutyList(
        tuple(
            Duty(
                f"d{n}",
                DutyKind.DUTY,
                dice.choice(matters)[: dice.choice((4, 6, 8))],
                dice.choice([CITY, *towns]),
                dice.choice(leads),
            )
            for n in range(DUTIES)
        )
    )
    return replace(context, units=directory, duties=duties), matters, towns


def decisions(
    context: Context, matters: Sequence[str], towns: Sequence[str], n: int, dice: random.Random
) -> dict[str, Any]:
    """Decisions a second of CPU time, and the times of single ones."""
    rules = load_rules(CITIES / "demo" / "rules.yaml", "medium")
    guard = Guard()
    cases = [
        Case(f"a{k}", dice.choice(matters), dice.choice(list(HandlingClass)), NOON, region_code=dice.choice(towns))
        for k in range(n)
    ]
    for case in cases[:1000]:
        decide(rules, case, context, guard.ask)
    began, worked, single = time.perf_counter(), time.thread_time(), []
    for case in cases:
        one = time.perf_counter()
        with guard.watching():
            decide(rules, case, context, guard.ask)
        single.append(time.perf_counter() - one)
    spent, wall = time.thread_time() - worked, time.perf_counter() - began
    single.sort()
    return {
        "decisions": n,
        "decisions_per_cpu_s": round(n / spent),
        "decisions_per_s": round(n / wall),
        "one_p50_ms": round(single[n // 2] * 1000, 3),
        "one_p99_ms": round(single[n * 99 // 100] * 1000, 3),
        "one_max_ms": round(single[-1] * 1000, 3),
        "units": len(context.units.units),
        "matters": len(matters),
        "duties": len(context.duties.entries),
    }


async def replayed(server_url: str, n: int, dice: random.Random) -> dict[str, Any]:
    """A duty change over `n` orders of the last month, asked by HTTP."""
    async with Harness.fresh(server_url, "dispatch") as hub:
        service = hub.runners["dispatch"].service
        desk = service.state
        context, matters, towns = haikou(dice)
        async with service.database.read() as pg:
            await desk.refresh(pg)
        desk._units, desk.duties = (
            replace(context.units, version=desk.units.version),
            replace(context.duties, version=desk.duties.version),
        )
        orders = [_order(dice, matters, towns, hub.clock.now()) for _ in range(n)]
        await _write(service.database, orders)
        change = {
            "from": rfc3339(hub.clock.now() - timedelta(days=40)),
            "to": rfc3339(hub.clock.now() + timedelta(days=1)),
            "add_duties": [
                {"matter": dice.choice(matters)[:4], "region_code": CITY, "lead": desk.duties.entries[k].lead}
                for k in range(10)
            ],
        }
        began = time.perf_counter()
        answer = await hub.http.post("/v1/routing/replay", json=change, headers=hub.admin)
        assert answer.status_code == 202, answer.text
        seen = []
        while True:
            found = (await hub.http.get(f"/v1/routing/replay/{answer.json()['id']}", headers=hub.admin)).json()
            seen.append(found["examined"])
            if found["state"] in ("done", "failed"):
                break
            await asyncio.sleep(0.2)
        seconds = time.perf_counter() - began
        assert found["state"] == "done", found
        async with service.database.read() as pg:
            rows = await pg.fetch("SELECT work_order_id, lead_now, lead_then FROM dispatch.replay_moves")
            [raw] = await pg.fetch("SELECT change FROM dispatch.replays")
            other = await alternative(pg, desk, msgspec.convert(raw["change"], Change, strict=False))
        expected = {}
        for order in orders:
            line = moved(desk, other, order, "")
            if line is not None:
                expected[order.id] = (line["lead_now"], line["lead_then"])
        wrong = len(
            expected.items() ^ {row["work_order_id"]: (row["lead_now"], row["lead_then"]) for row in rows}.items()
        )
        return {
            "replayed": found["examined"],
            "replay_s": round(seconds, 1),
            "replay_moved": found["moved"],
            "replay_wrong": wrong,
            "progress_seen": len(set(seen)),
        }


def _order(dice: random.Random, matters: Sequence[str], towns: Sequence[str], now: datetime) -> WorkOrder:
    at = (now - timedelta(minutes=dice.randrange(30 * 24 * 60))).astimezone(UTC)
    return WorkOrder(
        id=uuid7(),
        appeal_ids=(uuid7(),),
        status=Status.CLOSED,
        lead=f"{CITY}-centre",
        centre=f"{CITY}-centre",
        handling_class=dice.choice(list(HandlingClass)),
        matter=dice.choice(matters),
        matter_path=(),
        kind="complaint",
        region_code=dice.choice(towns),
        channel="web",
        received_at=at,
        opened_at=at,
    )


async def _write(database: Any, orders: Sequence[WorkOrder]) -> None:
    encoder = msgspec.json.Encoder()
    async with database.transaction() as uow:
        await uow.pg.executemany(
            "INSERT INTO dispatch.work_orders (id, version, status, lead, co_handlers, class, matter, region_code,"
            " opened_at, updated_at, state) VALUES ($1, 1, 'closed', $2, '{}', $3, $4, $5, $6, $6, $7)",
            [
                (o.id, o.lead, o.handling_class.value, o.matter, o.region_code, o.opened_at, encoder.encode(o).decode())
                for o in orders
            ],
        )


def main(arguments: Sequence[str]) -> int:
    given = dict(argument.split("=", 1) for argument in arguments)
    dice = random.Random(7)
    context, matters, towns = haikou(dice)
    figures = decisions(context, matters, towns, int(given.get("n", "30000")), dice)
    found: dict[str, Any] = {}

    with kept_folder(given, "routing") as folder, postgres(folder) as server:

        async def play() -> None:
            found.update(await replayed(server.url, int(given.get("replayed", "100000")), dice))

        run_async(play())
    holds = (
        figures["decisions_per_cpu_s"] >= DECISIONS_A_SECOND
        and figures["one_p99_ms"] <= P99_MS
        and found["replay_s"] <= REPLAY_S
        and not found["replay_wrong"]
    )
    print(
        json.dumps(
            {"bench": "routing", **machine(), "load_average": load_average(), **figures, **found, "holds": holds}
        )
    )
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
