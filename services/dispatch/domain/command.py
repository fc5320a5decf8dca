"""What a command on a work order is: where it may come from, who may give it, what stands against it, what it does."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, ClassVar

from services.dispatch.domain.work_order import Actor, Part, Status, WorkOrder


@dataclass(frozen=True, slots=True)
class Fact:
    """What happened, for the event `work_order.<name>`: its own fields and the reason in words."""

    name: str
    fields: Mapping[str, Any] = field(default_factory=dict)
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """Base of all commands. `action` is the last segment of the HTTP path, empty for what only dispatch itself does."""

    action: ClassVar[str] = ""
    sources: ClassVar[frozenset[Status]]
    parts: ClassVar[frozenset[Part]] = frozenset({Part.SYSTEM})

    @classmethod
    def parts_for(cls, order: WorkOrder) -> frozenset[Part]:
        """In which parts this kind of command may be given on this order."""
        return cls.parts

    @classmethod
    def obstacle(cls, order: WorkOrder, at: datetime) -> str | None:
        """What stands against any command of this kind on this order now, beside its status."""
        return None

    def objection(self, order: WorkOrder, at: datetime) -> str | None:
        """What stands against just this command."""
        return None

    def apply(self, order: WorkOrder, at: datetime, actor: Actor) -> tuple[WorkOrder, Fact]:
        raise NotImplementedError
