"""bench-likeness: appeals of other citizens about the same event, found among a million.

    make bench-likeness [n=1000000] [data=FILE text=COL date=COL same=COL,COL number=COL]

The index: `n` invented appeals of the last 30 days in a PostgreSQL of its own, then batches of 500 more are looked for
and remembered, as the service does, before and after a crash of the database. With `data` (CSV or JSONL, plain or .gz:
a city's own cases) also how right the suggestions are: a suggested pair is right when both cite one case number (12
digits or more; `number` is the column of the case's own), or name one place, as all suggested ones do, and agree in one
of `same` (the responsible unit, the matter); and which share of the pairs that cite one number within the week is
suggested. The last line is one JSON object.
"""

import asyncio
import json
import random
import re
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import combinations
from pathlib import Path
from typing import Any

import psutil

from services.classify import recent
from services.classify.domain.likeness import Bounds, Said, same_events
from services.classify.domain.same_event import keys
from services.classify.domain.similarity import sketch
from services.classify.models.dataset import Columns, read_examples
from services.classify.settings import EVENT_DAYS, EVENT_THRESHOLD, RECENT_DAYS
from shared.clock import ZONE, SystemClock
from shared.db import bulk, days
from shared.db.database import Database
from shared.service.process import migrate_service
from shared.settings import Settings
from tests.bench import load
from tests.bench.server import Server, postgres
from tests.bench.stack import TOKEN, machine
from tools.seed.cost import load_average

BATCH = 500
BATCHES = 20
PIECE = 10_000
MANY = 20
"""a number that more cases cite is no case's"""
BOUNDS = Bounds(EVENT_THRESHOLD, timedelta(days=EVENT_DAYS))
_NUMBER = re.compile(r"\d{12,}")
_SYLLABLES = "金龙海府和平长堤滨江望湖文明椰林东坡西岭南沙北关"


def said(name: str, text: str, at: datetime) -> Said:
    """An appeal of a citizen of its own."""
    drawn = sketch(text)
    return Said(name, at, name, "460106", drawn, keys(text, drawn))


def invented(count: int, end: datetime, span: timedelta, seed: int) -> list[Said]:
    """Appeals in the demo's words, on some thousand roads."""
    chance = random.Random(seed)
    texts = [str(item["text"]) for item in load.appeals(2_000, seed=seed)]
    found = []
    for number in range(count):
        road = "".join(chance.choice(_SYLLABLES) for _ in range(3)) + "路"
        found.append(said(f"{seed}-{number}", f"{road}，{chance.choice(texts)}", end - span * chance.random()))
    return found


async def index(server: Server, n: int) -> dict[str, Any]:
    """What a new appeal costs beside `n` that are remembered, and again after the database crashed and came back."""
    database = _database(server)
    now = datetime.now(UTC)
    for back in range(RECENT_DAYS + 1):
        async with database.transaction() as uow:
            await days.keep(uow.pg, "classify", "recent", (now - timedelta(days=back)).date(), 2 * RECENT_DAYS)
    for start in range(0, n, PIECE):
        rows = invented(min(PIECE, n - start), now, timedelta(days=RECENT_DAYS), start)
        async with database.transaction() as uow:
            await bulk.write(uow.pg, recent.remembered(rows))
        print(f"{start + len(rows):,} remembered", file=sys.stderr)
    async with database.read() as pg:
        await pg.execute("VACUUM ANALYZE classify.recent")
    figures = await _batches(database, server, now, n)
    async with database.read() as pg:
        size = await pg.fetchval("SELECT sum(pg_total_relation_size(relid)) FROM pg_partition_tree('classify.recent')")
        rows_before = await pg.fetchval("SELECT count(*) FROM classify.recent")
    await database.close()
    server.crash()
    began = time.perf_counter()
    server.start()
    database = _database(server)
    async with database.read() as pg:
        lost = rows_before - await pg.fetchval("SELECT count(*) FROM classify.recent")
    back_s = time.perf_counter() - began
    after = await _batches(database, server, now, n + BATCHES)
    await database.close()
    return {
        "remembered": n,
        **figures,
        "bytes_per_appeal": round(size / rows_before),
        "process_mb": round(psutil.Process().memory_info().rss / 1e6),
        "after_a_crash": {"back_s": round(back_s, 2), "lost": lost, **after},
    }


def _database(server: Server) -> Database:
    return Database(server.url, "classify", SystemClock(), platform="460100")


async def _batches(database: Database, server: Server, now: datetime, seed: int) -> dict[str, Any]:
    """Milliseconds and CPU (of this process and the server) for each appeal of some batches."""
    looked = added = 0.0
    suggested = 0
    own = psutil.Process()
    cpu = -server.cpu_s()
    for number in range(BATCHES):
        fresh = invented(BATCH, now, timedelta(hours=1), seed + number)
        cpu -= sum(own.cpu_times()[:2])
        async with database.transaction() as uow:
            began = time.perf_counter()
            heard = await recent.heard(uow.pg, [(one.received_at, one.keys) for one in fresh], EVENT_DAYS)
            looked += time.perf_counter() - began
            suggested += sum(link is not None for link in same_events(fresh, heard, BOUNDS))
            began = time.perf_counter()
            await bulk.write(uow.pg, recent.remembered(fresh))
            added += time.perf_counter() - began
        cpu += sum(own.cpu_times()[:2])
    cpu += server.cpu_s()
    appeals = BATCH * BATCHES
    return {
        "look_ms_per_appeal": round(looked / appeals * 1000, 3),
        "add_ms_per_appeal": round(added / appeals * 1000, 3),
        "cpu_ms_per_appeal": round(cpu / appeals * 1000, 3),
        "suggested": round(suggested / appeals, 3),
    }


def judged(data: Path, text: str, date: str, same: Sequence[str], number: str | None) -> dict[str, Any]:
    """Precision and recall of the suggestions on a city's own cases, by the rules at the top."""
    labels = [{str(one.row): one.label for one in read_examples(data, Columns(text, name, date))} for name in same]
    examples = read_examples(data, Columns(text, number or same[0], date))
    cited = {str(one.row): {*_NUMBER.findall(one.text), *([one.label] if number else [])} for one in examples}
    by_key: dict[int, list[Said]] = defaultdict(list)
    pairs: list[tuple[str, str]] = []
    told = [
        said(str(one.row), one.text, datetime.combine(one.day, datetime.min.time(), ZONE))
        for one in examples
        if one.day is not None
    ]
    for new in sorted(told, key=lambda one: (one.received_at, int(one.appeal_id))):
        near = {other.appeal_id: other for key in new.keys for other in by_key[key]}
        (link,) = same_events([new], [list(near.values())], BOUNDS)
        if link:
            pairs.append((link.appeal_id, new.appeal_id))
        for key in new.keys:
            by_key[key].append(new)
    right = sum(
        bool(cited[a] & cited[b]) or any(a in label and label.get(a) == label.get(b) for label in labels)
        for a, b in pairs
    )
    wanted = _citing_one(told, cited)
    joined = _groups(pairs)
    found = sum(joined.get(a, a) == joined.get(b, b) for a, b in wanted)
    return {
        "cases": len(told),
        "naming_a_place": round(sum(bool(one.keys) for one in told) / len(told), 3),
        "suggested": len(pairs),
        "precision": round(right / max(1, len(pairs)), 3),
        "pairs_citing_one_number": len(wanted),
        "recall": round(found / max(1, len(wanted)), 3),
    }


def _citing_one(told: Sequence[Said], cited: dict[str, set[str]]) -> set[tuple[str, str]]:
    """Pairs within the bounds of time that cite one number."""
    by_number: dict[str, list[Said]] = defaultdict(list)
    for one in told:
        for number in cited[one.appeal_id]:
            by_number[number].append(one)
    return {
        (a.appeal_id, b.appeal_id)
        for cases in by_number.values()
        if len(cases) <= MANY
        for a, b in combinations(sorted(cases, key=lambda one: int(one.appeal_id)), 2)
        if abs(a.received_at - b.received_at) <= BOUNDS.within
    }


def _groups(pairs: Sequence[tuple[str, str]]) -> dict[str, str]:
    """Each case's first one: a suggestion leads to an earlier case, which may lead to an earlier one."""
    root: dict[str, str] = {}
    for earlier, later in pairs:
        root[later] = root.get(earlier, earlier)
    return root


def main(argv: Sequence[str]) -> dict[str, Any]:
    given = dict(argument.split("=", 1) for argument in argv)
    n = int(given.pop("n", "1000000"))
    data = given.pop("data", None)
    found: dict[str, Any] = {"bench": "likeness", **machine(), "load_average": load_average()}
    if n:
        with tempfile.TemporaryDirectory(prefix="sushu-likeness-") as folder, postgres(Path(folder)) as server:
            settings = Settings(database_url=server.url, admin_token=TOKEN, data_dir=Path(folder))
            asyncio.run(migrate_service("classify", settings))
            found["index"] = asyncio.run(index(server, n))
    if data:
        same = given.get("same", "unit,matter").split(",")
        found["suggestions"] = judged(
            Path(data), given.get("text", "text"), given.get("date", "date"), same, given.get("number")
        )
    return found


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1:]), ensure_ascii=False))
