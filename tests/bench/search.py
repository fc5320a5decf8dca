"""bench-search: typical list and search calls at a large history, through the gateway; first pages and deep ones.

    make bench-search history=1000000 folder=/tmp/seeded [transport=kafka] [n=5]

Twenty calls, `n` times each, at the first page, page 100 and page 1,000 (50 rows a page): a deep page is reached with
a cursor made for its place, as keyset pages allow. For the growth the same is done before on a fresh stack of
`small=` cases (a tenth, 10,000 at most; 0: not). The last line is one JSON object.
"""

import asyncio
import base64
import json
import random
import sys
import time
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlencode

import orjson

from tests.bench import load
from tests.bench.history import arguments_of, count, query, with_history
from tests.bench.stack import TOKEN, Stack, machine
from tools.seed.cost import load_average

LIMIT = 50
PAGES = (1, 100, 1_000)
SLOW_MS = 100.0


@dataclass(frozen=True)
class Call:
    """One list with its filters; `deep`: the SQL of the sort values of the row before page k."""

    name: str
    path: str
    filters: dict[str, str] = field(default_factory=dict)
    deep: str = ""


_APPEALS = "SELECT json_build_array(appeal_id::text) FROM intake.cases ORDER BY appeal_id DESC OFFSET {offset} LIMIT 1"
_ORDERS = "SELECT json_build_array(id) FROM dispatch.work_orders ORDER BY id DESC OFFSET {offset} LIMIT 1"
_SUPERVISIONS = "SELECT json_build_array(id) FROM sla.supervisions ORDER BY id DESC OFFSET {offset} LIMIT 1"
_LAMPS = (
    "SELECT json_build_array(to_char(due_at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"+00:00\"'), work_order_id)"
    " FROM sla.clock_sets WHERE running AND due_at IS NOT NULL ORDER BY due_at, work_order_id OFFSET {offset} LIMIT 1"
)


async def calls_of(stack: Stack) -> list[Call]:
    """Twenty calls with values that occur: common, middling, rare and none."""
    unit = str(await query(stack, "SELECT lead FROM dispatch.work_orders GROUP BY lead ORDER BY count(*) DESC LIMIT 1"))
    rare = str(await query(stack, "SELECT lead FROM dispatch.work_orders GROUP BY lead ORDER BY count(*) LIMIT 1"))
    matter = str(
        await query(stack, "SELECT matter FROM dispatch.work_orders GROUP BY matter ORDER BY count(*) LIMIT 1")
    )
    region = str(await query(stack, "SELECT region_code FROM dispatch.work_orders ORDER BY id DESC OFFSET 77 LIMIT 1"))
    tag = str(
        await query(
            stack,
            "SELECT t FROM (SELECT unnest(tags) t FROM intake.cases LIMIT 9999) s GROUP BY 1 ORDER BY count(*) LIMIT 1",
        )
    )
    month = await query(stack, "SELECT date_trunc('month', min(received_at) + '62 days')::date::text FROM intake.cases")
    period = await query(stack, "SELECT to_char(now() - '40 days'::interval, 'YYYY-MM')")
    case = str(
        await query(stack, "SELECT appeal_id::text FROM intake.cases ORDER BY appeal_id DESC OFFSET 3000 LIMIT 1")
    )
    order = str(await query(stack, f"SELECT order_ids[1]::text FROM intake.case_views WHERE appeal_id = '{case}'"))
    appeals, orders = "/v1/appeals", "/v1/work-orders"
    return [
        Call("appeals", appeals, {}, _APPEALS),
        Call("appeals of a status", appeals, {"status": "in_progress"}, _APPEALS),
        Call("appeals of a region and a status", appeals, {"region": region, "status": "answered"}, _APPEALS),
        Call("appeals of a month and a channel", appeals, {"from": f"{month}T00:00:00Z", "channel": "sms"}, _APPEALS),
        Call("appeals of the busiest unit", appeals, {"unit": unit}, _APPEALS),
        Call("appeals with a rare tag", appeals, {"tag": tag}, _APPEALS),
        Call("words: everyday (小区)", appeals, {"q": "小区"}, _APPEALS),
        Call("words: a place (锦绣苑)", appeals, {"q": "锦绣苑"}, _APPEALS),
        Call("words: none (蛟龙出海)", appeals, {"q": "蛟龙出海"}, _APPEALS),
        Call("words, status and region", appeals, {"q": "投诉", "status": "answered", "region": "460106"}, _APPEALS),
        Call("case", f"{appeals}/{case}"),
        Call("timeline", f"{appeals}/{case}/timeline"),
        Call("orders of the busiest unit", orders, {"unit": unit}, _ORDERS),
        Call("open orders of the busiest unit", orders, {"unit": unit, "status": "accepted"}, _ORDERS),
        Call("orders of a rare unit", orders, {"unit": rare}, _ORDERS),
        Call("orders by words (路灯)", orders, {"q": "路灯"}, _ORDERS),
        Call("orders of a rare matter", orders, {"matter": matter}, _ORDERS),
        Call("red orders", orders, {"lamp": "red"}, _ORDERS),
        Call("clocks of an order", f"/v1/clocks/{order}"),
        Call("lamps", "/v1/lamps", {}, _LAMPS),
        Call("supervisions of level 1", "/v1/supervisions", {"level": "1"}, _SUPERVISIONS),
        Call("call-backs", "/v1/callbacks"),
        Call("rates of a month", f"/v1/evaluations/{period}"),
        Call("event feed", "/v1/events", {}, "SELECT to_json({offset})"),
        Call(
            "event feed of a rare type",
            "/v1/events",
            {"types": "feedback.exclusion_decided"},
            "SELECT to_json({offset})",
        ),
    ]


async def cursor(stack: Stack, call: Call, page: int) -> str | None:
    """`after` of a page, or None when there are not so many rows."""
    values = await query(stack, call.deep.format(offset=(page - 1) * LIMIT - 1))
    if values is None:
        return None
    found = json.loads(str(values))
    return str(found) if isinstance(found, int) else base64.urlsafe_b64encode(orjson.dumps(found)).decode().rstrip("=")


async def measure(stack: Stack, times: int) -> dict[str, Any]:
    """Latency of every call and page; one request at a time, in random order."""
    client = load.Client(stack.port, TOKEN, connections=1)
    planned: list[tuple[str, int, str]] = []
    for call in await calls_of(stack):
        for page in PAGES if call.deep else (1,):
            after = await cursor(stack, call, page) if page > 1 else None
            if page > 1 and after is None:
                continue
            query_string = urlencode(
                {**call.filters, **({"limit": str(LIMIT)} if call.deep else {}), **({"after": after} if after else {})},
                quote_via=quote,
            )
            planned += [(call.name, page, f"{call.path}?{query_string}")] * (times + 1)
    random.Random(1).shuffle(planned)
    met: set[tuple[str, int]] = set()
    spent: dict[tuple[str, int], list[float]] = {}
    errors: list[str] = []
    before = stack.cpu_ms()
    for name, page, path in planned:
        began = time.perf_counter()
        status, body = await client.request("GET", path)
        took = (time.perf_counter() - began) * 1000
        if status != 200:
            errors.append(f"{name}: {status} {body[:200]!r}")
        if (name, page) in met:  # the first call of each warms caches up
            spent.setdefault((name, page), []).append(took)
        met.add((name, page))
    await client.close()
    every = [one for times_of in spent.values() for one in times_of]
    deep = {page: [one for (_, p), found in spent.items() if p == page for one in found] for page in PAGES}
    return {
        "cases": await count(stack),
        "requests": len(every),
        "errors": len(errors),
        "first_errors": errors[:3],
        "ms": {
            name: round(load.percentile(every, share), 1)
            for name, share in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99))
        },
        "p95_ms_by_page": {page: round(load.percentile(found, 0.95), 1) for page, found in deep.items() if found},
        "calls": {
            name: {
                page: round(load.percentile(found, 0.5), 1)
                for (other, page), found in sorted(spent.items())
                if other == name
            }
            for name in dict.fromkeys(name for name, _ in spent)
        },
        "slow": sorted(
            f"{name}, page {page}" for (name, page), found in spent.items() if load.percentile(found, 0.95) > SLOW_MS
        ),
        "cpu_ms_per_request": {
            name: round((after - before.get(name, 0.0)) / len(planned), 2) for name, after in stack.cpu_ms().items()
        },
        "rss_mb": stack.rss_mb(),
    }


def main() -> None:
    transport, history, folder, rest = arguments_of(sys.argv[1:])
    times = int(rest.get("n", "5"))
    figures: dict[str, Any] = {}
    if small := int(rest.get("small", min(10_000, history // 10))):
        with with_history(transport, small, None) as stack:
            figures["small"] = asyncio.run(measure(stack, times))
    with with_history(transport, history or 10_000, folder) as stack:
        figures["large"] = asyncio.run(measure(stack, times))
    if small:
        figures["p95_ratio"] = round(figures["large"]["ms"]["p95"] / max(0.1, figures["small"]["ms"]["p95"]), 2)
    print(
        json.dumps(
            {"bench": "search", **machine(), "transport": transport, "load_average": load_average(), **figures},
            ensure_ascii=False,
        )
    )


if __name__ == "__main__":
    main()
