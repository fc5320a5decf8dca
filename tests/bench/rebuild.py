"""bench-rebuild: months of known truth, published and rebuilt from the journal.

    make bench-rebuild [n=200000] [seed=1] [through=bus]

Invents `n` cases that close in three months (tests/truth: first what happened, then the events that tell of it) and
writes the events into the journal as it writes them itself; `through=bus` delivers them to journal and evaluate
instead, one to three times each and in mixed order, which takes long. Publishes the months over HTTP and compares every
published number with what DuckDB makes of the truth. Then processes of their own count the months again from the
journal's feed, each on a fresh database with other settings (memory, zone, dates), in another zone and locale: one in
one go, one that is killed half way and started again. Identical bytes, in how many events a second; beside it the CPU
of the three processes that took part. Also the ranking page and the bulletin of 300 units.
The last line is one JSON object.
"""

import asyncio
import json
import os
import resource
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any

import asyncpg

from services.evaluate.facts import TYPES
from services.journal import repository as journal
from shared.bus.records import Record
from shared.testing.postgres import url_of
from tests.bench.server import kept_folder, postgres
from tests.bench.sla import stage
from tests.bench.sla.orders import bus, publish
from tests.bench.stack import ROOT, TOKEN, tell
from tests.truth.calculation import differences
from tests.truth.delivery import badly, message_of, record_of
from tests.truth.lives import PLATFORM, World

BAR = 20_000
"""events of the journal a second"""
MONTHS = ("2026-08", "2026-09", "2026-10")
PATIENCE_S = 7_200.0


def ask(address: str, method: str, path: str) -> Any:
    """A JSON answer (202 is asked again)."""
    request = urllib.request.Request(
        address + path,
        method=method,
        data=b"{}" if method == "POST" else None,
        headers={"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"},
    )
    while True:
        with urllib.request.urlopen(request, timeout=120) as answer:
            told = json.load(answer)
        if not (isinstance(told, dict) and told.get("status") == "reading"):
            return told
        print(f"{path}: position {told['position']:,} of {told['of']:,}", file=sys.stderr)


def timed(address: str, path: str, times: int) -> float:
    """Seconds until the answer (a page, where there is one) is there, the middle one of several."""
    request = urllib.request.Request(
        address + path, headers={"Authorization": f"Bearer {TOKEN}", "Accept": "text/html"}
    )
    took = []
    for _ in range(times):
        began = time.monotonic()
        with urllib.request.urlopen(request, timeout=60) as answer:
            answer.read()
        took.append(time.monotonic() - began)
    return sorted(took)[times // 2]


def rebuild(url: str, folder: Path, feed: str, *, kill_after_s: float | None = None) -> dict[str, Any] | None:
    """The command in a process of its own, on another database, in another zone; None when it was killed."""
    process = subprocess.Popen(
        [sys.executable, "-m", "services.evaluate", "rebuild", MONTHS[-1]],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        env={
            **os.environ,
            "DATABASE_URL": url,
            "SUSHU_DATA_DIR": str(folder),
            "SUSHU_JOURNAL_URL": feed,
            "TZ": "Pacific/Kiritimati",
            "LC_ALL": "C",
            "PYTHONHASHSEED": "7",
        },
    )
    try:
        output, _ = process.communicate(timeout=kill_after_s or PATIENCE_S)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        process.communicate()
        return None
    found: dict[str, Any] = json.loads(output)
    return found


def children_s() -> float:
    """CPU seconds of the processes that were started here and have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


async def fresh(server_url: str, name: str) -> str:
    """A database with nothing in it, in another zone, with little memory for sorting and other habits in plans."""
    pg: Any = await asyncpg.connect(server_url)
    try:
        await pg.execute(f"DROP DATABASE IF EXISTS {name}")
        await pg.execute(f"CREATE DATABASE {name}")
        for setting in ("work_mem = '256kB'", "timezone = 'Asia/Kathmandu'", "datestyle = 'German, DMY'"):
            await pg.execute(f"ALTER DATABASE {name} SET {setting}")
    finally:
        await pg.close()
    return url_of(server_url, name)


async def write(url: str, world: World) -> int:
    """The events in the journal, in the order of their times among some thousand lives; returns how many."""
    pg: Any = await asyncpg.connect(url)
    try:
        [role] = await pg.fetch("SELECT nspowner::regrole::text AS name FROM pg_namespace WHERE nspname = 'journal'")
        await pg.execute(f"SET ROLE {role['name']}")
        await pg.execute("SET search_path TO journal")
        await journal.care(pg, datetime.now(UTC))
        count, began = 0, time.monotonic()
        told = world.events()
        while some := sorted(islice(told, 50_000), key=lambda one: one.time):
            for first in range(0, len(some), 1_000):
                messages = [message_of(one) for one in some[first : first + 1_000]]
                await journal.append(pg, PLATFORM, messages)
            count += len(some)
            print(f"{count:,} events, {time.monotonic() - began:.0f} s", file=sys.stderr)
        return count
    finally:
        await pg.close()


async def snapshots(url: str) -> dict[str, bytes]:
    """The bytes that a database keeps, by month."""
    rows = await stage.query(url, "SELECT period, body FROM evaluate.publications")
    return {row["period"]: row["body"] for row in rows}


async def bench(cases: int, seed: int, through: str, folder: Path) -> tuple[dict[str, Any], bool]:
    with postgres(folder) as server:
        url = await stage.fresh_database(server, folder, "journal", "evaluate")
        with (
            stage.replicas("journal", 1, url, folder) as [keeper],
            stage.replicas("evaluate", 1, url, folder, SUSHU_JOURNAL_URL=keeper.address) as [evaluate],
        ):
            world = World(seed, cases, MONTHS, units=300)
            began, sent = time.monotonic(), 0

            def records() -> Iterator[Record]:
                for number, one in enumerate(badly(world.events(), Random(seed), 20_000)):
                    if number % 100_000 == 0:
                        print(f"{number:,} deliveries, {time.monotonic() - began:.0f} s", file=sys.stderr)
                    yield record_of(one)

            if through == "bus":
                async with bus(url) as transport:
                    sent = await publish(transport, records())
            else:
                sent = await write(url, world)
            for service in ("journal", "evaluate"):
                for topic in TYPES:
                    assert await stage.until(url, stage.UNREAD.format(service=service, topic=topic), PATIENCE_S), topic
            delivered = time.monotonic() - began
            events = int(ask(keeper.address, "GET", "/v1/events/counts?after=latest")["next"])
            began = time.monotonic()
            published = [ask(evaluate.address, "POST", f"/v1/evaluations/{month}/publish") for month in MONTHS]
            took = time.monotonic() - began
            page_ms = timed(evaluate.address, f"/v1/rankings/{MONTHS[-1]}", 9) * 1000
            bulletin_s = timed(evaluate.address, f"/v1/bulletins/{MONTHS[-1]}?format=pdf", 3)
            kept = await snapshots(url)
            numbers, wrong = 0, []
            for month in MONTHS:
                compared, differing = differences(json.loads(kept[month]), world.truth)
                numbers += compared
                wrong += [f"{month} {difference}" for difference in differing]
            for difference in wrong[:20]:
                print(difference, file=sys.stderr)
            give_up = time.monotonic() + 60
            while int(ask(keeper.address, "GET", "/v1/events/counts?after=latest")["next"]) < events + len(MONTHS):
                assert time.monotonic() < give_up, "the journal has not heard of the publications"
                await asyncio.sleep(0.2)
            one = await fresh(server.url, "fresh_one")
            before = {"journal": keeper.cpu_s(), "postgres": server.cpu_s(), "evaluate": children_s()}
            clean = rebuild(one, folder, keeper.address)
            assert clean is not None
            after = {"journal": keeper.cpu_s(), "postgres": server.cpu_s(), "evaluate": children_s()}
            two = await fresh(server.url, "fresh_two")
            killed = rebuild(two, folder, keeper.address, kill_after_s=3 + clean["seconds"] / 2)
            again = rebuild(two, folder, keeper.address)
            same = await snapshots(one) == kept and await snapshots(two) == kept
    figures = {
        "cases": cases,
        "through": through,
        "events": events,
        "deliveries": sent,
        "delivery_s": round(delivered, 1),
        "numbers_compared": numbers,
        "numbers_wrong": len(wrong),
        "publish_three_months_s": round(took, 1),
        "publish_events_per_second": round(events / took),
        "ranking_page_ms": round(page_ms, 1),
        "bulletin_pdf_s": round(bulletin_s, 2),
        "rebuild_s": clean["seconds"],
        "rebuild_events_per_second": clean["events_per_second"],
        "rebuild_cpu_us_per_event": {name: round((after[name] - before[name]) / events * 1e6, 1) for name in before},
        "killed_half_way": killed is None,
        "resumed": again,
        "identical_bytes": same,
        "digests": {one["period"]: one["digest"][:16] for one in published},
    }
    return figures, same and not wrong and clean["identical"] and clean["events_per_second"] >= BAR


def main() -> None:
    """One run; exit status 1 when the bar is missed."""
    given = dict(argument.split("=", 1) for argument in sys.argv[1:])
    with kept_folder(given, "rebuild") as folder:
        figures, held = asyncio.run(
            bench(int(given.get("n", "200000")), int(given.get("seed", "1")), given.get("through", "journal"), folder)
        )
    tell("rebuild", figures, held=held)


if __name__ == "__main__":
    main()
