"""The caller of a route as a FastAPI dependency."""

import base64
from collections.abc import Callable
from typing import Annotated, Any

from fastapi import Depends, Header, Request
from fastapi.requests import HTTPConnection
from fastapi.security import HTTPBearer
from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter

from shared.errors import Problem
from shared.http.arguments import first_header
from shared.http.bodies import Body
from shared.http.commands import IdempotencyKey
from shared.http.html import wants_page
from shared.security.principal import Principal
from shared.security.tokens import Tokens, unauthorized


class _Bearer(HTTPBearer):
    """The bearer token of a request, None without one."""

    async def __call__(self, request: HTTPConnection) -> str | None:  # type: ignore[override]
        kind, _, token = (first_header(request, b"authorization") or "").partition(" ")
        return token.strip() or None if kind.lower() == "bearer" else None


_bearer = _Bearer(
    scheme_name="HTTPBearer", auto_error=False, description="Token of the stack (admin.token) or a JWT; see api.md"
)
Token = Annotated[str | None, Depends(_bearer)]
"""the bearer token, None without one: for routes that may be called in another way, too"""


async def caller_of(request: Request, token: Token) -> Principal:
    """Who sent this token. Raises `Problem` 401."""
    if token is None:
        raise unauthorized("Send a bearer token: `Authorization: Bearer <token>`.")
    tokens: Tokens = request.app.state.tokens
    return tokens.known(token) or await tokens.principal(token)


Caller = Annotated[Principal, Depends(caller_of)]
"""the principal behind the bearer token, whatever his roles (401 without)"""


def allowed(*roles: str) -> Any:
    """A dependency that yields the principal and refuses (403) one without any of `roles`: use as
    `who: Annotated[Principal, allowed("seat", "supervisor")]`."""

    async def check(request: Request, token: Token) -> Principal:
        who = await caller_of(request, token)
        who.require(*roles)
        return who

    return Depends(check)


def viewed_by(*roles: str) -> Any:
    """As `allowed`, for GET routes that are pages too: a browser, which sends no bearer token by itself, is asked for
    one, and sends it as the password of HTTP Basic. Writing routes never take it: what a browser sends by itself
    another site could make it send."""

    async def check(request: Request, token: Token) -> Principal:
        try:
            who = await caller_of(request, token or _password(request))
        except Problem as problem:
            if problem.status == 401 and wants_page(request):
                raise Problem(
                    401,
                    "unauthorized",
                    "The password is a token of the stack; the user name is not looked at.",
                    headers={"WWW-Authenticate": 'Basic realm="sushu", charset="UTF-8"'},
                ) from problem
            raise
        who.require(*roles)
        return who

    return Depends(check)


def _password(request: Request) -> str | None:
    kind, _, value = (first_header(request, b"authorization") or "").partition(" ")
    if kind.lower() != "basic":
        return None
    try:
        return base64.b64decode(value.strip(), validate=True).decode().partition(":")[2] or None
    except ValueError:
        return None


KeyHeader = Annotated[str | None, Header(alias="Idempotency-Key", min_length=1, max_length=255, pattern=r"^[!-~]+$")]
"""1 to 255 printable ASCII characters, no blanks"""


async def _idempotency(
    request: Request, key: KeyHeader = None
) -> Callable[[Principal, Body | None], IdempotencyKey | None]:
    def make(who: Principal, body: Body | None) -> IdempotencyKey | None:
        if key is None:
            return None
        return IdempotencyKey.of(
            who.sub, request.method, request.url.path, key, body.canonical() if body is not None else None
        )

    return make


Idempotency = Annotated[Callable[[Principal, Body | None], IdempotencyKey | None], Depends(_idempotency)]
"""makes the key of this write: `queue.submit(command, idempotency(who, body))`; None without the header"""


async def _public(request: Request) -> None:
    rate: int = request.app.state.public_rate
    if rate == 0:
        return
    limiter: MovingWindowRateLimiter = request.app.state.limiter
    item = RateLimitItemPerMinute(rate)
    address = request.client.host if request.client else "unknown"
    if not limiter.hit(item, address):
        raise Problem(
            429, "too_many_requests", f"At most {rate} calls a minute; wait a little.", headers={"Retry-After": "10"}
        )


Public = Depends(_public)
"""rate limit of tokenless routes: `dependencies=[Public]`"""


def new_limiter() -> MovingWindowRateLimiter:
    """One limiter of a process."""
    return MovingWindowRateLimiter(MemoryStorage())
