"""Persons' decisions about labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import msgspec

from services.classify import repository, review_queue, safety_examples
from services.classify.knowledge import Library
from services.classify.memory import rows as memory_rows
from services.classify.memory.index import Decided, packed, wording
from services.classify.reviewing import Decision, catalogue_of, missed_words, reviewed, unknown_codes
from shared.errors import Problem, not_found
from shared.events.catalog.clocks import ClockEvent
from shared.events.catalog.labels import Label, LabelReviewed
from shared.events.event import Message
from shared.http.commands import Answer
from shared.ids import uuid7
from shared.outbox.uow import Uow
from shared.redaction import clean
from shared.security.principal import Principal

_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class ReviewCommand:
    """A person's decision about one label."""

    appeal_id: str
    decision: Decision
    note: str | None
    who: Principal


@dataclass(slots=True)
class _Present:
    """A locked label while the commands of a batch change it."""

    sequence: int
    label: Label
    region_code: str


class Reviews:
    """Takes decisions from the review queue."""

    def __init__(self, library: Library) -> None:
        self._library = library

    async def on_clocks(self, batch: Sequence[Message[ClockEvent]], uow: Uow) -> None:
        """Hear from sla which reviews are getting late; who asks for work gets the overdue ones first."""
        late: dict[str, dict[str, Any]] = {}
        for message in batch:
            reviews = [one for one in message.data.after.clocks if one.clock == "review" and one.stopped_at is None]
            for one in reviews[-1:]:
                for appeal_id in message.data.after.appeal_ids:
                    known = late.get(appeal_id)
                    if known is None or known["sequence"] < message.sequence:
                        late[appeal_id] = {
                            "appeal_id": appeal_id,
                            "due_at": one.due_at,
                            "lamp": one.lamp,
                            "level": one.level,
                            "sequence": message.sequence,
                        }
        if late:
            await review_queue.timed(uow.pg, [late[appeal_id] for appeal_id in sorted(late)])

    async def on_commands(self, commands: Sequence[ReviewCommand], uow: Uow) -> list[Answer | Problem]:
        """Take persons' decisions: the label changes, the correction is kept for training, the fact is published."""
        now = uow.clock.now()
        knowledge = await self._library.present(uow.pg, now)
        rows = await repository.lock_labels(uow.pg, [command.appeal_id for command in commands])
        present = {
            appeal_id: _Present(row["sequence"], repository.label_from(row["label"]), row["region_code"])
            for appeal_id, row in rows.items()
        }
        older = {state.label.catalogue_version for state in present.values()} - {knowledge.catalogue.version}
        versions = {version: await self._library.catalogue(uow.pg, version) for version in sorted(older)}
        real_now = datetime.now(UTC)
        held = await review_queue.held_by(uow.pg, list(present), real_now)
        decided = [appeal_id for appeal_id, state in present.items() if not state.label.needs_review]
        second = await review_queue.asked_again(uow.pg, decided) if decided else {}
        answers: list[Answer | Problem] = []
        kept: list[dict[str, Any]] = []
        opinions: dict[str, dict[str, Any]] = {}
        to_ask: list[dict[str, Any]] = []
        proposals: dict[tuple[str, str], dict[str, Any]] = {}
        changed: set[str] = set()
        lowered: list[dict[str, Any]] = []
        decisions: dict[str, Decided] = {}
        for command in commands:
            state = present.get(command.appeal_id)
            if state is None or not command.who.sees_region(state.region_code):
                answers.append(not_found("This appeal's label"))
                continue
            own = versions.get(state.label.catalogue_version)
            catalogue = catalogue_of(command.decision, own, knowledge.catalogue)
            problem = unknown_codes(command.decision, catalogue, knowledge)
            if problem is not None:
                answers.append(problem)
                continue
            before, actor = state.label, command.who.actor
            seat = held.get(command.appeal_id, actor)
            if seat != actor and not command.who.has("supervisor"):
                answers.append(Problem(409, "leased", "Another seat looks at this label; take another review."))
                continue
            if second.get(command.appeal_id, actor) != actor and command.appeal_id in held:
                opinion = {"actor": actor, "matter": command.decision.matter, "at": real_now}
                opinions[command.appeal_id] = {"appeal_id": command.appeal_id, **opinion}
                answers.append(msgspec.to_builtins(before))
                continue
            if state.sequence == 1 and before.needs_review and review_queue.is_blind(command.appeal_id):
                to_ask.append(
                    {
                        "appeal_id": command.appeal_id,
                        "asked_at": real_now,
                        "region_code": state.region_code,
                        "label": _encode(before).decode(),
                        "first_actor": actor,
                        "first_matter": command.decision.matter,
                    }
                )
            after = reviewed(before, command.decision, catalogue, knowledge, actor)
            note = clean(command.note)
            state.sequence += 1
            state.label = after
            changed.add(command.appeal_id)
            drawn = rows[command.appeal_id]["sketch"]
            decisions[command.appeal_id] = Decided(
                wording(drawn), actor, after.matter.code, after.catalogue_version, now, packed(drawn)
            )
            row = rows[command.appeal_id]
            lowered += safety_examples.examples_of(before, after, row["title"], row["text"], actor, now)
            uow.emit(
                LabelReviewed(actor=actor, reason=note, before_matter=before.matter.code, after=after),
                key=command.appeal_id,
                sequence=state.sequence,
            )
            kept.append(
                {
                    "appeal_id": command.appeal_id,
                    "sequence": state.sequence,
                    "at": now,
                    "actor": actor,
                    "matter_before": before.matter.code,
                    "matter_after": after.matter.code,
                    "class_before": before.handling_class,
                    "class_after": after.handling_class,
                    "tags_before": [tag.code for tag in before.tags],
                    "tags_after": [tag.code for tag in after.tags],
                    "model": before.model,
                    "probability": before.matter.probability,
                    "note": note,
                }
            )
            for tag, word in missed_words(before, after):
                proposals[(tag, word)] = {"id": uuid7(), "tag": tag, "word": word, "created_at": now}
            answers.append(msgspec.to_builtins(after))
        await repository.put_reviewed(
            uow.pg,
            [
                {
                    "appeal_id": appeal_id,
                    "sequence": state.sequence,
                    "matter": state.label.matter.code,
                    "class": state.label.handling_class,
                    "degraded": state.label.degraded,
                    "needs_review": False,
                    "catalogue_version": state.label.catalogue_version,
                    "corrected": rows[appeal_id]["corrected"] or state.label.matter.code != rows[appeal_id]["matter"],
                    "label": _encode(state.label).decode(),
                }
                for appeal_id, state in present.items()
                if appeal_id in changed
            ],
        )
        await review_queue.add(uow.pg, kept)
        await review_queue.ask_again(uow.pg, to_ask)
        await review_queue.add_opinions(uow.pg, list(opinions.values()))
        await review_queue.release(uow.pg, [*changed, *opinions])
        await memory_rows.remember(uow.pg, decisions)
        if lowered:
            await safety_examples.remember(uow.pg, lowered)
            await repository.restamp(uow.pg)
        if proposals:
            await repository.propose_words(uow.pg, list(proposals.values()))
        return answers
