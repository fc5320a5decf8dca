"""Routes that only local stacks have: `/v1/tokens` and `/v1/clock` (api.md, "Local stack"). intake mounts them."""

from typing import Annotated, Any

from fastapi import APIRouter, Request
from pydantic import Field

from shared.clock import rfc3339
from shared.errors import invalid, not_found
from shared.http.auth import Caller, allowed
from shared.http.bodies import Body, Code
from shared.http.requests import StrictRoute
from shared.security.principal import ROLES, Principal
from shared.security.tokens import LONGEST_TTL_S, Tokens
from shared.service.turned_clock import ClockDesk

Admin = Annotated[Principal, allowed("admin")]


class TokenRequest(Body):
    """Whom the token is for and what it opens."""

    sub: Annotated[str, Field(min_length=1, max_length=200)]
    roles: Annotated[list[str], Field(min_length=1, max_length=7)]
    units: list[Code] | None = None
    regions: list[Code] | None = None
    platform: Code | None = None
    ttl_s: Annotated[int, Field(ge=1, le=LONGEST_TTL_S)] = 3600


class ClockTurn(Body):
    """One of the two."""

    advance_s: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    speed: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None


def router(desk: ClockDesk | None) -> APIRouter:
    """Token and clock routes; `desk` is None when the clock is not turned (SUSHU_SIM_CLOCK unset)."""
    routes = APIRouter(tags=["local"], route_class=StrictRoute)

    @routes.post("/v1/tokens")
    async def tokens(request: Request, who: Admin, body: TokenRequest) -> dict[str, Any]:
        """A signed token for tests and demonstrations."""
        if not ROLES.issuperset(body.roles):
            raise invalid("/roles", f"names no role; known: {', '.join(sorted(ROLES))}")
        issuer: Tokens = request.app.state.tokens
        token, expires = issuer.issue(
            body.sub, body.roles, units=body.units, regions=body.regions, platform=body.platform, ttl_s=body.ttl_s
        )
        return {"token": token, "expires_at": rfc3339(expires)}

    @routes.get("/v1/clock")
    async def read(who: Caller) -> dict[str, Any]:
        """The business clock of this stack."""
        if desk is None:
            raise not_found("A turned clock (start the stack with SUSHU_SIM_CLOCK=1)")
        return {"now": rfc3339(desk.clock.now()), "speed": desk.clock.speed}

    @routes.post("/v1/clock")
    async def turn(who: Admin, body: ClockTurn) -> dict[str, Any]:
        """Advance (answers when all effects are applied) or set the speed."""
        if desk is None:
            raise not_found("A turned clock (start the stack with SUSHU_SIM_CLOCK=1)")
        if (body.advance_s is None) == (body.speed is None):
            raise invalid("/", "send either `advance_s` or `speed`")
        if body.speed is not None:
            return {"now": rfc3339(await desk.set_speed(body.speed)), "fired": 0}
        assert body.advance_s is not None
        now, fired = await desk.advance(body.advance_s)
        return {"now": rfc3339(now), "fired": fired}

    return routes
