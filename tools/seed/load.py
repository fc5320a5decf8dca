"""Puts the clones into the database of a hub: one transaction per chunk over all services' tables, in order of time.

An interrupted seed leaves whole cases only, and goes on where it stopped: how far it came is committed with the rows.
"""

import asyncio
import random
import time
from bisect import bisect_right
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import accumulate
from typing import Any

import asyncpg

from services.dispatch import tables as dispatch
from services.intake import tables as intake
from services.journal import repository as journal
from shared.db import months
from shared.db.database import plain_url
from tools.seed.clone import Chunk, Copier
from tools.seed.rehearsal import Rehearsal
from tools.seed.stories import ENDED
from tools.seed.tables import OF_CASES, OF_RUNTIME
from tools.seed.templates import JOURNAL, Table, Template

CHUNK = 1_000
"""cases of one transaction"""
WRITERS = 2
"""transactions at work at once: one copies its journal under the head's lock while the other copies the rest"""
STEP = 100
JOURNAL_STEP = 4
"""clones whose rows go to the server in one message: some hundred kilobytes"""
OPEN_SHARE = 0.04
BUSIEST = 0.3
"""share of the cases that one unit has: in a real city orders are far from even"""
ATTEMPTS = 8
OTHER_NUMBERS = 104_729
TIDY_S = 3600
"""patience with one table"""
JITTER_S = 25 * 60
WEEK_S = 7 * 86400
LOCK = 7404
_MONTHLY = {"intake": intake.PARTITIONED, "dispatch": (dispatch.order_words,)}
SCHEMA = """
CREATE SCHEMA IF NOT EXISTS seed;
CREATE TABLE IF NOT EXISTS seed.runs (
  seed bigint PRIMARY KEY, cases bigint NOT NULL, months int NOT NULL, journal_months int NOT NULL,
  now timestamptz NOT NULL, first_number bigint NOT NULL, finished_at timestamptz);
CREATE TABLE IF NOT EXISTS seed.chunks (
  seed bigint NOT NULL REFERENCES seed.runs, chunk int NOT NULL, PRIMARY KEY (seed, chunk));
"""


class SeedRefused(Exception):
    """The seed must not, or cannot, be written here; the text says what to do."""


@dataclass(frozen=True)
class Run:
    """What was asked for; `journal_months`: cases that began earlier are left out of the journal."""

    seed: int
    cases: int
    months: int
    journal_months: int
    now: datetime
    first_number: int
    finished: bool


@asynccontextmanager
async def connected(database_url: str) -> AsyncIterator[Any]:
    """A connection of the database's owner; commits need not reach the disk one by one."""
    pg: Any = await asyncpg.connect(
        plain_url(database_url),
        timeout=10,
        server_settings={
            "timezone": "UTC",
            "synchronous_commit": "off",
            "application_name": "sushu-seed",
            "maintenance_work_mem": "512MB",
        },
    )
    try:
        yield pg
    finally:
        await pg.close()


async def begin(pg: Any, seed: int, cases: int, months: int, journal_months: int, now: datetime, *, force: bool) -> Run:
    """The run to do or to go on with. Raises `SeedRefused` beside cases that no seed wrote, unless `force`."""
    if not await pg.fetchval("SELECT pg_try_advisory_lock($1)", LOCK):
        raise SeedRefused("Another seed is at work on this database; wait for it.")
    await pg.execute(SCHEMA)
    known = await pg.fetchrow("SELECT * FROM seed.runs WHERE seed = $1", seed)
    if known is None:
        if not force and await pg.fetchval(
            "SELECT EXISTS (SELECT FROM intake.appeals) AND NOT EXISTS (SELECT FROM seed.runs)"
        ):
            raise SeedRefused(
                "This hub holds cases of its own. A seed beside them cannot be taken out again; with force=yes it is"
                " written all the same."
            )
        # ahead of what live appeals take; some more, so that seeds beside each other do not meet modulo a million
        first = await pg.fetchval(
            "SELECT setval('intake.reference_numbers', nextval('intake.reference_numbers') + $1) - $1",
            cases + cases // 10 + 371_293,
        )
        known = await pg.fetchrow(
            "INSERT INTO seed.runs VALUES ($1, $2, $3, $4, $5, $6) RETURNING *",
            seed,
            cases,
            months,
            journal_months,
            now,
            first,
        )
    elif (known["cases"], known["months"], known["journal_months"]) != (cases, months, journal_months):
        raise SeedRefused(
            f"seed={seed} was begun with n={known['cases']} months={known['months']} journal={known['journal_months']}:"
            " go on with these, or take another seed=."
        )
    return Run(
        seed, cases, months, journal_months, known["now"], known["first_number"], known["finished_at"] is not None
    )


async def business_now(pg: Any) -> datetime:
    """The present of the hub: a stack may have a turned clock."""
    if await pg.fetchval("SELECT to_regclass('sim.clock') IS NOT NULL"):
        row = await pg.fetchrow("SELECT real_at, business_at, speed FROM sim.clock")
        if row is not None:
            elapsed: timedelta = (datetime.now(UTC) - row["real_at"]) * row["speed"]
            at: datetime = row["business_at"] + elapsed
            return at
    return datetime.now(UTC)


class Loader:
    """Writes one run."""

    def __init__(self, run: Run, found: Rehearsal, templates: list[Template], copier: Copier) -> None:
        self.run = run
        self.copier = copier
        self.units = b"".join(found.units)
        self.columns = {table: ", ".join(f'"{name}"' for name in names) for table, names in found.columns.items()}
        ended = [one for one in templates if not one.open]
        self.ended, self.ended_weights = ended, _weights(ended)
        self.open = [one for one in templates if one.open]
        self.open_weights = list(accumulate(one.weight for one in self.open))
        self.open_from = run.cases - min(run.cases, max(round(run.cases * OPEN_SHARE), min(60, run.cases // 4)))
        """cases after so many go on"""
        self.latest = int((run.now - found.end).total_seconds())
        """shift of a story that goes on: it is now as old as it was when the rehearsal ended"""
        self.last_week = self.latest // WEEK_S * WEEK_S
        """shift of an ended story of the last weeks: by whole weeks, so that days of work stay days of work"""
        self.weeks = max(1, round(run.months * 30.44 / 7) - 5)
        self.journal_from = run.now.timestamp() - run.journal_months * 30.44 * 86400
        self.spent: dict[str, float] = {}
        """seconds of COPY by table"""

    async def write(self, url: str, pg: Any, say: Callable[[int, float], None]) -> int:
        """All that is missing; returns how many cases were written. Safe to interrupt at any moment."""
        if self.run.finished:
            return 0
        await self._months(pg)
        await self._units(pg)
        held = {row["chunk"] for row in await pg.fetch("SELECT chunk FROM seed.chunks WHERE seed = $1", self.run.seed)}
        missing = deque(n for n in range(-(-self.run.cases // CHUNK)) if n not in held)
        before = len(held) * CHUNK
        written = 0
        began = time.monotonic()

        async def writer() -> None:
            nonlocal written
            async with connected(url) as own:
                while missing:
                    number = missing.popleft()
                    wrote = await self._write_chunk(own, number)
                    written += wrote  # not in one statement: the other writer adds to it during the wait
                    say(before + written, written / max(0.001, time.monotonic() - began))

        async with self._undisturbed(url), asyncio.TaskGroup() as group:
            for _ in range(WRITERS):
                group.create_task(writer())
        await pg.execute("UPDATE seed.runs SET finished_at = now() WHERE seed = $1", self.run.seed)
        return written

    @asynccontextmanager
    async def _undisturbed(self, url: str) -> AsyncIterator[None]:
        """Keep autovacuum from the tables that grow: it would read each of them again and again, `tidy` does so once.

        Held by an open transaction without a snapshot: nothing waits for it but vacuums and changes of these tables,
        and it is gone with this process. Parents and the partitions for anything else are left out, so that a service
        can make the next month meanwhile.
        """
        async with connected(url) as pg, pg.transaction():
            tables = await pg.fetch(
                "SELECT relid::regclass::text AS name FROM unnest($1::text[]) root, LATERAL pg_partition_tree(root)"
                " WHERE isleaf AND relid::regclass::text NOT LIKE '%\\_other' UNION"
                " SELECT root FROM unnest($1::text[]) root JOIN pg_class c ON c.oid = root::regclass AND relkind = 'r'",
                [f"{schema}.{name}" for schema, names in OF_CASES.items() for name in names],
            )
            await pg.execute(f"LOCK TABLE {', '.join(row['name'] for row in tables)} IN SHARE UPDATE EXCLUSIVE MODE")
            yield

    async def _write_chunk(self, pg: Any, number: int) -> int:
        """One chunk in one transaction; returns its appeals. A day's numbers end at a million (domain.md, Appeal), so
        that another seed may have some of them: then others are taken."""
        for attempt in range(ATTEMPTS):
            chunk = await asyncio.to_thread(self._chunk, number, attempt * OTHER_NUMBERS)
            try:
                await self._copy_chunk(pg, number, chunk)
                return chunk.appeals
            except asyncpg.UniqueViolationError as taken:
                if taken.constraint_name != "reference_keys_pkey":
                    raise
        raise SeedRefused(
            f"The reference numbers of some days are nearly used up (chunk {number}): seed a hub of its own."
        )

    async def _copy_chunk(self, pg: Any, number: int, chunk: Chunk) -> None:
        async with pg.transaction():
            for table, rows in chunk.rows.items():
                await self._copy(pg, table, _pieces(rows))
            await pg.execute("INSERT INTO seed.chunks VALUES ($1, $2)", self.run.seed, number)
            await self._count(pg, chunk)
            if chunk.told:
                first = await self._positions(pg, chunk.events)
                await self._copy(pg, JOURNAL, chunk.journal(first, JOURNAL_STEP))

    async def tidy(self, url: str, say: Callable[[str], None]) -> None:
        """Statistics and visibility of what was written, so that the hub is as quick at once as it will be later."""
        left = [f"{schema}.{name}" for schema, names in OF_CASES.items() for name in (*names, *OF_RUNTIME)]
        left.sort(key=lambda name: self.spent.get(name, 0.0))

        async def worker() -> None:
            async with connected(url) as own:
                while left:
                    table = left.pop()  # the largest first
                    say(f"VACUUM ANALYZE {table}, {len(left)} more")
                    await own.execute(f"VACUUM (ANALYZE) {table}", timeout=TIDY_S)

        async with asyncio.TaskGroup() as group:
            for _ in range(WRITERS):
                group.create_task(worker())

    def _chunk(self, number: int, ahead: int = 0) -> Chunk:
        """One chunk's clones as text; the same for the same run whenever it is made. `ahead`: its reference numbers
        are so much higher than planned."""
        chunk = Chunk()
        chance = random.Random(f"{self.run.seed}/{number}")
        first = number * CHUNK
        planned: list[tuple[Template, int]] = []
        count = first
        while count < min(first + CHUNK, self.run.cases):
            template, shift = self._draw(count, chance)
            if count + template.appeals <= min(first + CHUNK, self.run.cases):
                count += template.appeals
                planned.append((template, shift))
        planned.sort(key=lambda plan: plan[0].first + plan[1])
        for serial, (template, shift) in enumerate(planned, start=first):
            told = template.open or template.first + shift >= self.journal_from
            reference = self.run.first_number + ahead + first + chunk.appeals
            self.copier.add(chunk, template, shift, serial, reference, chance, told=told)
        return chunk

    def _draw(self, count: int, chance: random.Random) -> tuple[Template, int]:
        """A story and when it is told: ended ones week by week through the months, open ones now."""
        if count >= self.open_from:
            return _one_of(self.open, self.open_weights, chance), self.latest - chance.randrange(600)
        week = self.weeks - 1 - count * self.weeks // self.open_from
        shift = self.last_week - week * WEEK_S - chance.randrange(JITTER_S)
        return _one_of(self.ended, self.ended_weights, chance), shift

    async def _months(self, pg: Any) -> None:
        """Partitions of the months that the history needs, made as the services that own them."""
        first = self.run.now - timedelta(days=31 * self.run.months + 31)
        for schema in ("intake", "dispatch", "journal"):
            role = await self._role(pg, schema)
            async with pg.transaction():
                if role:
                    await pg.execute(f'SET LOCAL ROLE "{role}"')
                await pg.execute(f"SET LOCAL search_path TO {schema}")
                month = months.month_of(first)
                while month <= self.run.now + timedelta(days=62):
                    if schema == "journal":
                        await journal.care(pg, month)
                    else:
                        await months.make(pg, schema, _MONTHLY[schema], month)
                    month = months.month_of(month, 1)

    async def _role(self, pg: Any, schema: str) -> str | None:
        found: str | None = await pg.fetchval(
            "SELECT nspowner::regrole::text FROM pg_namespace WHERE nspname = $1", schema
        )
        return found.strip('"') if found else None

    async def _positions(self, pg: Any, count: int) -> int:
        """Take `count` positions of the journal; returns the first. Locks the head until the commit."""
        first: int = await pg.fetchval(
            "INSERT INTO journal.head VALUES ($1, $2) ON CONFLICT (platform) DO UPDATE"
            " SET position = journal.head.position + $2 RETURNING position - $2 + 1",
            self.copier.platform,
            count,
        )
        return first

    async def _copy(self, pg: Any, table: Table, pieces: Iterable[bytes]) -> None:
        began = time.monotonic()

        async def source() -> AsyncIterator[bytes]:
            for piece in pieces:
                yield piece

        await pg._copy_in(f"COPY {table[0]}.{table[1]} ({self.columns[table]}) FROM STDIN", source(), 600)
        self.spent[".".join(table)] = self.spent.get(".".join(table), 0.0) + time.monotonic() - began

    async def _count(self, pg: Any, chunk: Chunk) -> None:
        """Sums that services keep beside their rows."""
        rows = sorted((model, day, counts) for (model, day), counts in chunk.labels.items())
        names = ("labelled", "in_review", "degraded", "urgent")
        await pg.executemany(
            "INSERT INTO classify.label_counts AS t (model, day, labelled, in_review, degraded, urgent)"
            " VALUES ($1, $2::text::date, $3, $4, $5, $6) ON CONFLICT (model, day) DO UPDATE SET "
            + ", ".join(f"{name} = t.{name} + excluded.{name}" for name in names),
            [(model, day, *(counts[name] for name in names)) for model, day, counts in rows],
        )

    async def _units(self, pg: Any) -> None:
        """Names and regions of the units, as evaluate keeps them."""
        await pg.execute("CREATE TEMP TABLE IF NOT EXISTS seed_units (LIKE evaluate.units)")
        await pg.copy_to_table("seed_units", source=_whole(self.units), schema_name="pg_temp", format="text")
        await pg.execute("INSERT INTO evaluate.units SELECT * FROM seed_units ON CONFLICT DO NOTHING")


def _pieces(rows: list[bytes]) -> Iterator[bytes]:
    """Some rows at a time: each piece is a message to the server."""
    for start in range(0, len(rows), STEP):
        yield b"".join(rows[start : start + STEP])


async def _whole(text: bytes) -> AsyncIterator[bytes]:
    yield text


def _weights(templates: list[Template]) -> list[float]:
    """Summed weights: each life by its share, and one unit with `BUSIEST` of all."""
    of_life: dict[str, int] = {}
    for one in templates:
        of_life[one.life] = of_life.get(one.life, 0) + 1
    shares = {life.__name__: percent for life, percent in ENDED.items()}
    weights = [shares[one.life] / of_life[one.life] for one in templates]
    of_lead: dict[str, float] = {}
    for one, weight in zip(templates, weights, strict=True):
        of_lead[one.lead] = of_lead.get(one.lead, 0.0) + weight
    busiest, held = max(of_lead.items(), key=lambda item: item[1])
    total = sum(weights)
    factor = max(1.0, BUSIEST * (total - held) / ((1 - BUSIEST) * held)) if held < total else 1.0
    return list(
        accumulate(w * (factor if one.lead == busiest else 1.0) for one, w in zip(templates, weights, strict=True))
    )


def _one_of(templates: list[Template], weights: list[float], chance: random.Random) -> Template:
    return templates[bisect_right(weights, chance.random() * weights[-1])]
