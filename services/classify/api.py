"""HTTP of classify: try a text, review labels, keep catalogue, tags and models (api.md, classify)."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query
from fastapi.responses import JSONResponse

from services.classify import catalogue_api, repository, review_queue, safety_examples, tags_api
from services.classify.answers import (
    catalogue_matter_answer,
    link_answer,
    matter_answer,
    recollection_answer,
    review_answer,
)
from services.classify.domain.catalogue import HandlingClass
from services.classify.domain.likeness import Said
from services.classify.handlers.appeals import Appeals
from services.classify.handlers.catalogues import Catalogues
from services.classify.handlers.models import (
    ActivateModel,
    ModelCommand,
    RegisterModel,
    RollBackModel,
    model_answer,
)
from services.classify.handlers.reviews import ReviewCommand
from services.classify.knowledge import Knowledge, Library
from services.classify.labelling import Case, matter_of
from services.classify.places import Places
from services.classify.quality import figures
from services.classify.reviewing import Decision
from services.classify.schemas import (
    ActivateModelBody,
    ClassifyBody,
    HandlingClassName,
    LeaseBody,
    ModelBody,
    ReviewBody,
    RollBackBody,
)
from services.classify.tag_care.keeping import Tags
from shared.clock import Clock, rfc3339
from shared.db import audit
from shared.db.database import Database
from shared.errors import invalid, not_found
from shared.http.auth import Caller, Idempotency, allowed
from shared.http.commands import CommandQueue, Job
from shared.http.pages import Paged, after_of, page_of
from shared.http.requests import StrictRoute
from shared.outbox.uow import Uow
from shared.redaction import clean
from shared.security.principal import Principal
from shared.security.scope import prefix

Reviewer = Annotated[Principal, allowed("seat", "supervisor")]
Reader = Annotated[Principal, allowed("seat", "supervisor", "leader", "auditor")]
Keeper = Annotated[Principal, allowed("supervisor")]
Admin = Annotated[Principal, allowed("admin")]
Name = Annotated[str, Path(min_length=1, max_length=120)]


def router(
    appeals: Appeals,
    library: Library,
    places: Places,
    database: Database,
    clock: Clock,
    reviews: CommandQueue[ReviewCommand],
    jobs: CommandQueue[Job],
    models: CommandQueue[ModelCommand],
    tags: Tags,
) -> APIRouter:
    """The routes of `classify`, `reviews`, `matters`, `catalogue`, `tags` and `models`."""
    routes = APIRouter(tags=["classify"], route_class=StrictRoute)

    async def knowledge_now() -> Knowledge:
        async with database.read() as pg:
            return await library.present(pg, clock.now())

    @routes.post("/v1/classify")
    async def classify(body: ClassifyBody, who: Caller) -> dict[str, Any]:
        """What a text would be labelled as; nothing is stored."""
        case = Case(body.title, body.text)
        now, pseudonym = clock.now(), body.reporter.pseudonym if body.reporter else None
        reporters = {pseudonym: now} if pseudonym else {}
        async with database.look_up() as pg:
            seen, earlier = await repository.seen_and_earlier(pg, reporters, appeals.settings.repeat_days)
            knowledge = await library.present(pg, now, seen)
        (found,) = await appeals.label_cases([case], knowledge, now)
        region = body.region_code or await places.region_of(case.words)
        async with database.look_up() as pg:
            said = Said("", now, pseudonym or "", prefix(region), found.sketch, found.keys)
            ((repeat, event),) = await appeals.compare(pg, [said], earlier, who.sees_region)
        label = found.label
        candidates = [matter_answer(matter_of(candidate, knowledge.catalogue)) for candidate in label.candidates]
        return {
            "matter": {name: candidates[0][name] for name in ("code", "path", "probability")} if candidates else None,
            "candidates": candidates,
            "tags": [
                {
                    "code": tag.code,
                    "family": tag.family.value,
                    "confidence": tag.confidence,
                    "source": tag.source.value,
                    "evidence": list(tag.evidence),
                }
                for tag in label.tags
            ],
            "class": label.handling_class.value,
            "kind": label.kind.value,
            "dimension": label.dimension,
            "safety_words": [hit.word for hit in label.safety],
            "region": region,
            "repeat_of": link_answer(repeat),
            "same_event": link_answer(event),
            "remembered": recollection_answer(found.recollection),
            "model": label.model,
            "catalogue_version": knowledge.catalogue.version,
            "degraded": label.degraded,
            "needs_review": label.needs_review,
        }

    @routes.get("/v1/classify/quality")
    async def quality(who: Reader, days: Annotated[int, Query(ge=1, le=3_660)] = 30) -> dict[str, Any]:
        """How often persons agreed with the labels of the last `days`, by model (with calibration and coverage), matter
        and month (with drift), each rate beside its counts."""
        now = clock.now()
        async with database.read() as pg:
            return await figures(pg, now, days, await library.present(pg, now))

    @routes.get("/v1/classify/safety-examples")
    async def list_safety_examples(who: Reader, page: Paged) -> dict[str, Any]:
        """Sentences with a safety word that persons judged to be no danger, the newest first."""
        async with database.read() as pg:
            rows = await safety_examples.listed(pg, after_of(page, str), page.limit + 1)
        return page_of([row | {"at": rfc3339(row["at"])} for row in rows], page, lambda row: [row["id"]])

    @routes.post("/v1/classify/safety-examples/{example_id}/{decision}")
    async def decide_safety_example(
        example_id: Name, decision: Literal["undo", "use"], who: Keeper, idempotency: Idempotency
    ) -> dict[str, Any]:
        """Take an example out of use: its sentence raises an alarm again, everywhere at once; or use it again."""
        state = "undone" if decision == "undo" else "used"

        async def job(uow: Uow) -> dict[str, Any]:
            if not await safety_examples.decide(uow.pg, example_id, state, who.actor, uow.clock.now()):
                raise not_found("This example")
            await repository.restamp(uow.pg)
            await audit.record(uow, actor=who.actor, action=f"safety_example.{state}", subject=example_id)
            return {"id": example_id, "state": state}

        return (await jobs.submit(job, idempotency(who, None))).answer

    @routes.get("/v1/reviews")
    async def list_reviews(
        who: Reader,
        page: Paged,
        handling_class: Annotated[HandlingClassName | None, Query(alias="class")] = None,
    ) -> dict[str, Any]:
        """Labels that wait for a person, oldest first, with the five candidates and the words that decided."""
        after = after_of(page, str)
        if _is_of_a_unit(who):
            return {"items": [], "next": None}
        async with database.read() as pg:
            rows = await review_queue.listed(
                pg,
                scope=who.scope,
                handling_class=handling_class,
                after=after,
                limit=page.limit + 1,
                now=datetime.now(UTC),
            )
        answer = page_of(rows, page, lambda row: [row["appeal_id"]])
        return {**answer, "items": [review_answer(row) for row in answer["items"]]}

    @routes.post("/v1/reviews/lease")
    async def lease(body: LeaseBody, who: Reviewer) -> dict[str, Any]:
        """Take the next reviews, the most urgent class first; nobody else gets them for ten minutes."""
        if _is_of_a_unit(who):
            return {"items": []}
        async with database.transaction() as uow:
            taken = await review_queue.lease(
                uow.pg, who.actor, who.scope, body.handling_class, body.limit, datetime.now(UTC)
            )
        return {"items": [review_answer(row) for row in taken]}

    @routes.post("/v1/reviews/{appeal_id}")
    async def decide(
        appeal_id: Annotated[str, Path(min_length=1, max_length=64)],
        body: ReviewBody,
        who: Reviewer,
        idempotency: Idempotency,
    ) -> dict[str, Any]:
        """Confirm or correct a label; the decision is stored, published and kept for the next training. 409 `leased`
        while another seat looks at it."""
        if _is_of_a_unit(who):
            raise not_found(f"A review of the appeal {appeal_id}")
        decision = Decision(
            body.matter,
            tuple(body.tags) if body.tags is not None else None,
            HandlingClass(body.handling_class) if body.handling_class else None,
            body.catalogue_version,
        )
        command = ReviewCommand(appeal_id, decision, body.note, who)
        return (await reviews.submit(command, idempotency(who, body))).answer

    @routes.get("/v1/matters")
    async def list_matters(
        who: Caller,
        page: Paged,
        q: Annotated[str, Query(max_length=200)] = "",
        version: Annotated[str | None, Query(max_length=120)] = None,
    ) -> dict[str, Any]:
        """Matters of the catalogue in force, or of another `version`; `q` looks in codes, names and synonyms."""
        async with database.read() as pg:
            catalogue = (
                (await library.present(pg, clock.now())).catalogue
                if version is None
                else await library.catalogue(pg, version)
            )
        if catalogue is None:
            raise not_found("This catalogue version")
        after = after_of(page, str)
        matters = catalogue.find(q)
        if after is not None:
            codes = [matter.code for matter in matters]
            matters = matters[codes.index(after) + 1 :] if after in codes else []
        rows = [catalogue_matter_answer(matter) for matter in matters[: page.limit + 1]]
        answer = page_of(rows, page, lambda row: [row["code"]])
        return {**answer, "catalogue_version": catalogue.version}

    catalogue_api.add_routes(routes, Catalogues(library, database), library, jobs, database, clock)

    tags_api.add_routes(routes, tags, jobs, database, clock)

    @routes.get("/v1/models")
    async def list_models(who: Caller, page: Paged) -> dict[str, Any]:
        """Registered models; `in_use` is what labels are made with now, `trouble` says why no model is."""
        async with database.read() as pg:
            knowledge = await library.present(pg, clock.now())
            rows = await repository.model_list(pg, after_of(page, str), page.limit + 1)
        answer = page_of(rows, page, lambda row: [row["version"]])
        chain = knowledge.chain
        return {
            **answer,
            "items": [model_answer(row) for row in answer["items"]],
            "in_use": (chain.preferred[0] if chain.preferred else chain.rules).version,
            "trouble": knowledge.trouble,
        }

    @routes.post(
        "/v1/models",
        status_code=201,
        responses={200: {"description": "known already, or the answer of an equal call with the same key"}},
    )
    async def register_model(body: ModelBody, who: Admin, idempotency: Idempotency) -> JSONResponse:
        """Register a model folder below the data folder: its digests are checked, its labels must be matter codes."""
        return await _stored(models, RegisterModel(body.path, who.actor), idempotency(who, body))

    @routes.post("/v1/models/{version}/activate")
    async def activate_model(
        version: Name, who: Admin, idempotency: Idempotency, body: ActivateModelBody | None = None
    ) -> dict[str, Any]:
        """Label with this model from now on; `rules` switches every model off. 409 `not_better` when it was not right
        more often than the present one on the cases that persons confirmed in the last weeks: `force` with a `reason`
        activates it all the same."""
        body = body or ActivateModelBody()
        if body.force and not (body.reason or "").strip():
            raise invalid("/reason", "say why a model that did not beat the present one is activated")
        command = ActivateModel(version, who.actor, body.force, clean(body.reason))
        return (await models.submit(command, idempotency(who, body))).answer

    @routes.post("/v1/models/rollback")
    async def roll_back(who: Admin, idempotency: Idempotency, body: RollBackBody | None = None) -> dict[str, Any]:
        """Back to the model that was active before the present one, whatever the last weeks say."""
        command = RollBackModel(who.actor, clean(body.reason) if body else None)
        return (await models.submit(command, idempotency(who, body))).answer

    return routes


async def _stored(queue: CommandQueue[ModelCommand], command: ModelCommand, key: Any) -> JSONResponse:
    outcome = await queue.submit(command, key)
    repeated = outcome.repeated or outcome.answer.get("repeated", False)
    answer = {name: value for name, value in outcome.answer.items() if name != "repeated"}
    return JSONResponse(answer, status_code=200 if repeated else 201)


def _is_of_a_unit(who: Principal) -> bool:
    """Reviews are the centre's work: a token limited to units sees none."""
    return bool(who.units) and not who.has("admin")
