"""Request bodies of the webhooks."""

from typing import Annotated

from pydantic import Field

from services.journal.webhooks.domain import GIVE_UP_S
from shared.http.bodies import Body, Code

EventType = Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[a-z0-9_.\-]+$")]
Position = Annotated[str, Field(pattern=r"^[0-9]{1,18}$")]


class WebhookBody(Body):
    """A receiver of events."""

    url: Annotated[str, Field(min_length=1, max_length=2_000, pattern=r"^[\x21-\x7e]+$")]
    types: Annotated[list[EventType], Field(max_length=100)] = Field(default_factory=list)
    """event types; empty: all"""
    after: Position | None = None
    """a position of the feed behind which it begins; left out: what happens from now on"""
    batch: Annotated[int, Field(ge=1, le=500)] = 1
    """1: each request holds one event; more: a list of up to so many"""
    region: Code | None = None
    """only cases of this region and what lies below it"""
    give_up_s: Annotated[int, Field(ge=60, le=7 * 24 * 3600)] = GIVE_UP_S
    """how long an event is tried for"""
    note: Annotated[str, Field(max_length=200)] | None = None


class ReplayBody(Body):
    """Where to begin again."""

    after: Position
