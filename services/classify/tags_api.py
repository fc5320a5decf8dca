"""HTTP of the tag dictionary (api.md, classify)."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import orjson
from fastapi import APIRouter, Path, Query
from fastapi.responses import JSONResponse

from services.classify.domain.labels import TagDefinition, TagFamily, TagState, TagTier
from services.classify.jobs import created
from services.classify.schemas import LookBody, PromoteBody, TagBody
from services.classify.tag_care import rows
from services.classify.tag_care.finding import ProposalKind
from services.classify.tag_care.keeping import Tags, checked, tag_answer
from shared.clock import Clock, rfc3339
from shared.db.database import Database
from shared.errors import invalid
from shared.http.auth import Caller, Idempotency, allowed
from shared.http.commands import CommandQueue, Job
from shared.http.pages import Paged, after_of, page_of
from shared.security.principal import Principal

Reader = Annotated[Principal, allowed("seat", "supervisor", "leader", "auditor")]
Keeper = Annotated[Principal, allowed("supervisor")]
ProposalId = Annotated[str, Path(min_length=1, max_length=120)]


def add_routes(routes: APIRouter, tags: Tags, jobs: CommandQueue[Job], database: Database, clock: Clock) -> None:
    """Add the routes of `tags`."""

    @routes.get("/v1/tags")
    async def list_tags(
        who: Caller, page: Paged, family: TagFamily | None = None, state: TagState | None = TagState.ACTIVE
    ) -> dict[str, Any]:
        """The tag dictionary by code; `state=retired` shows what was taken out of use."""
        after = after_of(page, str)
        async with database.read() as pg:
            known = await rows.definitions(pg)
        found = [
            tag_answer(tag)
            for tag in known
            if (after is None or tag.code > after) and family in (None, tag.family) and state in (None, tag.state)
        ]
        return page_of(found[: page.limit + 1], page, lambda row: [row["code"]])

    @routes.post(
        "/v1/tags", status_code=201, responses={200: {"description": "the answer of an equal call with the same key"}}
    )
    async def put_tag(body: TagBody, who: Keeper, idempotency: Idempotency) -> JSONResponse:
        """Add a tag, or replace the one of the same code; its words are looked for from now on. With `valid_from` and
        `valid_to` it is for what happened in that time alone."""
        words = tuple(dict.fromkeys(word.strip() for word in body.words if word.strip()))
        if not words:
            raise invalid("/words", "needs at least one word that is not white space")
        definition = checked(
            TagDefinition(
                body.code,
                body.name,
                TagFamily(body.family),
                TagTier(body.tier),
                words,
                valid_from=body.valid_from,
                valid_to=body.valid_to,
            )
        )
        return await created(jobs, lambda uow: tags.put(definition, who.actor, uow), idempotency(who, body))

    @routes.get("/v1/tags/quality")
    async def quality(who: Reader, days: Annotated[int, Query(ge=1, le=366)] = 30) -> dict[str, Any]:
        """Coverage (labels with a tag) and accuracy per unit: of the tags that were set, those that reviewers kept
        (precision), and of those that they meant, the ones that were set (recall)."""
        async with database.read() as pg:
            found = await rows.quality(pg, clock.now(), days)
        items = [
            {
                "unit": row["unit"] or None,
                "labels": row["labels"],
                "tagged": row["tagged"],
                "coverage": round(row["tagged"] / row["labels"], 4),
                "reviewed": row["reviewed"],
                "precision": round(row["kept"] / row["set"], 4) if row["set"] else None,
                "recall": round(row["kept"] / row["meant"], 4) if row["meant"] else None,
            }
            for row in found
            if who.sees_unit(row["unit"]) or not row["unit"]
        ]
        return {"days": days, "items": items}

    @routes.get("/v1/tags/proposals")
    async def list_proposals(
        who: Reader,
        page: Paged,
        kind: ProposalKind | None = None,
        status: Annotated[Literal["open", "accepted", "rejected"], Query()] = "open",
    ) -> dict[str, Any]:
        """What reviewers' decisions and the monthly look suggest, with counts and examples (redacted)."""
        async with database.read() as pg:
            found = await rows.listed(pg, kind.value if kind else None, status, after_of(page, str), page.limit + 1)
        answer = page_of(found, page, lambda row: [row["id"]])
        return {
            **answer,
            "items": [
                {
                    **row,
                    "score": row["score"] and round(row["score"], 3),
                    "detail": orjson.loads(row["detail"] or "{}"),
                    "examples": orjson.loads(row["examples"] or "[]"),
                    "created_at": rfc3339(row["created_at"]),
                    "decided_at": rfc3339(row["decided_at"]) if row["decided_at"] else None,
                }
                for row in answer["items"]
            ],
        }

    @routes.post("/v1/tags/proposals")
    async def look_now(body: LookBody, who: Keeper, idempotency: Idempotency) -> dict[str, Any]:
        """Look through the last days now, as is done by itself every month: tags that mean the same, tags that
        nobody uses, phrases that emerge."""
        found, told = await tags.look(body.days)
        job: Job = lambda uow: tags.propose(found, told, who.actor, uow)  # noqa: E731
        return (await jobs.submit(job, idempotency(who, body))).answer

    @routes.post("/v1/tags/proposals/{proposal_id}/{decision}")
    async def decide_proposal(
        proposal_id: ProposalId,
        decision: Literal["accept", "reject", "undo"],
        who: Keeper,
        idempotency: Idempotency,
        body: PromoteBody | None = None,
    ) -> dict[str, Any]:
        """Accept a proposal, reject it, or take either back; a promoted phrase may get code, name, family and times."""
        job: Job = lambda uow: tags.decide(proposal_id, decision, body, who.actor, uow)  # noqa: E731
        return (await jobs.submit(job, idempotency(who, body))).answer
