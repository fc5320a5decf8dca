"""Appeals in, labels out."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import msgspec

from services.classify import recent, repository
from services.classify.domain.bounds import OFTEN
from services.classify.domain.labels import UNSURE, Label, Link, ReviewReason
from services.classify.domain.likeness import Bounds, Said, repeats, same_events
from services.classify.domain.recollection import SAME, Recollection
from services.classify.domain.safety import hazards
from services.classify.knowledge import Knowledge, Library
from services.classify.labelling import Case, Labelled, label_all, published
from services.classify.settings import ClassifySettings
from shared.clock import ZONE
from shared.events.batch import newest
from shared.events.catalog.appeals import Appeal, AppealEvent
from shared.events.catalog.labels import LabelClassified
from shared.events.event import Message
from shared.outbox.uow import Uow
from shared.security.scope import prefix

log = logging.getLogger(__name__)

ACTOR = "system:classify"

Likenesses = tuple[Link | None, Link | None]
"""(repeat of, same event)"""

_encode = msgspec.json.Encoder().encode


class Appeals:
    """Reacts to what citizens say."""

    def __init__(self, settings: ClassifySettings, library: Library) -> None:
        self.settings = settings
        self.library = library

    async def on_appeals(self, batch: Sequence[Message[AppealEvent]], uow: Uow) -> None:
        """Label each appeal once; note when one is withdrawn or declined."""
        said = newest(batch)
        # the first fact of an appeal finds no label; where it comes again, `add_labels` keeps the one that is there
        later = [key for key, message in said.items() if message.sequence > 1]
        labelled = await repository.known_appeals(uow.pg, later) if later else {}
        ended = [
            {"appeal_id": key, "appeal_sequence": message.sequence, "status": message.data.after.status}
            for key, message in said.items()
            if labelled.get(key, message.sequence) < message.sequence
        ]
        if ended:
            await repository.end_appeals(uow.pg, ended)
        fresh = [message for key, message in said.items() if key not in labelled]
        if fresh:
            await self._label(fresh, uow)

    async def _label(self, messages: Sequence[Message[AppealEvent]], uow: Uow) -> None:
        now = uow.clock.now()
        appeals = [message.data.after for message in messages]
        seen, earlier = await repository.seen_and_earlier(uow.pg, _reporters(appeals), self.settings.repeat_days)
        knowledge = await self.library.present(uow.pg, now, seen)
        found = await self.label_cases(
            [Case(one.title, one.text, one.kind, one.occurred_at or one.received_at) for one in appeals], knowledge, now
        )
        often = _often(appeals, earlier)
        found = [
            replace(one, label=replace(one.label, review=ReviewReason.OFTEN))
            if appeal.id in often and (one.label.review is None or one.label.review in UNSURE)
            else one
            for appeal, one in zip(appeals, found, strict=True)
        ]
        said = [_said(appeal, one) for appeal, one in zip(appeals, found, strict=True)]
        likenesses = await self.compare(uow.pg, said, earlier)
        rows, events = [], {}
        for message, appeal, one, likeness in zip(messages, appeals, found, likenesses, strict=True):
            label = one.label
            snapshot = published(appeal.id, appeal.place.region_code, label, knowledge, *likeness)
            open_review = label.needs_review and appeal.status == "received"
            events[appeal.id] = (snapshot, one)
            rows.append(
                {
                    "appeal_id": appeal.id,
                    "sequence": 1,
                    "appeal_sequence": message.sequence,
                    "received_at": appeal.received_at,
                    "reference_no": appeal.reference_no,
                    "pseudonym": appeal.reporter.pseudonym,
                    "region_code": appeal.place.region_code,
                    "title": appeal.title,
                    "text": appeal.text,
                    "status": appeal.status,
                    "matter": snapshot.matter.code,
                    "class": snapshot.handling_class,
                    "model": snapshot.model,
                    "degraded": snapshot.degraded,
                    "needs_review": open_review,
                    "review_reason": label.review.value if label.review else None,
                    "corrected": False,
                    "sketch": one.sketch,
                    "label": _encode(snapshot).decode(),
                    "catalogue_version": snapshot.catalogue_version,
                }
            )
        said = [one for one, appeal in zip(said, appeals, strict=True) if one.keys and appeal.status == "received"]
        stored = await repository.add_labels(uow.pg, rows, now.astimezone(ZONE).date(), said)
        for row in rows:
            if row["appeal_id"] in stored:
                snapshot, made = events[row["appeal_id"]]
                uow.emit(
                    LabelClassified(actor=ACTOR, reason=in_words(made.label, made.recollection), after=snapshot),
                    key=row["appeal_id"],
                    sequence=1,
                )

    async def label_cases(self, cases: Sequence[Case], knowledge: Knowledge, now: datetime) -> list[Labelled]:
        """Label in a thread; what takes too long or fails as a whole is labelled by rules (domain.md: never block)."""
        threshold = self.settings.threshold
        try:
            async with asyncio.timeout(self.settings.timeout_s):
                return await asyncio.to_thread(label_all, cases, knowledge, threshold, now)
        except TimeoutError:
            log.error("classification took too long, rules answer", extra={"texts": len(cases)})
        return await asyncio.to_thread(label_all, cases, knowledge, threshold, now, by_rules=True)

    async def compare(
        self,
        pg: Any,
        said: Sequence[Said],
        earlier: Mapping[str, Sequence[Said]],
        sees: Callable[[str], bool] = lambda region_code: True,
    ) -> list[Likenesses]:
        """For each the earlier appeal that it repeats and the one that speaks of the same event, if any; `earlier` are
        those of its reporter. `sees`: the regions of whose appeals one may know."""
        own = self.settings
        heard = [
            [other for other in others if sees(other.region)]
            for others in await recent.heard(pg, [(one.received_at, one.keys) for one in said], own.event_days)
        ]
        return list(
            zip(
                repeats(said, earlier, Bounds(own.repeat_threshold, timedelta(days=own.repeat_days))),
                same_events(said, heard, Bounds(own.event_threshold, timedelta(days=own.event_days))),
                strict=True,
            )
        )


def _said(appeal: Appeal, found: Labelled) -> Said:
    return Said(
        appeal.id,
        appeal.received_at,
        appeal.reporter.pseudonym or "",
        prefix(appeal.place.region_code),
        found.sketch,
        found.keys,
    )


def _often(appeals: Sequence[Appeal], earlier: Mapping[str, Sequence[Said]]) -> set[str]:
    """Appeals whose reporter had sent many within the day before, in this batch or earlier: a person looks whether that
    is abuse."""
    found = set()
    times = {reporter: [one.received_at for one in said] for reporter, said in earlier.items()}
    for appeal in appeals:
        if not appeal.reporter.pseudonym:
            continue
        before = times.setdefault(appeal.reporter.pseudonym, [])
        if sum(timedelta() <= appeal.received_at - at < timedelta(days=1) for at in before) >= OFTEN:
            found.add(appeal.id)
        before.append(appeal.received_at)
    return found


def _reporters(appeals: Sequence[Appeal]) -> dict[str, datetime]:
    """Who speaks, and the instant of the first of their appeals here."""
    oldest: dict[str, datetime] = {}
    for appeal in appeals:
        pseudonym = appeal.reporter.pseudonym
        if pseudonym:
            oldest[pseudonym] = min(oldest.get(pseudonym, appeal.received_at), appeal.received_at)
    return oldest


def in_words(label: Label, recollection: Recollection | None = None) -> str:
    """Why a person should look, or why nobody needs to: the reason in the timeline."""
    why = _why(label)
    if recollection is None:
        return why
    alike = "相同" if recollection.similarity >= SAME else f"相近（相似度 {recollection.similarity:.0%}）"
    return f"措辞{alike}的诉求曾由 {recollection.persons} 人定为该事项；{why}"


def _why(label: Label) -> str:
    if label.review is ReviewReason.SAFETY_WORD:
        return f"文中有安全词：{hazards(label.safety)}，按紧急处置并复核"
    if label.review is ReviewReason.OUT_OF_BOUNDS:
        return "文中提到法院、仲裁或复议等，可能不属于受理范围，是否受理由人决定"
    if label.review is ReviewReason.OFTEN:
        return f"同一来电人一天内已有 {OFTEN} 件以上，是否属于恶意由人决定"
    if label.review is ReviewReason.LOWERED_BEFORE:
        return "文中有安全词，相同的话曾由人判为不紧急，不按紧急处置，由人工确认"
    if label.review is ReviewReason.DANGER_DENIED:
        return "按事项属于紧急，但文中的危险已否认、已过去或只是担心，不按紧急处置，由人工确认"
    if label.review is ReviewReason.URGENT_BY_MODEL:
        return "按事项属于紧急，文中没有安全词，紧急处置的同时复核"
    if label.review is ReviewReason.DEGRADED:
        return "模型不可用，按规则给出建议，由人工确认"
    if label.review is ReviewReason.LOW_CONFIDENCE:
        return f"把握度 {label.probability:.0%}，低于自动派单门槛，由人工确认"
    if label.safety:
        return f"文中有安全词：{hazards(label.safety)}"
    seen = "".join(f"“{word}”" for word in label.candidates[0].evidence[:3]) if label.candidates else ""
    return f"{f'依据文中{seen}，' if seen else ''}把握度 {label.probability:.0%}，达到自动派单门槛"
