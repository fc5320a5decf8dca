"""How far appeals have come, judged from outside: the event feed of the running stack."""

import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import httpx

from tests.bench.stack import TOKEN, Stack


@dataclass
class Journey:
    """Follows the feed and remembers which appeal has which event types, and when each was appended (real time)."""

    stack: Stack
    after: str = ""
    of_appeal: dict[str, dict[str, float]] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.http = httpx.Client(
            base_url=self.stack.url, headers={"Authorization": f"Bearer {TOKEN}"}, timeout=30, trust_env=False
        )

    def read(self, wait_s: int = 0) -> int:
        """Read what is new; returns how many events."""
        answer = self.http.get("/v1/events", params={"after": self.after, "limit": 1000, "wait_s": wait_s})
        answer.raise_for_status()
        page = answer.json()
        for event in page["items"]:
            self._take(event)
        if page["next"]:
            self.after = page["next"]
        return len(page["items"])

    def _take(self, event: dict[str, Any]) -> None:
        self.counts[event["type"]] = self.counts.get(event["type"], 0) + 1
        after = event["data"].get("after", {})
        appeals = after.get("appeal_ids") or [after.get("appeal_id") or after.get("id")]
        instant = _instant_of(event["id"])
        for appeal in appeals:
            self.of_appeal.setdefault(appeal, {}).setdefault(event["type"], instant)

    def until(self, appeals: Iterable[str], types: Iterable[str], seconds: float) -> set[str]:
        """Read until every appeal has one of each of `types` (a type may be `a|b`); returns those that lack one."""
        wanted = [kind.split("|") for kind in types]
        missing = set(appeals)
        deadline = time.monotonic() + seconds
        while missing and time.monotonic() < deadline:
            if not self.read(wait_s=1):
                continue
            missing = {
                appeal
                for appeal in missing
                if not all(any(kind in self.of_appeal.get(appeal, ()) for kind in kinds) for kinds in wanted)
            }
        return missing


def _instant_of(event_id: str) -> float:
    """Unix seconds in the event's UUIDv7: when its transaction wrote it."""
    return int(event_id.replace("-", "")[:12], 16) / 1000
