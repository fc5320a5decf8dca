"""Events as the other services would send them, for the tests of feedback and evaluate."""

import hashlib
from datetime import datetime
from itertools import count

from shared.events.catalog.appeals import Appeal, AppealReceived, AppealWithdrawn, Place, Reporter
from shared.events.catalog.work_orders import (
    WorkOrder,
    WorkOrderClosed,
    WorkOrderCompleted,
    WorkOrderDispatched,
    WorkOrderEvent,
    WorkOrderReopened,
    WorkOrderReturned,
)
from shared.testing.harness import Harness

_numbers = count(1)


class Case:
    """One appeal with its order, told event by event."""

    def __init__(
        self,
        hub: Harness,
        *,
        channel: str = "web",
        groups: tuple[str, ...] = (),
        unit: str = "u1",
        pseudonym: str | None = None,
    ) -> None:
        self.hub = hub
        self.number = next(_numbers)
        self.id = f"00000000-0000-7000-8000-{self.number:012d}"
        self.order_id = f"00000000-0000-7000-9000-{self.number:012d}"
        self.tokens = [f"token-{self.number}-{n}" for n in (1, 2, 3)]
        self.channel = channel
        self.groups = groups
        self.unit = unit
        self.pseudonym = pseudonym
        self.round = 1
        self.appeal_sequence = 0
        self.order_sequence = 0
        self.received_at = hub.clock.now()

    def appeal(self, status: str = "received") -> Appeal:
        return Appeal(
            id=self.id,
            platform="460100",
            reference_no=f"460100-20261102-{self.number:06d}",
            channel=self.channel,
            text="路灯不亮",
            received_at=self.received_at,
            source_platform="460100",
            reporter=Reporter(groups=list(self.groups), pseudonym=self.pseudonym),
            place=Place(region_code="460105001"),
            rating_token_sha256=[hashlib.sha256(t.encode()).hexdigest() for t in self.tokens],
            status=status,
        )

    def order(self, status: str, **changes: object) -> WorkOrder:
        facts: dict[str, object] = {
            "id": self.order_id,
            "platform": "460100",
            "appeal_ids": [self.id],
            "status": status,
            "lead": self.unit,
            "lead_name": f"单位{self.unit}",
            "lead_region": "460105",
            "handling_class": "general",
            "matter": "01010101",
            "matter_path": ["城市管理", "市政", "照明", "路灯不亮"],
            "kind": "help",
            "region_code": "460105001",
            "channel": self.channel,
            "round": self.round,
            "version": 1,
            "received_at": self.received_at,
            "opened_at": self.received_at,
        }
        return WorkOrder(**{**facts, **changes})  # type: ignore[arg-type]

    async def received(self) -> None:
        self.appeal_sequence += 1
        event = AppealReceived(actor="citizen", after=self.appeal())
        await self.hub.emit(event, key=self.id, sequence=self.appeal_sequence)

    async def withdrawn(self) -> None:
        self.appeal_sequence += 1
        event = AppealWithdrawn(actor="citizen", reason="已经好了", after=self.appeal("withdrawn"))
        await self.hub.emit(event, key=self.id, sequence=self.appeal_sequence)

    async def _order(self, event: WorkOrderEvent, time: datetime | None = None) -> None:
        self.order_sequence += 1
        await self.hub.emit(event, key=self.order_id, sequence=self.order_sequence, time=time)

    async def dispatched(self, **changes: object) -> None:
        after = self.order("dispatched", **changes)
        await self._order(WorkOrderDispatched(actor="system:dispatch", cause="routing", after=after))

    async def returned(self) -> None:
        after = self.order("pending")
        event = WorkOrderReturned(actor=f"unit:{self.unit}", unit=self.unit, reason_code="not_my_duty", after=after)
        await self._order(event)

    async def completed(self, *, solved: bool = True) -> None:
        after = self.order("completed", solved=solved, result="已更换灯泡", completed_at=self.hub.clock.now())
        await self._order(WorkOrderCompleted(actor=f"unit:{self.unit}", after=after))

    async def reopened(self) -> None:
        self.round += 1
        after = self.order("reopened")
        await self._order(WorkOrderReopened(actor="system:dispatch", appeal_id=self.id, after=after))

    async def closed(self) -> None:
        await self._order(WorkOrderClosed(actor="user:centre", reason="现场核实", after=self.order("closed")))

    async def ready_to_rate(self) -> None:
        """Received and completed: the citizen is being asked."""
        await self.received()
        await self.completed()
        await self.hub.settle()
