"""Reads of the case view, the timeline, the search and the citizen's tracking. No locks, one or two statements each."""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from services.intake.domain import appeal as rules
from services.intake.domain import case, search
from services.intake.handlers import visible
from services.intake.keys import Keys
from services.intake.words import FOR_CITIZENS, role_of
from shared.clock import rfc3339
from shared.db.database import Database
from shared.db.where import Where, prefixed
from shared.errors import not_found
from shared.http.pages import Page, cursor_of, page_of
from shared.regions import RegionDirectory
from shared.security.principal import STAFF, Principal
from shared.security.scope import prefix

Answer = dict[str, Any]

_CASE = """
SELECT a.appeal_id::text AS id, a.reference_no, a.received_at, a.source_platform, a.snapshot,
  c.status, c.region_code, c.units, l.label, f.feedback, o.orders, k.clocks
FROM intake.appeals a JOIN intake.cases c USING (appeal_id)
LEFT JOIN intake.case_labels l USING (appeal_id)
LEFT JOIN intake.case_feedback f USING (appeal_id)
LEFT JOIN LATERAL (
  SELECT json_agg(json_build_object('id', o.work_order_id, 'status', o.status, 'lead', o.lead, 'lead_name',
    o.lead_name, 'co_handlers', o.co_handlers, 'version', o.version, 'result', o.result, 'handoff', o.handoff,
    'appeal_ids', o.appeal_ids) ORDER BY o.opened_at, o.work_order_id) AS orders
  FROM intake.order_appeals oa JOIN intake.case_orders o USING (work_order_id)
  WHERE oa.appeal_id = a.appeal_id AND a.appeal_id = ANY(o.appeal_ids)) o ON true
LEFT JOIN LATERAL (
  SELECT json_agg(json_build_object('work_order_id', k.work_order_id, 'clocks', k.clocks)) AS clocks
  FROM intake.order_appeals oa JOIN intake.case_clocks k USING (work_order_id)
  WHERE oa.appeal_id = a.appeal_id) k ON true
WHERE a.appeal_id = $1::uuid
"""


class Queries:
    """What intake answers to readers."""

    def __init__(self, database: Database, keys: Keys, regions: RegionDirectory, base_url: str) -> None:
        self.database = database
        self.keys = keys
        self.regions = regions
        self.base_url = base_url

    async def _fetch(self, sql: str, *values: Any) -> list[Any]:
        async with self.database.look_up() as pg:
            return list(await pg.fetch(sql, *values))

    async def case(self, appeal_id: str, who: Principal) -> Answer:
        """`GET /v1/appeals/{id}`. Raises `Problem` 404 for what is not there or not his."""
        row = await self._case_row(appeal_id)
        if row is None or not visible(who, row["region_code"], row["units"], row["source_platform"]):
            raise not_found(f"The appeal {appeal_id}")
        snapshot = row["snapshot"]
        orders = row["orders"] or []
        clocks = row["clocks"] or []
        label = row["label"]
        live = {order["id"] for order in orders}
        region = self.regions.get(row["region_code"])
        answer = {
            "id": row["id"],
            "reference_no": row["reference_no"],
            "status": row["status"],
            "received_at": rfc3339(row["received_at"]),
            "occurred_at": snapshot["occurred_at"],
            "channel": snapshot["channel"],
            "kind": label["kind"] if label else snapshot["kind"],
            "title": snapshot["title"],
            "text": snapshot["text"],
            "region_code": row["region_code"],
            "region_name": region.name if region else None,
            "place": snapshot["place"],
            "reporter": snapshot["reporter"],
            "emergency_action": snapshot["emergency_action"],
            "labels": label,
            "work_orders": [
                {name: value for name, value in order.items() if name not in ("handoff", "appeal_ids")}
                for order in orders
            ],
            "clocks": [
                {"work_order_id": held["work_order_id"], **state}
                for held in clocks
                if held["work_order_id"] in live
                for state in held["clocks"]
            ],
            "feedback": row["feedback"],
            "handoff": next((order["handoff"] for order in reversed(orders) if order["handoff"]), None),
            "links": _links(appeal_id, snapshot, label, orders),
        }
        return {name: _in_zone(name, value) for name, value in answer.items()}

    async def _case_row(self, appeal_id: str) -> Any:
        rows = await self._fetch(_CASE, appeal_id)
        return rows[0] if rows else None

    async def timeline(self, appeal_id: str, who: Principal, page: Page) -> Answer:
        """`GET /v1/appeals/{id}/timeline`: oldest first."""
        scope = await self._fetch(
            "SELECT c.region_code, c.units, a.source_platform FROM intake.appeals a"
            " JOIN intake.cases c USING (appeal_id) WHERE a.appeal_id = $1::uuid",
            appeal_id,
        )
        if not scope or not visible(who, **dict(scope[0])):
            raise not_found(f"The appeal {appeal_id}")
        after_at, after_id = cursor_of(page, datetime, str) or (None, None)
        rows = await self._fetch(
            "SELECT at, event_id, type, actor, words, reason FROM intake.timeline WHERE appeal_id = $1::uuid"
            " AND ($2::timestamptz IS NULL OR (at, event_id) > ($2, $3::text)) ORDER BY at, event_id LIMIT $4",
            appeal_id,
            after_at,
            after_id,
            page.limit + 1,
        )
        items = [_item(row) | {"_key": [row["at"].isoformat(), row["event_id"]]} for row in rows]
        return _paged(items, page)

    async def find(self, who: Principal, page: Page, filters: dict[str, Any]) -> Answer:
        """`GET /v1/appeals`: newest first, inside the caller's row scope."""
        where = Where()
        if (status := filters.get("status")) is not None:
            where.add("c.status = ?", status)
        if (channel := filters.get("channel")) is not None:
            where.add("c.channel = ?", channel)
        if (matter := filters.get("matter")) is not None:
            where.add("c.matter = ?", matter)
        if (tag := filters.get("tag")) is not None:
            where.add("c.tags @> ARRAY[?::text]", tag)
        if (unit := filters.get("unit")) is not None:
            where.add("c.units @> ARRAY[?::text]", unit)
        if (region := filters.get("region")) is not None:
            where.add("c.region_code LIKE ?", prefixed(prefix(region)))
        if (since := filters.get("from")) is not None:
            where.add("c.received_at >= ?", since)
        if (until := filters.get("to")) is not None:
            where.add("c.received_at < ?", until)
        if (words := filters.get("q")) is not None:
            _add_words(where, words)
        _add_scope(where, who)
        if (after := cursor_of(page, datetime, UUID)) is not None:
            where.add("(c.received_at, c.appeal_id) < (?::timestamptz, ?::uuid)", *after)
        async with self.database.read() as pg:
            rows = await pg.fetch(
                "SELECT c.appeal_id::text AS id, a.reference_no, c.status, c.received_at, c.channel, c.region_code,"
                " c.matter, c.tags, c.units, a.snapshot->>'title' AS title, left(a.snapshot->>'text', 200) AS text"
                " FROM intake.cases c JOIN intake.appeals a USING (appeal_id)"
                f" WHERE {where} ORDER BY c.received_at DESC, c.appeal_id DESC LIMIT {page.limit + 1:d}",
                *where.values,
            )
        return _paged(
            [
                dict(row)
                | {"received_at": rfc3339(row["received_at"]), "_key": [row["received_at"].isoformat(), row["id"]]}
                for row in rows
            ],
            page,
        )

    async def track(self, reference_no: str, code: str) -> Answer:
        """`GET /v1/track`: what the citizen may see. Raises `Problem` 404 for any pair that does not fit."""
        rows = await self._fetch(
            "SELECT appeal_id::text AS id FROM intake.reference_keys WHERE reference_no = $1", reference_no
        )
        appeal_id = rows[0]["id"] if rows else "00000000-0000-0000-0000-000000000000"
        given = code.strip().upper().encode()
        right = hmac.compare_digest(rules.query_code(self.keys.codes, appeal_id).encode(), given)
        if not rows or not right:
            raise not_found("An appeal with this reference number and query code")
        row = await self._case_row(appeal_id)
        items = await self._fetch(
            "SELECT at, event_id, type, actor, words, reason FROM intake.timeline WHERE appeal_id = $1::uuid"
            " AND type = ANY($2) ORDER BY at, event_id",
            appeal_id,
            sorted(FOR_CITIZENS),
        )
        label = row["label"]
        orders = [order for order in row["orders"] or [] if order["status"] != "cancelled"]
        region = self.regions.get(row["region_code"])
        answer = {
            "reference_no": row["reference_no"],
            "status": row["status"],
            "words": case.PLAIN_WORDS[row["status"]],
            "received_at": rfc3339(row["received_at"]),
            "matter": label["matter"]["path"][-1] if label and label["matter"]["path"] else None,
            "region": region.name if region else None,
            "unit": orders[-1]["lead_name"] if orders else None,
            "answers": [order["result"] for order in orders if order["result"]],
            "items": [
                {"time": rfc3339(item["at"]), "words": item["words"]}
                | ({"reason": item["reason"]} if item["type"] == "appeal.declined" else {})
                for item in items
            ],
        }
        url = self._rating_url(appeal_id, row["feedback"])
        return answer | ({"rating_url": url} if url else {})

    def _rating_url(self, appeal_id: str, feedback: Answer | None) -> str | None:
        if feedback is None or feedback["status"] == "closed" or feedback["method"] != "link":
            return None
        answered = any(answer["round"] == feedback["round"] for answer in feedback["answers"])
        if answered or not 1 <= feedback["round"] <= rules.FEEDBACK_ROUNDS:
            return None
        token = rules.rating_token(rules.appeal_secret(self.keys.codes, appeal_id), feedback["round"])
        return f"{self.base_url}/v1/ratings/{token}"


def _add_words(where: Where, words: str) -> None:
    terms = search.query(words)
    if terms is None:
        where.add("false")  # nothing can match blanks and punctuation
        return
    where.add("a.search @@ ?::tsquery", terms)
    for run in search.long_runs(words):
        # pairs that all occur need not stand side by side; `position` rather than LIKE, whose pattern the planner
        # would take for a rare one
        where.add("position(? IN coalesce(a.snapshot->>'title', '') || ' ' || (a.snapshot->>'text')) > 0", run)


def _add_scope(where: Where, who: Principal) -> None:
    """The rule of `handlers.visible` as SQL."""
    if who.has(*STAFF):
        who.scope.narrow(where, region="c.region_code", units="c.units && ?::text[]")
    else:
        where.add("a.source_platform = ?", who.platform or "")


def _in_zone(name: str, value: Any) -> Any:
    """Instants of kept snapshots (`…_at`, `…_until`) in the platform's zone, like every other time of an answer."""
    if isinstance(value, dict):
        return {key: _in_zone(key, item) for key, item in value.items()}
    if isinstance(value, list):
        return [_in_zone(name, item) for item in value]
    if isinstance(value, str) and (name == "at" or name.endswith(("_at", "_until"))):
        return rfc3339(datetime.fromisoformat(value))
    return value


def _links(appeal_id: str, snapshot: Answer, label: Answer | None, orders: Sequence[Answer]) -> list[Answer]:
    """Wished by a person, joined by dispatch, or suggested by classify."""
    found: dict[tuple[str, str], Answer] = {}
    for relation in ("repeat_of", "same_event"):
        likeness = label.get(relation) if label else None
        if likeness:
            name = "repeat" if relation == "repeat_of" else relation
            found[(likeness["appeal_id"], name)] = {"state": "suggested", "score": likeness["score"]}
    if snapshot["link"]:
        found[(snapshot["link"]["to"], snapshot["link"]["relation"])] = {"state": "requested"}
    joined = {other for order in orders for other in order["appeal_ids"] if other != appeal_id}
    links = []
    for (other, relation), state in found.items():
        links.append({"appeal_id": other, "relation": relation} | ({"state": "joined"} if other in joined else state))
        joined.discard(other)
    return links + [{"appeal_id": other, "relation": "same_order", "state": "joined"} for other in sorted(joined)]


def _item(row: Any) -> Answer:
    item = {
        "time": rfc3339(row["at"]),
        "type": row["type"],
        "actor": row["actor"],
        "actor_words": role_of(row["actor"]),
        "words": row["words"],
    }
    return item | ({"reason": row["reason"]} if row["reason"] else {})


def _paged(items: list[Answer], page: Page) -> Answer:
    answer = page_of(items, page, lambda item: item["_key"])
    for item in items:
        item.pop("_key", None)
    return answer
