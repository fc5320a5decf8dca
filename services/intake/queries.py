"""Reads of the case view, the timeline, the search and the citizen's tracking. No locks, one or two statements each."""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec
import orjson

from services.intake.answers import visible
from services.intake.domain import appeal as rules
from services.intake.domain import case
from services.intake.federation.mirror import Mirror
from services.intake.federation.repository import Handover, read
from services.intake.finding import Finder
from services.intake.keys import Keys
from services.intake.streams import Feedback, Label, Order, decode
from services.intake.words import EXPLAINED, FOR_CITIZENS, role_of
from shared.clock import rfc3339
from shared.db.database import Database
from shared.db.lookups import Lookups
from shared.errors import not_found
from shared.events.catalog.appeals import Appeal, Link
from shared.http.pages import Page, cursor_of, page_of
from shared.regions import RegionDirectory
from shared.security.principal import Principal

Answer = dict[str, Any]

_FOR_CITIZENS = ", ".join(f"'{kind}'" for kind in sorted(FOR_CITIZENS))
# the bounds spare it the months in which no key lies: each partition that a plan opens costs as much as a found row
_CASE = """
SELECT asked.id::text AS key, a.reference_no, a.received_at, a.source_platform, a.snapshot::text AS snapshot,
  v.streams, v.label, v.feedback,
  ARRAY(SELECT k.clocks FROM unnest(v.order_ids) WITH ORDINALITY AS o(id, n)
    JOIN intake.case_clocks k ON k.work_order_id = o.id ORDER BY o.n) AS clocks
FROM unnest($1::uuid[]) AS asked(id)
  JOIN intake.appeals a ON a.appeal_id = asked.id JOIN intake.case_views v ON v.appeal_id = asked.id
WHERE a.appeal_id BETWEEN ($1::uuid[])[1] AND ($1::uuid[])[cardinality($1)]
  AND v.appeal_id BETWEEN ($1::uuid[])[1] AND ($1::uuid[])[cardinality($1)]
"""
_TRACK = f"""
SELECT r.reference_no AS key, r.appeal_id::text AS id, c.received_at, c.status, c.region_code, v.streams,
  ARRAY(SELECT ROW(t.at, t.type, t.words, t.reason) FROM intake.timeline t
    WHERE t.appeal_id = r.appeal_id AND t.type IN ({_FOR_CITIZENS}) ORDER BY t.at, t.event_id) AS items
FROM unnest($1::text[]) AS asked(no) JOIN intake.reference_keys r ON r.reference_no = asked.no
  JOIN intake.cases c USING (appeal_id) JOIN intake.case_views v USING (appeal_id)
"""
_NO_APPEAL = "00000000-0000-0000-0000-000000000000"

_appeal = msgspec.json.Decoder(Appeal).decode
_encode = msgspec.json.Encoder().encode


class Queries:
    """What intake answers to readers."""

    def __init__(
        self,
        database: Database,
        keys: Keys,
        regions: RegionDirectory,
        base_url: str,
        finder: Finder,
        mirror: Mirror,
    ) -> None:
        self.database = database
        self.finder = finder
        self.keys = keys
        self.regions = regions
        self.base_url = base_url
        self.mirror = mirror
        self._cases = Lookups(database, _CASE)
        self._tracks = Lookups(database, _TRACK)

    async def _fetch(self, sql: str, *values: Any) -> list[Any]:
        async with self.database.look_up() as pg:
            return list(await pg.fetch(sql, *values))

    async def case(self, appeal_id: str, who: Principal) -> bytes:
        """`GET /v1/appeals/{id}` as JSON. Raises `Problem` 404 for what is not there or not his."""
        row = await self._cases.row(appeal_id)
        if row is None:
            raise not_found(f"The appeal {appeal_id}")
        streams = decode(row["streams"])
        columns = streams.columns(appeal_id)
        if not visible(who, columns.region_code, columns.units, row["source_platform"]):
            raise not_found(f"The appeal {appeal_id}")
        appeal = _appeal(row["snapshot"])
        label, orders = streams.label, streams.live(appeal_id)
        region = self.regions.get(columns.region_code)
        emergency = appeal.emergency_action
        return orjson.dumps(
            {
                "id": appeal_id,
                "reference_no": row["reference_no"],
                "status": columns.status,
                "received_at": rfc3339(row["received_at"]),
                "occurred_at": rfc3339(appeal.occurred_at) if appeal.occurred_at else None,
                "channel": appeal.channel,
                "kind": label.kind if label else appeal.kind,
                "title": appeal.title,
                "text": appeal.text,
                "region_code": columns.region_code,
                "region_name": region.name if region else None,
                "place": orjson.Fragment(_encode(appeal.place)),
                "reporter": orjson.Fragment(_encode(appeal.reporter)),
                "emergency_action": {
                    "taken_at": rfc3339(emergency.taken_at),
                    "by": emergency.by,
                    "what": emergency.what,
                }
                if emergency
                else None,
                "labels": orjson.Fragment(row["label"]) if row["label"] else None,
                "work_orders": [
                    {
                        "id": order.id,
                        "status": order.status,
                        "lead": order.lead,
                        "lead_name": order.lead_name,
                        "co_handlers": order.co_handlers,
                        "version": order.version,
                        "result": order.result,
                    }
                    for order in orders
                ],
                "clocks": orjson.Fragment(f"[{','.join(clocks for clocks in row['clocks'] if clocks)}]"),
                "feedback": orjson.Fragment(row["feedback"]) if row["feedback"] else None,
                "handoff": await self._handoff(streams.handed_in, streams.whole(appeal_id)),
                "parts": await self._parts([order for order in orders if order.is_part and order.handoff]),
                "links": _links(appeal_id, appeal.link, label if not streams.parted else None, orders),
            }
        )

    async def _handoff(self, handed_in: str | None, orders: Sequence[Order]) -> Answer | None:
        """The newest hand-over of the case to another platform, else the one by which it came."""
        out = next((order.handoff for order in reversed(orders) if order.handoff), None)
        handoff_id = out.id if out else handed_in
        known = await self._handover(handoff_id) if handoff_id else None
        if known is not None:
            shown = self.mirror.shown(known)
            return shown | ({"reason": out.reason or shown["reason"]} if out else {})
        return {"id": out.id, "platform": out.platform, "state": out.state, "reason": out.reason} if out else None

    async def _parts(self, orders: Sequence[Order]) -> list[Answer]:
        """What other platforms were asked for of a case that this one leads, oldest first."""
        return [{"work_order_id": order.id} | (await self._handoff(None, [order]) or {}) for order in orders]

    async def _handover(self, handoff_id: str) -> Handover | None:
        async with self.database.look_up() as pg:
            return await read(pg, handoff_id)

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
        """`GET /v1/appeals`."""
        return await self.finder.find(who, page, filters)

    async def _tracked(self, reference_no: str, code: str) -> Any:
        row = await self._tracks.row(reference_no)
        appeal_id = row["id"] if row else _NO_APPEAL
        given = code.strip().upper().encode()
        right = hmac.compare_digest(rules.query_code(self.keys.codes, appeal_id).encode(), given)
        if row is None or not right:
            raise not_found("An appeal with this reference number and query code")
        return row

    async def appeal_of(self, reference_no: str, code: str) -> str:
        """The appeal that a citizen names. Raises `Problem` 404 for any pair that does not fit."""
        found: str = (await self._tracked(reference_no, code))["id"]
        return found

    async def track(self, reference_no: str, code: str) -> bytes:
        """`GET /v1/track` as JSON: what the citizen may see. Raises `Problem` 404 for any pair that does not fit."""
        row = await self._tracked(reference_no, code)
        appeal_id = row["id"]
        streams = decode(row["streams"])
        orders = [order for order in streams.whole(appeal_id) if order.status != "cancelled"]
        region = self.regions.get(row["region_code"])
        answer: Answer = {
            "reference_no": reference_no,
            "status": row["status"],
            "words": case.PLAIN_WORDS[row["status"]],
            "received_at": rfc3339(row["received_at"]),
            "matter": streams.label.matter_name if streams.label else None,
            "region": region.name if region else None,
            "unit": orders[-1].lead_name if orders else None,
            "answers": [order.result for order in orders if order.result],
            "items": [
                {"time": rfc3339(at), "words": words} | ({"reason": reason} if reason and kind in EXPLAINED else {})
                for at, kind, words, reason in row["items"]
            ],
        }
        url = self._rating_url(appeal_id, streams.feedback)
        handed = next(
            (order.handoff.id for order in reversed(orders) if order.handoff and order.status == "handed_off"), None
        )
        known = await self._handover(handed) if handed else None
        if known is not None:
            there = self.mirror.shown(known)
            answer["handoff"] = {
                "platform": there["platform"],
                "status": there["status"],
                "words": case.PLAIN_WORDS.get(there["status"] or "", case.PLAIN_WORDS["handed_off"]),
            }
            answer["answers"] += [there["result"]] if there["result"] else []
            url = url or self.mirror.rating_url(known)
        return orjson.dumps(answer | ({"rating_url": url} if url else {}))

    def _rating_url(self, appeal_id: str, feedback: Feedback | None) -> str | None:
        if feedback is None or feedback.status == "closed" or feedback.method != "link" or feedback.answered:
            return None
        if not 1 <= feedback.round <= rules.FEEDBACK_ROUNDS:
            return None
        token = rules.rating_token(rules.appeal_secret(self.keys.codes, appeal_id), feedback.round)
        return f"{self.base_url}/v1/ratings/{token}"


def _links(appeal_id: str, wish: Link | None, label: Label | None, orders: Sequence[Order]) -> list[Answer]:
    """Wished by a person, joined by dispatch, or suggested by classify (`label` None: a person has said no)."""
    found: dict[tuple[str, str], Answer] = {}
    for relation, other, score in label.likenesses if label else ():
        found[(other, relation)] = {"state": "suggested", "score": score}
    if wish:
        found[(wish.to, wish.relation)] = {"state": "requested"}
    joined = {other for order in orders for other in order.appeal_ids if other != appeal_id}
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
