"""Roads and estates learned from confirmed cases: in which district they lie (domain.md, Appeal: Place).

A case confirms its place when a client or a full address gave it (confidence ≥ 0.9) and its order was completed. Once
cases are old enough they are read, once each, by the replica that comes first. A name is used when it stood in three
such cases and nine in ten of them lie in one district; a person can take any name out of use, and give it back. At most
20,000 names are kept; those seen least go first.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from services.intake.domain.place_names import place_names
from services.intake.tables import learned_places
from shared.db.database import Database
from shared.db.months import first_key
from shared.errors import Transient, not_found
from shared.http.commands import Answer
from shared.outbox.uow import Uow
from shared.regions import CityDivisions, DivisionDirectory

log = logging.getLogger(__name__)

LEAST_SEEN = 3
AGREED = 0.9
KEPT = 20_000
AT_ONCE = 2_000
AGE = timedelta(days=14)
"""by then most cases are completed, and a return has said so when the place was wrong"""
LOOK_S = 30.0
_CONFIRMED = 0.9
_COUNTY = 6

_CASES = """
SELECT c.appeal_id::text AS id, c.region_code, a.snapshot->>'title' AS title, a.snapshot->>'text' AS text
FROM intake.cases c JOIN intake.appeals a USING (appeal_id)
WHERE c.appeal_id > $1::uuid AND a.appeal_id > $1::uuid AND c.appeal_id < $2::uuid AND a.appeal_id < $2::uuid
 AND c.status IN ('completed', 'answered') AND (a.snapshot->'place'->>'confidence')::real >= $3
ORDER BY c.appeal_id LIMIT $4"""

_BEST = f"""
SELECT DISTINCT ON (name) name, county, seen, state, (sum(seen) OVER (PARTITION BY name))::int AS total
FROM {learned_places.fullname}"""


class LearnedPlaces:
    """`use` is called with the directory whenever names or divisions changed. `home` is the own platform's code."""

    def __init__(
        self,
        database: Database,
        divisions: CityDivisions,
        home: str,
        use: Callable[[DivisionDirectory], None],
    ) -> None:
        self.database = database
        self.divisions = divisions
        self.home = home
        self._use = use
        self._in_use: tuple[DivisionDirectory, dict[str, str]] = (divisions.present, {})

    async def run(self) -> None:
        """Learn and follow, for ever: what a person took out of use is out everywhere within half a minute."""
        while True:
            try:
                await self.learn(datetime.now(UTC) - AGE)  # ids are of real time
                await self.follow()
            except Transient as error:
                log.warning("places are learned later", extra={"error": str(error)})
            await asyncio.sleep(LOOK_S)

    async def learn(self, until: datetime) -> int:
        """Read the completed cases received before `until` that were not read yet, some thousand at a time."""
        async with self.database.transaction() as uow:
            position = await uow.pg.fetchval(
                "SELECT position::text FROM intake.place_lessons WHERE only_row FOR UPDATE SKIP LOCKED"
            )
            if position is None:
                return 0  # another replica is at it
            rows = await uow.pg.fetch(_CASES, position, first_key(until), _CONFIRMED, AT_ONCE)
            if not rows:
                return 0
            counted: dict[str, Counter[str]] = {}
            for row in rows:
                county = self._county(row["region_code"])
                if county is not None:
                    for name in place_names(f"{row['title'] or ''}。{row['text']}"):
                        counted.setdefault(name, Counter())[county] += 1
            await _add(uow, counted, uow.clock.now())
            await uow.pg.execute("UPDATE intake.place_lessons SET position = $1::uuid", rows[-1]["id"])
            return len(rows)

    async def follow(self) -> None:
        """Use what the table and the city's list of divisions say now."""
        async with self.database.read() as pg:
            rows = await self.listed(pg, None, 2 * KEPT)
        names = {row["name"]: row["county"] for row in rows if _in_use(row)}
        divisions = await asyncio.to_thread(self.divisions.today)
        if (divisions, names) != self._in_use:
            directory = divisions.with_names(names)
            await asyncio.to_thread(directory.resolve, "", self.home)
            self._in_use = (divisions, names)
            self._use(directory)

    async def decide(self, name: str, state: str, actor: str, uow: Uow) -> Answer:
        """Take a name out of use (`refused`) or give it back (`learned`). Raises Problem 404."""
        await uow.pg.execute(
            f"UPDATE {learned_places.fullname} SET state = $2, decided_by = $3, decided_at = $4 WHERE name = $1",
            name,
            state,
            actor,
            uow.clock.now(),
        )
        rows = await uow.pg.fetch(f"{_BEST} WHERE name = $1 ORDER BY name, seen DESC", name)
        if not rows:
            raise not_found("This name")
        return self.answer(rows[0])

    def answer(self, row: Any) -> Answer:
        """A name as the API shows it; `in_use` by the rule, unless a person refused it."""
        county = self.divisions.present.get(row["county"])
        return {
            "name": row["name"],
            "region_code": row["county"],
            "region_name": county.name if county else None,
            "seen": row["seen"],
            "of": row["total"],
            "state": row["state"],
            "in_use": _in_use(row),
        }

    async def listed(self, pg: Any, after: str | None, limit: int) -> Sequence[Any]:
        """Names in their order, each with the district that it was seen in most."""
        rows: Sequence[Any] = await pg.fetch(
            f"{_BEST} WHERE $1::text IS NULL OR name > $1 ORDER BY name, seen DESC LIMIT $2", after, limit
        )
        return rows

    def _county(self, code: str) -> str | None:
        """The district of a region of the own platform."""
        regions = self.divisions.present
        chain: Iterable[str] = (code, *regions.ancestors(code))
        county = next((one for one in chain if (region := regions.get(one)) and region.level == 3), None)
        return county if county and regions.is_within(county, self.home) else None


def _in_use(row: Any) -> bool:
    return bool(row["state"] == "learned" and row["seen"] >= max(LEAST_SEEN, AGREED * row["total"]))


async def _add(uow: Uow, counted: dict[str, Counter[str]], now: datetime) -> None:
    """Count each name in its district; what a person said about the name holds for every district."""
    rows = sorted((name, county, n) for name, counties in counted.items() for county, n in counties.items())
    await uow.pg.execute(
        f"INSERT INTO {learned_places.fullname} AS t (name, county, seen, state, last_seen)"
        " SELECT r.name, r.county, r.n, coalesce((SELECT max(o.state)"
        f"  FROM {learned_places.fullname} o WHERE o.name = r.name), 'learned'), $4"
        " FROM unnest($1::text[], $2::text[], $3::int[]) AS r(name, county, n)"
        " ON CONFLICT (name, county) DO UPDATE SET seen = t.seen + excluded.seen, last_seen = excluded.last_seen",
        [name for name, _, _ in rows],
        [county for _, county, _ in rows],
        [n for _, _, n in rows],
        now,
    )
    await uow.pg.execute(
        f"DELETE FROM {learned_places.fullname} WHERE state = 'learned' AND (name, county) IN (SELECT name, county"
        f" FROM {learned_places.fullname} ORDER BY state = 'learned', seen DESC, last_seen DESC OFFSET $1)",
        KEPT,
    )
