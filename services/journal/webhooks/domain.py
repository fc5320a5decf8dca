"""What a webhook is, how a push is signed and what an answer of its receiver means. Pure.

Signatures follow Standard Webhooks (standardwebhooks.com): HMAC-SHA-256 over `<id>.<timestamp>.<body>`, so that
receivers verify them with libraries that they have.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from services.journal.domain import Entry
from services.journal.sharing import View

FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 300.0
"""between two tries of one push"""
LONGEST_ASKED_PAUSE_S = 3600.0
"""a receiver's Retry-After is followed up to here"""
GIVE_UP_S = 24 * 3600
"""how long an event is tried for, unless its webhook says otherwise"""
OLD_SECRET = timedelta(hours=24)
"""how long the secret before the present one still signs, too"""


class State(StrEnum):
    """Where a webhook stands."""

    ACTIVE = "active"
    PAUSED = "paused"
    GONE = "gone"
    """its receiver answered 410"""


class Outcome(StrEnum):
    """What became of a push."""

    DELIVERED = "delivered"
    FAILED = "failed"
    """tried again later"""
    DEAD = "dead"
    """given up: the stated time is over. A replay sends it again"""
    GONE = "gone"
    """the receiver wants nothing any more"""


@dataclass(frozen=True, slots=True)
class Webhook:
    """A receiver and how far it is: everything up to `position` was delivered, or given up."""

    id: str
    url: str
    types: Sequence[str]
    """empty: all"""
    batch: int
    """events of one request; 1: a single CloudEvent as its body"""
    view: View
    position: int
    generation: int
    """of the secret: 1, 2, …"""
    rotated_at: datetime | None
    give_up_s: int
    tries: int
    """of the push that fails now"""
    failing_since: datetime | None

    def generations(self, now: datetime) -> list[int]:
        """Of the secrets that sign at `now`, the newest first."""
        if self.rotated_at is not None and now < self.rotated_at + OLD_SECRET:
            return [self.generation, self.generation - 1]
        return [self.generation]


@dataclass(frozen=True, slots=True)
class Push:
    """One request."""

    id: str
    """equal for every try: receivers drop what they have seen"""
    body: bytes
    content_type: str

    @classmethod
    def of(cls, webhook: Webhook, entries: Sequence[Entry]) -> Push:
        """`entries` in the order of the journal, at least one."""
        events = [webhook.view.shown(entry.as_cloudevent()) for entry in entries]
        if webhook.batch == 1:
            return cls(entries[0].id, _json(events[0]), "application/cloudevents+json; charset=utf-8")
        push = f"{webhook.id}:{entries[0].position}-{entries[-1].position}"
        return cls(push, _json(events), "application/cloudevents-batch+json; charset=utf-8")

    def headers(self, secrets: Sequence[bytes], now: datetime) -> dict[str, str]:
        """Of one try at `now`, signed with each of `secrets`."""
        timestamp = int(now.timestamp())
        return {
            "Content-Type": self.content_type,
            "User-Agent": "Sushu",
            "webhook-id": self.id,
            "webhook-timestamp": str(timestamp),
            "webhook-signature": " ".join(signature(secret, self.id, timestamp, self.body) for secret in secrets),
        }


def signature(secret: bytes, identifier: str, timestamp: int, body: bytes) -> str:
    """`v1,<base64>` of Standard Webhooks."""
    signed = f"{identifier}.{timestamp}.".encode() + body
    return "v1," + base64.b64encode(hmac.digest(secret, signed, hashlib.sha256)).decode()


def secret_of(key: bytes, identifier: str, generation: int) -> bytes:
    """The secret of a webhook, derived from the journal's key: none is stored anywhere."""
    return hmac.digest(key, f"webhook/{identifier}/{generation}".encode(), hashlib.sha256)


def written(secret: bytes) -> str:
    """A secret as its receiver gets it."""
    return "whsec_" + base64.b64encode(secret).decode()


def outcome_of(status: int) -> Outcome:
    """Only 2xx is delivered: redirects are not followed, and a receiver that says 4xx may be mended."""
    if 200 <= status < 300:
        return Outcome.DELIVERED
    return Outcome.GONE if status == 410 else Outcome.FAILED


def pause_s(tries: int, dice: float, asked_s: float | None) -> float:
    """Seconds until the next try after `tries` failures; `dice` in [0, 1) spreads receivers that failed together."""
    doubled = min(FIRST_PAUSE_S * 2.0 ** min(tries - 1, 20), LONGEST_PAUSE_S)
    own = doubled * (0.8 + 0.4 * dice)
    return max(own, min(asked_s or 0.0, LONGEST_ASKED_PAUSE_S))


def _json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
