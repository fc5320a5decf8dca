"""The SQL of the memory: `classify.memory`, and the number that grows with each decision (`knowledge.learnt`).

Who writes holds the row of that number until it commits, so numbers become visible in their order and a process that
has read up to one has missed nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from services.classify.memory.index import Decided, Index
from services.classify.tables import memory
from shared.db import bulk

_COLUMNS = ", ".join(("wording", "actor", "matter", "catalogue", "at", "sketch"))


async def remember(pg: Any, decisions: Mapping[str, Decided]) -> None:
    """Keep the last decision about each appeal (by its id); what another person decided about it before is overturned
    and no longer remembered."""
    if not decisions:
        return
    learnt = await pg.fetchval("UPDATE classify.knowledge SET learnt = learnt + 1 RETURNING learnt")
    await pg.execute(
        f"UPDATE {memory.fullname} AS t SET matter = NULL, learnt = $3"
        " FROM unnest($1::text[], $2::text[]) AS r(appeal_id, actor)"
        " WHERE t.appeal_id = r.appeal_id AND t.actor <> r.actor AND t.matter IS NOT NULL",
        list(decisions),
        [one.actor for one in decisions.values()],
        learnt,
    )
    rows = {
        (one.wording, one.actor): {
            "wording": one.wording,
            "actor": one.actor,
            "appeal_id": appeal_id,
            "matter": one.matter,
            "catalogue": one.catalogue,
            "at": one.at,
            "sketch": one.sketch,
            "learnt": learnt,
        }
        for appeal_id, one in decisions.items()
        if one.sketch
    }
    changed = [column.name for column in memory.columns if not column.primary_key]
    await bulk.insert(pg, memory, list(rows.values()), conflict=["wording", "actor"], update=changed)


async def follow(pg: Any, index: Index, known: int, learnt: int) -> None:
    """Let `index`, which knows all decisions up to the number `known`, learn those up to `learnt`."""
    rows = await pg.fetch(
        f"SELECT * FROM (SELECT {_COLUMNS}, learnt FROM {memory.fullname} WHERE learnt > $1 AND learnt <= $2"
        " AND (matter IS NOT NULL OR $1 > 0) ORDER BY learnt DESC LIMIT $3) t ORDER BY learnt",
        known,
        learnt,
        index.capacity,
    )
    index.learn([_decided(row) for row in rows])


def _decided(row: Any) -> Decided:
    return Decided(row["wording"], row["actor"], row["matter"], row["catalogue"], row["at"], bytes(row["sketch"]))


async def forget_oldest(pg: Any, capacity: int) -> None:
    """Leave twice what one process keeps: so many rows that nobody needs are deleted at a time, not one by one."""
    await pg.execute(
        f"DELETE FROM {memory.fullname} WHERE learnt < (SELECT learnt FROM {memory.fullname}"
        " ORDER BY learnt DESC OFFSET $1 LIMIT 1)",
        2 * capacity,
    )


async def catalogues(pg: Any) -> Sequence[str]:
    """Versions of the catalogue under which remembered decisions were made."""
    rows = await pg.fetch(f"SELECT DISTINCT catalogue FROM {memory.fullname} WHERE matter IS NOT NULL")
    return [row["catalogue"] for row in rows]
