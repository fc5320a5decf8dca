"""Tags: added, replaced, widened by accepted words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from services.classify import repository
from services.classify.domain.labels import TagDefinition
from shared.db import audit
from shared.errors import Problem, not_found
from shared.http.commands import Answer
from shared.outbox.uow import Uow


@dataclass(frozen=True, slots=True)
class PutTag:
    definition: TagDefinition
    actor: str


@dataclass(frozen=True, slots=True)
class DecideProposal:
    proposal_id: str
    accept: bool
    actor: str


Command = PutTag | DecideProposal


class Imports:
    """Commands of those who keep tags. They are rare, so each is handled by itself."""

    async def on_commands(self, commands: Sequence[Command], uow: Uow) -> list[Answer | Problem]:
        answers: list[Answer | Problem] = []
        for command in commands:
            try:
                match command:
                    case PutTag():
                        answers.append(await self._put_tag(command, uow))
                    case DecideProposal():
                        answers.append(await self._decide_proposal(command, uow))
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
