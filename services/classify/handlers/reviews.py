"""Persons' decisions about labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from services.classify import repository
from services.classify.knowledge import Library
from services.classify.reviewing import Decision, missed_words, reviewed, unknown_codes
from shared.errors import Problem, not_found
from shared.events.catalog.labels import Label, LabelReviewed
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

    async def on_commands(self, commands: Sequence[ReviewCommand], uow: Uow) -> list[Answer | Problem]:
        """Take persons' decisions: the label changes, the correction is kept for training, the fact is published."""
        now = uow.clock.now()
        knowledge = await self._library.present(uow.pg, now)
        rows = await repository.lock_labels(uow.pg, [command.appeal_id for command in commands])
        present = {
            appeal_id: _Present(row["sequence"], repository.label_from(row["label"]), row["region_code"])
            for appeal_id, row in rows.items()
        }
        answers: list[Answer | Problem] = []
        kept: list[dict[str, Any]] = []
        proposals: dict[tuple[str, str], dict[str, Any]] = {}
        changed: set[str] = set()
        for command in commands:
            state = present.get(command.appeal_id)
            if state is None or not command.who.sees_region(state.region_code):
                answers.append(not_found("This appeal's label"))
                continue
            problem = unknown_codes(command.decision, knowledge)
            if problem is not None:
                answers.append(problem)
                continue
            before = state.label
            after = reviewed(before, command.decision, knowledge, command.who.actor)
            note = clean(command.note)
            state.sequence += 1
            state.label = after
            changed.add(command.appeal_id)
            uow.emit(
                LabelReviewed(actor=command.who.actor, reason=note, before_matter=before.matter.code, after=after),
                key=command.appeal_id,
                sequence=state.sequence,
            )
            kept.append(
                {
                    "appeal_id": command.appeal_id,
                    "sequence": state.sequence,
                    "at": now,
                    "actor": command.who.actor,
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
                    "corrected": rows[appeal_id]["corrected"] or state.label.matter.code != rows[appeal_id]["matter"],
                    "label": _encode(state.label).decode(),
                }
                for appeal_id, state in present.items()
                if appeal_id in changed
            ],
        )
        await repository.add_reviews(uow.pg, kept)
        if proposals:
            await repository.propose_words(uow.pg, list(proposals.values()))
        return answers
