"""kill -9 under load: every 2xx is there afterwards, dispatched once; nothing is done twice.

The ledger is kept by the client and judged from outside: HTTP, the event feed, `reconcile`.
"""

import asyncio
import json
import os
import signal
import threading
import time
from collections import Counter
from pathlib import Path

import httpx
import orjson
import pytest

from tests.bench import load
from tests.bench.journey import Journey
from tests.bench.stack import TOKEN, Stack, free_port, running

RATE = 100
SERVICES = ("intake", "classify", "dispatch", "sla", "feedback", "evaluate", "journal")


def post_at_rate(port: int, seconds: int, seed: int) -> list[load.Result]:
    async def main() -> list[load.Result]:
        client = load.Client(port, TOKEN, connections=32)
        bodies = [orjson.dumps(item) for item in load.appeals(RATE * seconds, seed=seed, prefix=f"kill{seed}")]
        results = await load.at_rate(client, "/v1/appeals", bodies, RATE)
        await client.close()
        return results

    return asyncio.run(main())


def assert_ledger(stack: Stack, accepted: set[str]) -> None:
    """Every accepted appeal was received, classified, given an order and armed, each exactly once."""
    journey = Journey(stack)
    missing = journey.until(
        accepted,
        ["appeal.received", "label.classified", "work_order.dispatched|work_order.opened", "clock.started"],
        60,
    )
    assert not missing, f"{len(missing)} of {len(accepted)} acknowledged appeals did not come through"
    while journey.read():
        pass
    orders: dict[str, set[str]] = {}
    after = ""
    with httpx.Client(
        base_url=stack.url, headers={"Authorization": f"Bearer {TOKEN}"}, timeout=60, trust_env=False
    ) as http:
        while True:
            page = http.get("/v1/events", params={"after": after, "limit": 1000}).json()
            if not page["next"]:
                break
            after = page["next"]
            for event in page["items"]:
                if event["type"].startswith("work_order."):
                    for appeal in event["data"]["after"]["appeal_ids"]:
                        orders.setdefault(appeal, set()).add(event["subject"])
        assert all(len(orders[appeal]) == 1 for appeal in accepted), "an appeal has two orders"
        for service in SERVICES:
            deadline = time.monotonic() + 30
            while True:
                answer = http.get(f"/ops/{service}/reconcile").json()
                if answer["differences"] == 0 or time.monotonic() > deadline:
                    break
                time.sleep(0.5)
            assert answer["differences"] == 0, f"{service}: {answer}"
        sample = sorted(accepted)[:: max(1, len(accepted) // 50)]
        for appeal in sample:
            case = http.get(f"/v1/appeals/{appeal}")
            assert case.status_code == 200
            assert len(case.json()["work_orders"]) == 1


def accepted_of(results: list[load.Result]) -> set[str]:
    assert all(one.status in (0, 200, 201, 502, 503) for one in results), Counter(one.status for one in results)
    return {json.loads(one.body)["id"] for one in results if one.status in (200, 201)}


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_kill_of_the_whole_stack_in_one_process_loses_nothing(tmp_path: Path) -> None:
    folder, port = tmp_path / "data", free_port()
    accepted: set[str] = set()
    for seed in (1, 2):
        with running("embedded", folder, port) as stack:
            pids = {
                pid
                for pids in stack.facts["pids"].values()
                if pids
                for pid in (pids if isinstance(pids, list) else [pids])
            }

            def kill(pids: set[int] = pids) -> None:
                time.sleep(4)
                for pid in pids:
                    os.kill(pid, signal.SIGKILL)

            killer = threading.Thread(target=kill)
            killer.start()
            results = post_at_rate(port, 6, seed)
            killer.join()
        found = accepted_of(results)
        assert len(found) > RATE, "the load must have been flowing before the kill"
        assert len(found) < len(results), "the kill must have come in the middle"
        accepted |= found
    with running("embedded", folder, port) as stack:
        assert_ledger(stack, accepted)


@pytest.mark.slow
@pytest.mark.kafka
@pytest.mark.timeout(400)
def test_kill_of_each_single_service_on_kafka_loses_nothing(kafka_possible: None, tmp_path: Path) -> None:
    with running("kafka", tmp_path / "data") as stack:
        results: list[load.Result] = []
        poster = threading.Thread(target=lambda: results.extend(post_at_rate(stack.port, 4 * len(SERVICES), 3)))
        poster.start()
        for service in SERVICES:
            time.sleep(3)
            for pid in stack.facts["pids"][service]:
                os.kill(pid, signal.SIGKILL)
        poster.join()
        accepted = accepted_of(results)
        assert len(accepted) > len(results) / 2
        assert_ledger(stack, accepted)
