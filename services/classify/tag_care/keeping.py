"""Those who keep the tag dictionary: tags, proposals, and the look through each month (domain.md, Words: 标签)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import orjson

from services.classify import repository
from services.classify.domain.labels import TagDefinition, TagFamily, TagState, TagTier
from services.classify.knowledge import Library
from services.classify.models import encoder
from services.classify.schemas import PromoteBody
from services.classify.tag_care import rows
from services.classify.tag_care.finding import Found, ProposalKind, Told, emergent, merges, unused
from shared.clock import ZONE, Clock, rfc3339
from shared.db import audit
from shared.db.database import Database
from shared.errors import Problem, Transient, invalid, not_found
from shared.events.catalog.work_orders import WorkOrderEvent
from shared.events.event import Message
from shared.http.commands import Answer
from shared.outbox.uow import Uow

log = logging.getLogger(__name__)

ACTOR = "system:classify"
DAYS = 90
"""a tag that nobody used for so long may retire; phrases of the last third are compared with those before"""
LOOK_S = 3_600.0
Decision = Literal["accept", "reject", "undo"]
_AFTER: dict[Decision, str] = {"accept": "accepted", "reject": "rejected", "undo": "open"}


class Tags:
    """Writes are jobs of their own transaction; every change is heard by all processes at their next batch."""

    def __init__(self, library: Library, database: Database, clock: Clock) -> None:
        self._library = library
        self._database = database
        self._clock = clock

    async def on_orders(self, batch: Sequence[Message[WorkOrderEvent]], uow: Uow) -> None:
        """Remember which unit got each appeal: tags are judged by unit."""
        newest: dict[str, dict[str, Any]] = {}
        for message in batch:
            order = message.data.after
            for appeal_id in order.appeal_ids:
                known = newest.get(appeal_id)
                if known is None or known["order_id"] != order.id or known["sequence"] < message.sequence:
                    newest[appeal_id] = {
                        "appeal_id": appeal_id,
                        "unit": order.lead,
                        "order_id": order.id,
                        "sequence": message.sequence,
                    }
        await rows.handled(uow.pg, [newest[appeal_id] for appeal_id in sorted(newest)])

    async def run(self) -> None:
        """Look through the labels once a month, on its first day or as soon after it as a process is there."""
        while True:
            await asyncio.sleep(LOOK_S)
            try:
                month = self._clock.now().astimezone(ZONE).date().replace(day=1)
                async with self._database.transaction() as uow:
                    begun = await rows.begin_month(uow.pg, month, self._clock.now())
                if begun:
                    found, told = await self.look()
                    async with self._database.transaction() as uow:
                        fresh = await rows.propose(uow.pg, found, self._clock.now())
                        await rows.end_month(uow.pg, month, told, fresh)
            except Transient as error:
                log.warning("tags are looked after later", extra={"error": str(error)})

    async def look(self, days: int = DAYS) -> tuple[list[Found], int]:
        """What the last `days` suggest, and how many labels that were; nothing is stored. The last third of them is
        compared with what was before."""
        now = self._clock.now()
        since, lately = now - timedelta(days=days), now - timedelta(days=days / 3)
        async with self._database.read() as pg:
            knowledge = await self._library.present(pg, now)
            recent = await rows.told(pg, lately, now + timedelta(seconds=1))
            before = await rows.told(pg, since, lately)
            young = await rows.young(pg, since)
        active = list(knowledge.tags.values())
        known = {word for tag in active for word in (tag.name, *tag.words)}
        known |= {name for one in knowledge.catalogue.matters.values() for name in (*one.path, *one.synonyms)}
        return await asyncio.to_thread(_found, active, recent, before, known, since, young), len(recent) + len(before)

    async def put(self, definition: TagDefinition, actor: str, uow: Uow) -> Answer:
        """Add a tag or replace the one of its code; a retired one is active again."""
        versions = await rows.put(uow.pg, [definition], uow.clock.now(), actor)
        await repository.restamp(uow.pg)
        version = versions[definition.code]
        await audit.record(uow, actor=actor, action="tag.put", subject=definition.code, detail={"version": version})
        return {**tag_answer(definition), "version": version}

    async def propose(self, found: Sequence[Found], told: int, actor: str, uow: Uow) -> Answer:
        """Keep what `look` found as open proposals."""
        fresh = await rows.propose(uow.pg, found, uow.clock.now())
        await audit.record(uow, actor=actor, action="tag_proposals.made", subject="tags", detail={"new": fresh})
        counts = {kind.value: sum(one.kind is kind for one in found) for kind in ProposalKind}
        return {"labels": told, "found": counts, "new": fresh}

    async def decide(
        self, proposal_id: str, decision: Decision, promoted: PromoteBody | None, actor: str, uow: Uow
    ) -> Answer:
        """Accept, reject, or take either back. Raises Problem 404; 409 `already_decided`; 409 `tag_changed` when a tag
        was changed after the acceptance that is to be undone."""
        now = uow.clock.now()
        proposal = await rows.lock(uow.pg, proposal_id)
        if proposal is None:
            raise not_found("This proposal")
        status = _AFTER[decision]
        answer = {"id": proposal_id, "kind": proposal["kind"], "tag": proposal["tag"], "word": proposal["word"]}
        if proposal["status"] == status:
            return {**answer, "status": status}
        if decision != "undo" and proposal["status"] != "open":
            raise Problem(
                409,
                "already_decided",
                f"This proposal was {proposal['status']} before; undo that first.",
                status_now=proposal["status"],
            )
        tags = {tag.code: tag for tag in await rows.definitions(uow.pg)}
        before: dict[str, Any] | None = None
        changed: list[TagDefinition] = []
        if decision == "accept":
            changed = _accepted(proposal, tags, promoted)
            after = {tag.code: rows.row_of(tag) for tag in changed}
            were = {code: rows.row_of(tags[code]) if code in tags else None for code in after}
            before = {"were": were, "became": after}
        elif proposal["status"] == "accepted" and proposal["before"]:
            changed = _restored(orjson.loads(proposal["before"]), tags)
        if changed:
            await rows.put(uow.pg, changed, now, actor)
            await repository.restamp(uow.pg)
        await rows.decide(uow.pg, proposal_id, status, before, now, actor)
        await audit.record(uow, actor=actor, action=f"tag_proposal.{status}", subject=proposal_id)
        return {**answer, "status": status, "tags": [tag_answer(tag) for tag in changed]}


def _found(
    active: Sequence[TagDefinition],
    recent: Sequence[Told],
    before: Sequence[Told],
    known: set[str],
    since: datetime,
    young: set[str],
) -> list[Found]:
    told = [*recent, *before]
    return [
        *merges(active, told, encoder.encode),
        *unused(active, told, since, young),
        *emergent(recent, before, known),
    ]


def _accepted(proposal: Any, tags: dict[str, TagDefinition], promoted: PromoteBody | None) -> list[TagDefinition]:
    """The tags as they are to be."""
    kind, word = ProposalKind(proposal["kind"]), str(proposal["word"])
    if kind is ProposalKind.PROMOTE:
        return [_promoted(proposal, tags, promoted)]
    tag = tags.get(proposal["tag"])
    if tag is None or tag.state is not TagState.ACTIVE:
        raise Problem(409, "tag_changed", f"The tag {proposal['tag']} is no longer in use; reject this proposal.")
    if kind is ProposalKind.WORD:
        return [replace(tag, words=(*tag.words, word))] if word not in tag.words else []
    if kind is ProposalKind.RETIRE:
        return [replace(tag, state=TagState.RETIRED)]
    other = tags.get(word)
    if other is None or other.state is not TagState.ACTIVE:
        raise Problem(409, "tag_changed", f"The tag {word} is no longer in use; reject this proposal.")
    words = tuple(dict.fromkeys((*tag.words, other.name, *other.words)))
    return [replace(tag, words=words), replace(other, state=TagState.RETIRED, merged_into=tag.code)]


def _promoted(proposal: Any, tags: dict[str, TagDefinition], promoted: PromoteBody | None) -> TagDefinition:
    chosen, detail = promoted or PromoteBody(), orjson.loads(proposal["detail"] or "{}")
    code = chosen.code or f"custom.{proposal['word']}"
    if code in tags and tags[code].state is TagState.ACTIVE:
        raise Problem(409, "tag_exists", f"There is a tag {code}; name another code.")
    return TagDefinition(
        code,
        chosen.name or str(proposal["word"]),
        TagFamily(chosen.family),
        TagTier.CUSTOM,
        (str(proposal["word"]),),
        TagState.ACTIVE,
        chosen.valid_from or _instant(detail.get("valid_from")),
        chosen.valid_to or _instant(detail.get("valid_to")),
    )


def _restored(kept: dict[str, Any], tags: dict[str, TagDefinition]) -> list[TagDefinition]:
    """The tags as they were before an acceptance; one that it made is retired."""
    for code, became in kept["became"].items():
        if code not in tags or tags[code] != _kept(became):
            raise Problem(409, "tag_changed", f"The tag {code} was changed since; change it by POST /v1/tags.")
    restored = []
    for code, was in kept["were"].items():
        restored.append(replace(tags[code], state=TagState.RETIRED) if was is None else _kept(was))
    return restored


def _kept(row: dict[str, Any]) -> TagDefinition:
    """A tag out of the JSON that an acceptance kept: its times are instants again, however they were written."""
    return rows.definition_of({**row, **{name: _instant(row[name]) for name in ("valid_from", "valid_to")}})


def _instant(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text).astimezone(UTC) if text else None


def checked(definition: TagDefinition) -> TagDefinition:
    """Raises Problem 422 for a time that ends before it begins."""
    if definition.valid_from and definition.valid_to and definition.valid_to <= definition.valid_from:
        raise invalid("/valid_to", "must lie after valid_from")
    return definition


def tag_answer(tag: TagDefinition) -> Answer:
    """A tag as the API shows it."""
    times = {
        name: rfc3339(value) if value else None
        for name, value in (("valid_from", tag.valid_from), ("valid_to", tag.valid_to))
    }
    return {**rows.row_of(tag), **times}
