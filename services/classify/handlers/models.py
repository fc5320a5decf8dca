"""Models: registered, shown in the shadow of the present one, activated when they beat it, rolled back."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from services.classify import repository
from services.classify.knowledge import Library
from services.classify.models.folder import ModelFacts, ModelFolderError, load
from services.classify.models.linear import LinearClassifier
from services.classify.models.rules import RULES_VERSION
from services.classify.shadow import compared, confirmed
from shared.clock import rfc3339
from shared.db import audit
from shared.errors import Problem, invalid, not_found
from shared.http.commands import Answer
from shared.outbox.uow import Uow

MAX_MODEL_PROBLEMS = 10


@dataclass(frozen=True, slots=True)
class RegisterModel:
    """`path` as the caller wrote it: relative to the data folder, or absolute below it."""

    path: str
    actor: str


@dataclass(frozen=True, slots=True)
class ActivateModel:
    """`force`: also when it did not beat the present one, for the given reason."""

    version: str
    actor: str
    force: bool = False
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class RollBackModel:
    """Back to the model that was active before."""

    actor: str
    reason: str | None = None


ModelCommand = RegisterModel | ActivateModel | RollBackModel


class Models:
    """Commands of those who keep models. They are rare, so each is handled by itself."""

    def __init__(self, data_dir: Path, library: Library) -> None:
        self._data_dir = data_dir
        self._library = library

    async def on_commands(self, commands: Sequence[ModelCommand], uow: Uow) -> list[Answer | Problem]:
        answers: list[Answer | Problem] = []
        for command in commands:
            try:
                match command:
                    case RegisterModel():
                        answers.append(await self._register(command, uow))
                    case ActivateModel():
                        answers.append(await self._activate(command, uow))
                    case RollBackModel():
                        answers.append(await self._roll_back(command, uow))
            except Problem as problem:  # each raises before it has written anything
                answers.append(problem)
        return answers

    async def _register(self, command: RegisterModel, uow: Uow) -> Answer:
        folder, relative = self._below_data(command.path)
        model, facts = await self._checked(folder)
        catalogue_version = await self._require_matters(facts, uow)
        known = await repository.model(uow.pg, facts.version)
        shadow = await self._shadow(model, catalogue_version, uow)
        if known is not None:
            if known["digest"] != facts.digest:
                raise Problem(
                    409,
                    "model_version_conflict",
                    f"Version {facts.version} was registered from another folder content; train it under a new name.",
                )
            if not known["active"]:
                await repository.put_shadow(uow.pg, facts.version, shadow)
            return {**model_answer({**dict(known), "shadow": shadow}), "repeated": True}
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
            "shadow": shadow,
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

    async def _activate(self, command: ActivateModel, uow: Uow) -> Answer:
        now = uow.clock.now()
        if command.version == RULES_VERSION:
            await repository.switch_model(uow.pg, None, now, command.actor)
            answer: Answer = {"version": RULES_VERSION, "active": True, "degraded": True}
        else:
            row = await repository.model(uow.pg, command.version, lock=True)
            if row is None:
                raise not_found("This model")
            model, facts = await self._checked(self._below_data(row["path"])[0])
            if facts.digest != row["digest"]:
                raise Problem(
                    409,
                    "model_changed",
                    f"The folder of {command.version} is not the one that was registered; register it anew.",
                )
            catalogue_version = await self._require_matters(facts, uow)
            shadow = row["shadow"]
            if not row["active"]:
                shadow = await self._shadow(model, catalogue_version, uow)
                if shadow["verdict"] == "not_better" and not command.force:
                    raise Problem(409, "not_better", _not_better(command.version, shadow), shadow=shadow)
                await repository.put_shadow(uow.pg, command.version, shadow)
            await repository.switch_model(uow.pg, command.version, now, command.actor)
            answer = model_answer({**dict(row), "active": True, "activated_at": now, "shadow": shadow})
        await repository.restamp(uow.pg)
        await audit.record(
            uow,
            actor=command.actor,
            action="model.activated",
            subject=command.version,
            reason=command.reason,
            detail={"forced": command.force, "shadow": answer.get("shadow")},
        )
        return answer

    async def _roll_back(self, command: RollBackModel, uow: Uow) -> Answer:
        active, before = await repository.replaced_model(uow.pg)
        row = await repository.model(uow.pg, before, lock=True) if before is not None else None
        if before is None or row is None:
            raise Problem(409, "nothing_before", "No model was active before; activate one, or `rules` for none.")
        _, facts = await self._checked(self._below_data(row["path"])[0])
        if facts.digest != row["digest"]:
            raise Problem(409, "model_changed", f"The folder of {before} is not the one that was registered.")
        await self._require_matters(facts, uow)
        now = uow.clock.now()
        await repository.switch_model(uow.pg, before, now, command.actor, back=True)
        await repository.restamp(uow.pg)
        await audit.record(
            uow,
            actor=command.actor,
            action="model.rolled_back",
            subject=before,
            reason=command.reason,
            detail={"from": active or RULES_VERSION},
        )
        return model_answer({**dict(row), "active": True, "activated_at": now})

    async def _shadow(self, model: LinearClassifier, catalogue_version: int, uow: Uow) -> dict[str, Any]:
        """How the model compares with the one that is active, or with the rules while none is."""
        now = uow.clock.now()
        knowledge = await self._library.present(uow.pg, now)
        own = await self._library.answering(uow.pg, model, str(catalogue_version), knowledge)
        cases = await confirmed(uow.pg, now, self._library, knowledge)
        return await asyncio.to_thread(compared, own, knowledge.model or knowledge.chain.rules, cases, now)

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

    async def _checked(self, folder: Path) -> tuple[LinearClassifier, ModelFacts]:
        try:
            model, facts = await asyncio.to_thread(load, folder)
        except ModelFolderError as error:
            raise Problem(
                422,
                "invalid_model",
                f"The model cannot be used: {error}",
                errors=[{"pointer": "/path", "detail": str(error)}],
            ) from error
        if facts.version == RULES_VERSION:
            raise invalid("/path", f"a model may not be called {RULES_VERSION}; train it under another name")
        return model, facts

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


def _not_better(version: str, shadow: dict[str, Any]) -> str:
    low, high = shadow["interval"]
    return (
        f"{version} was right on {shadow['accuracy']:.1%} of the {shadow['cases']} cases that persons confirmed in the"
        f" last {shadow['days']} days, {shadow['present']} on {shadow['present_accuracy']:.1%} (difference"
        f" {shadow['difference']:+.1%}, 95 % interval {low:+.1%} to {high:+.1%}). Train it on newer cases; or activate"
        ' it all the same with {"force": true, "reason": "why"}.'
    )


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
        "shadow": row.get("shadow"),
        "replaced": row.get("replaced"),
        "registered_at": rfc3339(registered_at) if isinstance(registered_at, datetime) else None,
        "activated_at": rfc3339(activated_at) if isinstance(activated_at, datetime) else None,
    }
