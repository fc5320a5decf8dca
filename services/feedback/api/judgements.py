"""Routes of what the centre judges: 剔除 and 虚假办结, each with a review one level up."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query, Response

from services.feedback import judgements
from services.feedback.api.desk import Centre, Desk, Id, Leader, Loser, Reader
from services.feedback.commands import exclusion_of, false_completion_of
from services.feedback.domain import Feedback, Review
from services.feedback.repository import Case
from services.feedback.schemas import ContestBody, ExclusionBody, ExclusionDecisionBody, FalseCompletionDecisionBody
from shared.clock import in_zone, period_bounds, period_of, rfc3339
from shared.errors import not_found
from shared.http.auth import Idempotency, allowed
from shared.http.commands import FIRST_ANSWER
from shared.http.pages import Paged, after_of, cursor_of, page_of
from shared.security.principal import Principal

Number = Annotated[int, Path(ge=1, le=1_000, description="the round in which the citizen contradicted the unit")]
ReviewState = Literal["requested", "upheld", "overturned"]


def add_routes(routes: APIRouter, desk: Desk) -> None:
    """`/v1/exclusions` and `/v1/callbacks/…/false-completions`."""
    acts, database = desk.acts, desk.database

    @routes.get("/v1/exclusions")
    async def list_exclusions(
        who: Reader,
        asked: Paged,
        state: Literal["requested", "granted", "refused"] | None = None,
        review: ReviewState | None = None,
    ) -> dict[str, Any]:
        """Requests to leave a rating out, in the caller's scope."""
        async with database.read() as pg:
            rows = await judgements.list_exclusions(
                pg, state=state, review=review, who=who, after=after_of(asked, str) or "", limit=asked.limit + 1
            )
        return page_of([_shown(row) for row in rows], asked, lambda row: [row["id"]])

    @routes.get("/v1/exclusions/statistics")
    async def exclusion_statistics(
        who: Annotated[Principal, allowed("supervisor", "leader", "auditor")],
        period: Annotated[str | None, Query(pattern=r"^20[0-9]{2}-(0[1-9]|1[0-2])$", description="YYYY-MM")] = None,
    ) -> dict[str, Any]:
        """Who asks to leave ratings out and who grants it: requests of a month (without `period` the present one) by
        unit and by the person who decided first."""
        period = period or period_of(desk.clock.now())
        since, until = period_bounds(period)
        async with database.read() as pg:
            units, deciders = await judgements.statistics(pg, since=since, until=until, who=who)
        return {"period": period, "units": units, "deciders": deciders}

    @routes.post("/v1/exclusions", status_code=201, responses=FIRST_ANSWER)
    async def ask_exclusion(
        body: ExclusionBody,
        who: Annotated[Principal, allowed("handler", "supervisor", "leader")],
        idempotency: Idempotency,
        response: Response,
    ) -> dict[str, Any]:
        """剔除: the scored unit asks within five working days after closing. 200 for a repeated call."""
        rule = acts.request_exclusion(who, body.reason, body.evidence)
        outcome = await desk.submit(rule, who, body.appeal_id, idempotency(who, body), _exclusion)
        response.status_code = outcome.status
        return outcome.answer

    async def appeal_of(exclusion_id: str) -> str:
        async with database.read() as pg:
            appeal_id = await judgements.appeal_of_exclusion(pg, exclusion_id)
        if appeal_id is None:
            raise not_found("This exclusion")
        return appeal_id

    @routes.post("/v1/exclusions/{exclusion_id}/decision")
    async def decide_exclusion(
        exclusion_id: Id, body: ExclusionDecisionBody, who: Centre, idempotency: Idempotency
    ) -> dict[str, Any]:
        """The centre grants or refuses; a granted rating leaves both sides of every rate. The citizen reads it at
        `GET /v1/track`."""
        appeal_id = await appeal_of(exclusion_id)
        rule = acts.decide_exclusion(exclusion_id, who.actor, body.granted, body.reason)
        return (await desk.submit(rule, who, appeal_id, idempotency(who, body), _exclusion)).answer

    @routes.post("/v1/exclusions/{exclusion_id}/review")
    async def review_exclusion(
        exclusion_id: Id, body: ContestBody, who: Loser, idempotency: Idempotency
    ) -> dict[str, Any]:
        """申诉: who lost, the unit (a handler) or the citizen (a seat, on his word), asks within five working days."""
        appeal_id = await appeal_of(exclusion_id)
        rule = acts.request_review(exclusion_of(exclusion_id), who, body.reason, body.evidence)
        return (await desk.submit(rule, who, appeal_id, idempotency(who, body), _exclusion)).answer

    @routes.post("/v1/exclusions/{exclusion_id}/review/decision")
    async def decide_exclusion_review(
        exclusion_id: Id, body: ExclusionDecisionBody, who: Leader, idempotency: Idempotency
    ) -> dict[str, Any]:
        """The last word, of a leader who did not decide first."""
        appeal_id = await appeal_of(exclusion_id)
        rule = acts.decide_review(exclusion_of(exclusion_id), who.actor, body.granted, body.reason)
        return (await desk.submit(rule, who, appeal_id, idempotency(who, body), _exclusion)).answer

    @routes.get("/v1/callbacks/false-completions")
    async def list_false_completions(
        who: Reader,
        asked: Paged,
        state: Literal["suspected", "confirmed", "denied"] | None = None,
        review: ReviewState | None = None,
    ) -> dict[str, Any]:
        """虚假办结: completions that the unit called solved and the citizen did not, with both sides' words."""
        after = cursor_of(asked, str, int)
        async with database.read() as pg:
            rows = await judgements.list_false_completions(
                pg,
                state=state,
                review=review,
                who=who,
                after=(after[0], after[1]) if after else ("", 0),
                limit=asked.limit + 1,
            )
        items = [_shown(row) | _said(feedback, row["round"]) for row, feedback in rows]
        return page_of(items, asked, lambda row: [row["appeal_id"], row["round"]])

    @routes.post("/v1/callbacks/{appeal_id}/false-completions/{round}/decision")
    async def decide_false_completion(
        appeal_id: Id, round: Number, body: FalseCompletionDecisionBody, who: Centre, idempotency: Idempotency
    ) -> dict[str, Any]:
        """The centre confirms or denies 虚假办结; confirmed, it is counted for the unit."""
        of = false_completion_of(round)
        rule = acts.decide_false_completion(round, who.actor, body.confirmed, body.reason)
        return (await desk.submit(rule, who, appeal_id, idempotency(who, body), _false_completion(round), of)).answer

    @routes.post("/v1/callbacks/{appeal_id}/false-completions/{round}/review")
    async def review_false_completion(
        appeal_id: Id, round: Number, body: ContestBody, who: Loser, idempotency: Idempotency
    ) -> dict[str, Any]:
        """申诉: who lost, the unit (a handler) or the citizen (a seat, on his word), asks within five working days."""
        of = false_completion_of(round)
        rule = acts.request_review(of, who, body.reason, body.evidence)
        return (await desk.submit(rule, who, appeal_id, idempotency(who, body), _false_completion(round), of)).answer

    @routes.post("/v1/callbacks/{appeal_id}/false-completions/{round}/review/decision")
    async def decide_false_completion_review(
        appeal_id: Id, round: Number, body: FalseCompletionDecisionBody, who: Leader, idempotency: Idempotency
    ) -> dict[str, Any]:
        """The last word, of a leader who did not decide first."""
        of = false_completion_of(round)
        rule = acts.decide_review(of, who.actor, body.confirmed, body.reason)
        return (await desk.submit(rule, who, appeal_id, idempotency(who, body), _false_completion(round), of)).answer


def _exclusion(case: Case) -> dict[str, Any]:
    one = case.feedback.exclusion
    assert one is not None
    return _shown(
        {
            "id": one.id,
            "appeal_id": case.appeal_id,
            "unit": one.unit,
            "state": one.state,
            "reason": one.reason,
            "evidence": one.evidence,
            "asked_at": one.asked_at,
            "decided_by": one.decided_by,
            "decision": one.decision,
            "review": one.review,
        }
    )


def _false_completion(number: int) -> Callable[[Case], dict[str, Any]]:
    def view(case: Case) -> dict[str, Any]:
        one = next(one for one in case.feedback.false_completions if one.round == number)
        return _shown(
            {
                "appeal_id": case.appeal_id,
                "round": number,
                "state": one.state,
                "suspected_at": one.suspected_at,
                "decided_by": one.decided_by,
                "decision": one.decision,
                "decided_at": one.decided_at,
                "review": one.review,
            }
        ) | _said(case.feedback, number)

    return view


def _said(feedback: Feedback, number: int) -> dict[str, Any]:
    """What the unit and the citizen said in a round."""
    asked = next(r for r in feedback.rounds if r.number == number)
    answer = asked.answer
    return {
        "work_order_id": asked.completion.work_order_id,
        "unit": asked.completion.unit,
        "unit_name": asked.completion.unit_name,
        "result": asked.completion.result,
        "satisfaction": answer.satisfaction if answer else None,
        "words": answer.words if answer else None,
    }


def _shown(row: dict[str, Any]) -> dict[str, Any]:
    shown: dict[str, Any] = in_zone(row)
    return shown | {"review": _review(row["review"])}


def _review(review: Review | None) -> dict[str, Any] | None:
    if review is None:
        return None
    verdict = review.verdict
    return {
        "state": review.state,
        "asked_by": review.asked_by,
        "asked_at": rfc3339(review.asked_at),
        "reason": review.reason,
        "evidence": review.evidence,
        "decided_by": verdict.by if verdict else None,
        "decision": verdict.reason if verdict else None,
        "decided_at": rfc3339(verdict.at) if verdict else None,
    }
