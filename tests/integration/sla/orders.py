"""Work orders as dispatch would publish them, and what sla said about them."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import msgspec

from shared.events.catalog import ratings, work_orders
from shared.ids import uuid7
from shared.testing.harness import Harness

CLOCKS = "sla.clocks.v1"


@dataclass
class Order:
    """One work order whose events the test writes. `at` is the business time of the next event."""

    hub: Harness
    handling_class: str = "livelihood"
    kind: str = "help"
    channel: str = "phone"
    unit: str = "unit-1"
    region: str = "460106"
    groups: list[str] = field(default_factory=list)
    id: str = field(default_factory=uuid7)
    appeal_id: str = field(default_factory=uuid7)
    sequence: int = 0
    told_feedback: int = 0
    round: int = 1
    bad: int = 0
    received_at: datetime | None = None
    completed_at: datetime | None = None
    changes: dict[str, Any] = field(default_factory=dict)

    def snapshot(self, at: datetime, **changes: Any) -> work_orders.WorkOrder:
        self.received_at = self.received_at or at
        self.changes |= changes
        return msgspec.structs.replace(
            work_orders.WorkOrder(
                id=self.id,
                platform="460100",
                appeal_ids=[self.appeal_id],
                status="dispatched",
                lead=self.unit,
                lead_name="一号单位",
                lead_region="460106",
                handling_class=self.handling_class,
                matter="0101",
                matter_path=["一", "二"],
                kind=self.kind,
                region_code=self.region,
                channel=self.channel,
                reporter_groups=self.groups,
                round=self.round,
                dispatch_no=1,
                version=self.sequence,
                received_at=self.received_at,
                opened_at=self.received_at,
            ),
            **self.changes,
        )

    async def says(
        self,
        kind: type[work_orders.WorkOrderEvent],
        *,
        time: datetime | None = None,
        snap: dict[str, Any] | None = None,
        **fields: Any,
    ) -> None:
        """One event of the order; `snap` are lasting changes of its snapshot."""
        self.sequence += 1
        at = time or self.hub.clock.now()
        event = kind(actor="user:t", after=self.snapshot(at, **(snap or {})), **fields)
        await self.hub.emit(event, key=self.id, sequence=self.sequence, time=at)

    async def dispatched(self, **snap: Any) -> None:
        await self.says(work_orders.WorkOrderDispatched, cause="routing", snap=snap)

    async def completed(self, time: datetime | None = None, *, asked: bool = True) -> None:
        """`asked`: feedback's answer to it follows at once."""
        self.completed_at = time or self.hub.clock.now()
        await self.says(work_orders.WorkOrderCompleted, time=time, snap={"status": "completed"})
        if asked:
            await self.feedback(ratings.FeedbackOpened, time=self.completed_at)

    async def feedback(self, kind: type[ratings.FeedbackEvent], *, time: datetime | None = None, **fields: Any) -> None:
        """One event of the appeal's feedback."""
        self.told_feedback += 1
        assert self.completed_at is not None
        after = ratings.Feedback(
            appeal_id=self.appeal_id,
            work_order_id=self.id,
            unit=self.unit,
            region_code=self.region,
            matter="0101",
            round=self.round,
            method="callback" if self.channel == "phone" else "link",
            status="open",
            bad_ratings=self.bad,
            opened_at=self.completed_at,
        )
        event = kind(actor="user:t", after=after, **fields)
        await self.hub.emit(event, key=self.appeal_id, sequence=self.told_feedback, time=time)

    async def rated_badly(self) -> None:
        self.bad += 1
        answer = ratings.Answer(round=self.round, solved=False, at=self.hub.clock.now())
        await self.feedback(ratings.FeedbackAnswered, answer=answer, bad=True)

    async def told(self) -> list[Any]:
        """The events of the order's clocks, which must be numbered 1, 2, 3 …"""
        messages = await self.hub.events(CLOCKS, key=self.id)
        assert [m.sequence for m in messages] == list(range(1, len(messages) + 1))
        return messages

    async def escalations(self) -> list[tuple[str, int, int, timedelta]]:
        """(clock, round, level, time since receipt) of every escalation."""
        assert self.received_at is not None
        return [
            (m.data.clock, m.data.round, m.data.level, m.time - self.received_at)
            for m in await self.told()
            if m.type == "clock.escalated"
        ]

    async def clocks(self) -> dict[tuple[str, int], dict[str, Any]]:
        """The clocks as HTTP shows them."""
        answer = await self.hub.http.get(f"/v1/clocks/{self.id}", headers=self.hub.admin)
        assert answer.status_code == 200, answer.text
        return {(c["clock"], c["round"]): c for c in answer.json()["items"]}
