"""Tags and models: added, registered, activated."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from services.classify import repository
from services.classify.domain.labels import TagDefinition
from services.classify.knowledge import Library
from services.classify.models.folder import ModelFacts, ModelFolderError, load
from services.classify.models.rules import RULES_VERSION
from shared.clock import rfc3339
from shared.db import audit
from shared.errors import Problem, invalid, not_found
from shared.http.commands import Answer
from shared.outbox.uow import Uow

MAX_MODEL_PROBLEMS = 10


@dataclass(frozen=True, slots=True)
class PutTag:
    definition: TagDefinition
    actor: str


@dataclass(frozen=True, slots=True)
class DecideProposal:
    proposal_id: str
    accept: bool
    actor: str


@dataclass(frozen=True, slots=True)
class RegisterModel:
    """`path` as the caller wrote it: relative to the data folder, or absolute below it."""

    path: str
    actor: str


@dataclass(frozen=True, slots=True)
class ActivateModel:
    version: str
    actor: str


Command = PutTag | DecideProposal | RegisterModel | ActivateModel


class Imports:
    """Commands of those who keep tags and models. They are rare, so each is handled by itself."""

    def __init__(self, data_dir: Path, library: Library) -> None:
        self._data_dir = data_dir
        self._library = library

    async def on_commands(self, commands: Sequence[Command], uow: Uow) -> list[Answer | Problem]:
        answers: list[Answer | Problem] = []
        for command in commands:
            try:
                match command:
                    case PutTag():
                        answers.append(await self._put_tag(command, uow))
                    case DecideProposal():
                        answers.append(await self._decide_proposal(command, uow))
                    case RegisterModel():
                        answers.append(await self._register_model(command, uow))
                    case ActivateModel():
                        answers.append(await self._activate_model(command, uow))
            except Problem as problem:  # each raises before it has written anything
                answers.append(problem)
        return answers

    async def _put_tag(self, command: PutTag, uow: Uow) -> Answer:
        versions = await repository.put_tags(uow.pg, [command.definition], uow.clock.now(), command.actor)
        await repository.restamp(uow.pg)
        version = versions[command.definition.code]
        await audit.record(
            uow, actor=command.actor, action="tag.put", subject=command.definition.code, detail={"version": version}
        )
        return {**tag_answer(command.definition), "version": version}

    async def _decide_proposal(self, command: DecideProposal, uow: Uow) -> Answer:
        now = uow.clock.now()
        proposal = await repository.lock_proposal(uow.pg, command.proposal_id)
        if proposal is None:
            raise not_found("This proposal")
        status = "accepted" if command.accept else "rejected"
        if proposal["status"] != "open":
            if proposal["status"] == status:
                return _decided(command.proposal_id, proposal["tag"], proposal["word"], status)
            raise Problem(
                409, "already_decided", f"This proposal was {proposal['status']} before.", status_now=proposal["status"]
            )
        if command.accept:
            found = {tag.code: tag for tag in await repository.tag_definitions(uow.pg)}.get(proposal["tag"])
            if found is not None and proposal["word"] not in found.words:
                wider = TagDefinition(
                    found.code, found.name, found.family, found.tier, (*found.words, str(proposal["word"]))
                )
                await repository.put_tags(uow.pg, [wider], now, command.actor)
                await repository.restamp(uow.pg)
        await repository.decide_proposal(uow.pg, command.proposal_id, status, now, command.actor)
        await audit.record(uow, actor=command.actor, action=f"tag_proposal.{status}", subject=command.proposal_id)
        return _decided(command.proposal_id, proposal["tag"], proposal["word"], status)

    async def _register_model(self, command: RegisterModel, uow: Uow) -> Answer:
        folder, relative = self._below_data(command.path)
        facts = await self._checked(folder)
        catalogue_version = await self._require_matters(facts, uow)
        known = await repository.model(uow.pg, facts.version)
        if known is not None:
            if known["digest"] != facts.digest:
                raise Problem(
                    409,
                    "model_version_conflict",
                    f"Version {facts.version} was registered from another folder content; train it under a new name.",
                )
            return {**model_answer(dict(known)), "repeated": True}
        now = uow.clock.now()
        row = {
            "version": facts.version,
            "path": relative,
            "digest": facts.digest,
            "labels": len(facts.labels),
            "training": dict(facts.training),
            "metrics": dict(facts.metrics),
            "registered_at": now,
            "registered_by": command.actor,
            "active": False,
            "catalogue_version": catalogue_version,
        }
        await repository.add_model(uow.pg, row)
        await audit.record(
            uow,
            actor=command.actor,
            action="model.registered",
            subject=facts.version,
            detail={"digest": facts.digest},
        )
        return model_answer({**row, "activated_at": None})

    async def _activate_model(self, command: ActivateModel, uow: Uow) -> Answer:
        now = uow.clock.now()
        if command.version == RULES_VERSION:
            await repository.switch_model(uow.pg, None, now, command.actor)
            answer: Answer = {"version": RULES_VERSION, "active": True, "degraded": True}
        else:
            row = await repository.model(uow.pg, command.version, lock=True)
            if row is None:
                raise not_found("This model")
            facts = await self._checked(self._below_data(row["path"])[0])
            if facts.digest != row["digest"]:
                raise Problem(
                    409,
                    "model_changed",
                    f"The folder of {command.version} is not the one that was registered; register it anew.",
                )
            await self._require_matters(facts, uow)
            await repository.switch_model(uow.pg, command.version, now, command.actor)
            answer = model_answer({**dict(row), "active": True, "activated_at": now})
        await repository.restamp(uow.pg)
        await audit.record(uow, actor=command.actor, action="model.activated", subject=command.version)
        return answer

    def _below_data(self, path: str) -> tuple[Path, str]:
        """The folder and its path relative to the data folder; links are followed before it is judged."""
        root = self._data_dir.resolve()
        try:
            folder = (root / path).resolve()
        except (OSError, RuntimeError, ValueError) as error:
            raise invalid("/path", "is no path; name a folder below the data folder") from error
        if folder == root or not folder.is_relative_to(root):
            raise invalid("/path", "must lie below the data folder (SUSHU_DATA_DIR); copy the model there first")
        return folder, str(folder.relative_to(root))

    async def _checked(self, folder: Path) -> ModelFacts:
        try:
            _, facts = await asyncio.to_thread(load, folder)
        except ModelFolderError as error:
            raise Problem(
                422,
                "invalid_model",
                f"The model cannot be used: {error}",
                errors=[{"pointer": "/path", "detail": str(error)}],
            ) from error
        if facts.version == RULES_VERSION:
            raise invalid("/path", f"a model may not be called {RULES_VERSION}; train it under another name")
        return facts

    async def _require_matters(self, facts: ModelFacts, uow: Uow) -> int:
        """The catalogue version whose codes the labels are. One that is no longer in force is taken when the model can
        still answer over the mapping from there. Raises Problem 422."""
        now = uow.clock.now()
        version = await self._library.version_of(uow.pg, facts.labels, now)
        knowledge = await self._library.present(uow.pg, now)
        if version is not None:
            codes = await self._library.codes_between(uow.pg, version, knowledge.catalogue.version)
            if codes and any(label in codes for label in facts.labels):
                return int(version)
        strange = [label for label in facts.labels if label not in knowledge.catalogue]
        raise Problem(
            422,
            "labels_are_no_matters",
            f"{len(strange)} of {len(facts.labels)} labels are no matter codes of catalogue version"
            f" {knowledge.catalogue.version}, nor of one that leads there; train with matter codes as labels, or"
            " confirm the mapping first.",
            errors=[
                {"pointer": "/path", "detail": f"{label[:80]} is no matter code"}
                for label in strange[:MAX_MODEL_PROBLEMS]
            ],
        )


def _decided(proposal_id: str, tag: str, word: str, status: str) -> Answer:
    return {"id": proposal_id, "tag": tag, "word": word, "status": status}


def tag_answer(definition: TagDefinition) -> Answer:
    return {
        "code": definition.code,
        "name": definition.name,
        "family": definition.family.value,
        "tier": definition.tier.value,
        "words": list(definition.words),
    }


def model_answer(row: dict[str, object]) -> Answer:
    """A registered model as the API shows it; its path is not shown, its digest is."""
    activated_at = row["activated_at"]
    registered_at = row["registered_at"]
    return {
        "version": row["version"],
        "active": row["active"],
        "digest": row["digest"],
        "labels": row["labels"],
        "training": row["training"],
        "metrics": row["metrics"],
        "registered_at": rfc3339(registered_at) if isinstance(registered_at, datetime) else None,
        "activated_at": rfc3339(activated_at) if isinstance(activated_at, datetime) else None,
    }
