"""Plays some hundred stories once, through the real services, and reads what they left in every table."""

import random
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import asyncpg

from deploy.local.demo.people import places
from services.classify.grammar import Grammar
from shared.city import load as load_city
from shared.db.database import plain_url
from shared.settings import Settings
from shared.testing.harness import Harness
from tools.seed import stories
from tools.seed.stage import RecordingClock, Stage, Story, StoryFailed
from tools.seed.stories import Case, Life
from tools.seed.tables import OF_CASES, OF_RUNTIME

AGO = timedelta(weeks=12)
"""how far before the present the stories end: real and business instants of a row can be told apart by this gap"""
LEAD = timedelta(days=33)
CHANNELS = {"phone": 45, "web": 14, "app": 12, "wechat": 14, "mini_program": 6, "sms": 3, "grid": 3, "email": 2}
UUID_RE = re.compile(rb"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")


@dataclass(frozen=True)
class Size:
    """How many stories: cohorts begin twelve hours apart (14: two a day for a week)."""

    cohorts: int = 14
    per_cohort: int = 20
    open: int = 100


@dataclass(frozen=True)
class Played:
    """One story and its rows, as COPY text, by (schema, table)."""

    life: str
    open: bool
    weight: float
    rows: dict[tuple[str, str], list[bytes]]


@dataclass(frozen=True)
class Rehearsal:
    """What was played: `end` is the business instant at which it stopped."""

    end: datetime
    turned: list[tuple[int, datetime]]
    columns: dict[tuple[str, str], list[str]]
    stories: list[Played]
    units: list[bytes]
    """rows of evaluate.units"""


async def rehearse(
    server_url: str, settings: Settings, seed: int, now: datetime, say: Callable[[str], None], size: Size
) -> Rehearsal:
    """Play all stories on a database of its own on `server_url`, dropped at the end."""
    end = now.replace(second=0, microsecond=0) - AGO
    clock = RecordingClock(end - LEAD - timedelta(days=3))
    async with Harness.fresh(
        server_url, *OF_CASES, clock=clock, city=settings.city, platform=settings.platform, platforms=settings.platforms
    ) as hub:
        stage = Stage(hub, clock)
        cast = _Cast(stage, settings, random.Random(seed))
        failures: list[str] = []
        started: list[tuple[Life, float, bool, Case]] = []

        def begin(life: Life, weight: float, is_open: bool, when: datetime) -> None:
            case = cast.case()
            started.append((life, weight, is_open, case))
            stage.at(when, _guarded(life, case, failures))

        chance = random.Random(f"{seed}/plan")
        for cohort in range(size.cohorts):
            when = end - LEAD + cohort * timedelta(hours=12) + timedelta(minutes=37 * cohort % 240)
            for life in _spread(stories.ENDED, size, cohort, chance):
                begin(life, stories.ENDED[life], False, when)
        for life, (percent, ages) in stories.OPEN.items():
            count = max(len(ages), size.open * percent // 100)
            for number in range(count):
                begin(life, percent / count, True, end - timedelta(seconds=ages[number % len(ages)]))
        await stage.play(end, lambda share: say(f"playing {len(started)} stories: {share:.0%}"))
        if len(failures) > len(started) // 20:
            raise StoryFailed(f"{len(failures)} of {len(started)} stories failed; the first: {failures[0]}")
        say(f"played {len(started) - len(failures)} stories" + (f", {len(failures)} failed" if failures else ""))
        pg: Any = await asyncpg.connect(plain_url(hub.settings.database_url), server_settings={"timezone": "UTC"})
        try:
            return await _read(pg, end, clock, started)
        finally:
            await pg.close()


async def _guarded(life: Life, case: Case, failures: list[str]) -> Story:
    try:
        async for pause in life(case):
            yield pause
    except (StoryFailed, StopIteration, LookupError) as error:
        failures.append(f"{life.__name__}: {error!r}")
        case.id = ""  # what is half told is not cloned


def _spread(lives: dict[Life, int], size: Size, cohort: int, chance: random.Random) -> list[Life]:
    """The lives of a cohort: each rare one now and then, the rest by weight."""
    names = list(lives)
    rare = [names[(cohort + step * size.cohorts) % len(names)] for step in range(2)]
    return rare + chance.choices(names, [lives[name] for name in names], k=size.per_cohort - len(rare))


class _Cast:
    """Invented citizens: the demo grammar's sentences, townships of the platform, phones that belong to nobody."""

    def __init__(self, stage: Stage, settings: Settings, chance: random.Random) -> None:
        self.stage = stage
        self.chance = chance
        grammar = Grammar.read(load_city(settings.city).file("grammar.yaml"))
        self.sentences = grammar.sentences(per_pattern=2, seed=chance.randrange(2**31))
        chance.shuffle(self.sentences)
        self.places = places(settings.platform)
        self.number = 0

    def case(self) -> Case:
        self.number += 1
        sentence = self.sentences[self.number % len(self.sentences)]
        channel = self.chance.choices(list(CHANNELS), list(CHANNELS.values()))[0]
        return Case(
            self.stage,
            sentence.text,
            self.chance.choice(self.places)[0],
            channel,
            f"1990000{self.number:04d}",
            anonymous=self.chance.random() < 0.06,
            groups=("elderly",) if self.chance.random() < 0.08 else (),
            emergency=channel == "grid",
            external_id=f"story-{self.number}" if self.chance.random() < 0.3 else None,
        )


async def _read(
    pg: Any, end: datetime, clock: RecordingClock, started: list[tuple[Life, float, bool, Case]]
) -> Rehearsal:
    """Rows by story: two rows that share an id belong together."""
    columns: dict[tuple[str, str], list[str]] = {}
    lines: dict[tuple[str, str], list[bytes]] = {}
    for schema, names in OF_CASES.items():
        for name in (*names, *OF_RUNTIME):
            columns[schema, name] = await _columns(pg, schema, name)
            lines[schema, name] = await _copy_out(pg, schema, name, columns[schema, name])
    belongs = _Belongs()
    for rows in lines.values():
        for line in rows:
            belongs.together(UUID_RE.findall(line))
    played: dict[bytes, Played] = {}
    for life, weight, is_open, case in started:
        if case.id:
            played.setdefault(belongs.root(case.id.encode()), Played(life.__name__, is_open, weight, {}))
    for table, rows in lines.items():
        for line in rows:
            found = UUID_RE.search(line)
            if found and (story := played.get(belongs.root(found[0]))) is not None:
                story.rows.setdefault(table, []).append(line)
    units = await _copy_out(pg, "evaluate", "units", await _columns(pg, "evaluate", "units"))
    return Rehearsal(end, clock.turned, columns, list(played.values()), units)


async def _columns(pg: Any, schema: str, table: str) -> list[str]:
    rows = await pg.fetch(
        "SELECT column_name FROM information_schema.columns WHERE table_schema = $1 AND table_name = $2"
        " AND is_generated = 'NEVER' ORDER BY column_name <> 'position', ordinal_position",
        schema,
        table,
    )
    return [row["column_name"] for row in rows]


async def _copy_out(pg: Any, schema: str, table: str, columns: list[str]) -> list[bytes]:
    parts: list[bytes] = []

    async def take(data: bytes) -> None:
        parts.append(data)

    order = " ORDER BY position" if "position" in columns else ""
    names = ", ".join(f'"{name}"' for name in columns)
    await pg.copy_from_query(f"SELECT {names} FROM {schema}.{table}{order}", output=take)
    return b"".join(parts).splitlines(keepends=True)


class _Belongs:
    """Sets of ids that are connected by any row (union-find)."""

    def __init__(self) -> None:
        self._parent: dict[bytes, bytes] = {}

    def root(self, name: bytes) -> bytes:
        parent = self._parent.setdefault(name, name)
        while parent != name:
            self._parent[name] = self._parent[parent]
            name, parent = parent, self._parent[parent]
        return name

    def together(self, names: list[bytes]) -> None:
        for name in names[1:]:
            self._parent[self.root(name)] = self.root(names[0])
