"""`POST /v1/sla/what-if`: which open deadlines would move under other rules. Reads everything, changes nothing.

It counts with `lifecycle.retimed`, as `Handlers.on_rules` does when the rules come into force.
"""

from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import orjson

from services.sla import repository
from services.sla.domain import lifecycle
from services.sla.domain.clock_set import Move, Terms, moves
from services.sla.repository import Row
from services.sla.terms import TermsBook
from shared.clock import rfc3339
from shared.db.database import Database
from shared.security.principal import Principal

PAGE = 250
"""orders between two looks at what else the process has to do"""


def moves_of(row: Row, at: datetime, terms: Terms, book: TermsBook) -> Iterator[Move]:
    """The deadlines of one order that `terms` would move at `at`, after what holds by then anyway."""
    if row.clock_set is None:
        return
    before = row.clock_set
    for newer in book.since(before.rules, at):
        if newer.since is not None:
            before, _ = lifecycle.retimed(before, newer.since, newer)
    after, _ = lifecycle.retimed(before, at, terms)
    yield from moves(before, after)


async def what_if(database: Database, book: TermsBook, who: Principal, at: datetime, terms: Terms) -> bytes:
    """The answer as JSON: counts by unit, and every deadline that would move."""
    orders = clocks = 0
    moved: Counter[str] = Counter()
    earlier: Counter[str] = Counter()
    later: Counter[str] = Counter()
    parts: list[bytes] = []
    after = ""
    async with database.look_up() as pg:
        while True:
            rows = await repository.running_page(pg, who, after, PAGE)
            items = []
            for row in rows:
                orders += 1
                clocks += sum(clock.running for clock in row.clock_set.clocks) if row.clock_set else 0
                for clock, round_, old, new in moves_of(row, at, terms, book):
                    unit = row.owner.unit
                    moved[unit] += 1
                    if old is not None and new is not None:
                        (earlier if new < old else later)[unit] += 1
                    items.append(
                        repository.move_answer(
                            work_order_id=row.work_order_id,
                            unit=unit,
                            clock=clock.value,
                            round=round_,
                            from_at=old,
                            to_at=new,
                        )
                    )
            if items:
                parts.append(orjson.dumps(items)[1:-1])
            if len(rows) < PAGE:
                break
            after = rows[-1].work_order_id
    summary: dict[str, Any] = {
        "effective_from": rfc3339(at),
        "policy": terms.policy.version,
        "calendar": terms.calendar.version,
        "open_orders": orders,
        "open_clocks": clocks,
        "moved": moved.total(),
        "by_unit": [
            {"unit": unit, "moved": count, "earlier": earlier[unit], "later": later[unit]}
            for unit, count in sorted(moved.items())
        ],
    }
    return orjson.dumps(summary)[:-1] + b',"items":[' + b",".join(parts) + b"]}"
