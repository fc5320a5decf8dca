"""HTTP between platforms (api.md, Between platforms): believe, check, store, answer. Signed instead of a token."""

from __future__ import annotations

from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Path, Request, Response
from pydantic import ValidationError

from services.intake.federation import repository
from services.intake.federation.bodies import OfferBody, ReceiptBody
from services.intake.federation.handovers import Handovers, Offer, Receipt
from shared.clock import Clock
from shared.errors import Problem, not_found
from shared.federation.peers import Door
from shared.http.bodies import Body
from shared.http.commands import CommandQueue
from shared.http.problems import invalid_json, validation_problem
from shared.http.requests import BATCH_LIMIT, StrictRoute, parse_json

HandoffId = Annotated[str, Path(description="UUID of the hand-over, given by the sender")]
B = TypeVar("B", bound=Body)


def router(door: Door, handovers: Handovers, queue: CommandQueue[Offer | Receipt], clock: Clock) -> APIRouter:
    """The routes of `handoffs`."""
    routes = APIRouter(tags=["between platforms"], route_class=StrictRoute)

    # the door measures bodies itself: what is too large is refused before it is read, and audited like every refusal
    @routes.post(
        "/v1/handoffs",
        status_code=201,
        max_body_size=BATCH_LIMIT,
        responses={200: {"description": "The same offer again, with the present state"}},
        openapi_extra=_documented(OfferBody),
    )
    async def offer(request: Request, response: Response) -> dict[str, Any]:
        """Another platform offers a case; 2xx means stored, receipts say what becomes of it."""
        platform = None
        try:
            signed, raw = await door.admit(request)
            platform = signed.platform
            body = _parsed(OfferBody, request, raw)
            outcome = await queue.submit(handovers.check_offer(body, platform, clock.now()))
        except Problem as problem:
            raise await door.refuse(request, problem, platform) from None
        response.status_code = 200 if outcome.answer.get("repeated") else 201
        return {name: value for name, value in outcome.answer.items() if name != "repeated"}

    @routes.get("/v1/handoffs/{handoff_id}")
    async def read(handoff_id: HandoffId, request: Request) -> dict[str, Any]:
        """How a hand-over stands, for the platforms on its path."""
        platform = None
        try:
            signed, _ = await door.admit(request)
            platform = signed.platform
            async with door.database.look_up() as pg:
                known = await repository.read(pg, handoff_id)
            if known is None or platform not in known.path:
                raise not_found(f"The hand-over {handoff_id}")
        except Problem as problem:
            raise await door.refuse(request, problem, platform) from None
        return handovers.mirror.shown(known)

    @routes.post(
        "/v1/handoffs/{handoff_id}/receipts", max_body_size=BATCH_LIMIT, openapi_extra=_documented(ReceiptBody)
    )
    async def receipt(handoff_id: HandoffId, request: Request) -> dict[str, Any]:
        """The next platform tells how the case stands; the answer has the state here.

        An acceptance counts once that is no longer `offered`: send the receipt again until then.
        """
        platform = None
        try:
            signed, raw = await door.admit(request)
            platform = signed.platform
            body = _parsed(ReceiptBody, request, raw)
            if body.handoff_id != handoff_id:
                detail = "/handoff_id: is another than the one of the address."
                raise Problem(422, "invalid", detail, errors=[{"pointer": "/handoff_id", "detail": detail}])
            return (await queue.submit(Receipt(body, platform))).answer
        except Problem as problem:
            raise await door.refuse(request, problem, platform) from None

    return routes


def _parsed(kind: type[B], request: Request, raw: bytes) -> B:
    """Raises Problem 415 or 422."""
    content_type = request.headers.get("content-type", "")
    if content_type.partition(";")[0].strip().lower() != "application/json":
        raise invalid_json(content_type or "none")
    try:
        return kind.model_validate(parse_json(raw))
    except ValidationError as error:
        raise validation_problem(error.errors(include_input=False, include_url=False)) from None
    except ValueError:
        raise invalid_json() from None


def _documented(kind: type[Body]) -> dict[str, Any]:
    """The body in OpenAPI's words, its parts written out where they stand."""
    schema = kind.model_json_schema()
    parts = schema.pop("$defs", {})

    def whole(node: Any) -> Any:
        if isinstance(node, dict):
            known = parts.get(str(node.get("$ref", "")).rpartition("/")[2])
            return whole(known) if known is not None else {name: whole(value) for name, value in node.items()}
        return [whole(one) for one in node] if isinstance(node, list) else node

    return {"requestBody": {"required": True, "content": {"application/json": {"schema": whole(schema)}}}}
