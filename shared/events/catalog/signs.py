"""feedback.signs.v1: ratings that the centre should look at. Key: `<period>/<unit>/<sign>`. Owner: feedback."""

from typing import ClassVar

import msgspec

from shared.events.event import Event, Snapshot


class Sign(Snapshot, frozen=True, kw_only=True):
    """What one sign says of a unit in a month so far. It proves nothing and is never scored."""

    id: str
    period: str
    """YYYY-MM"""
    unit: str
    sign: str
    """one_device: many ratings of different citizens from one device; same_words: many ratings in the same words"""
    number: int
    """ratings that it speaks of"""
    of: int
    """ratings of the unit in the month"""
    groups: int
    """different devices, or wordings"""
    appeal_ids: list[str] = msgspec.field(default_factory=list)
    """the first twenty to look at"""


class SignFound(Event, frozen=True, kw_only=True):
    """The sign was seen, or its number changed."""

    topic: ClassVar[str] = "feedback.signs.v1"
    type: ClassVar[str] = "sign.found"
    after: Sign
