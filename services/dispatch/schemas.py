"""Bodies of dispatch's routes (api.md, dispatch)."""

from collections.abc import Callable
from datetime import date, time
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from services.dispatch.domain.case import HandlingClass
from services.dispatch.domain.duties import Duty, DutyKind
from services.dispatch.domain.work_order import ReturnReason
from shared.http.bodies import Body, Code, Instant, Note
from shared.ids import uuid7


def _text(what: str) -> Callable[[Any], Any]:
    """Numbers are no days or times, though they could be read as such."""

    def check(value: Any) -> Any:
        if not isinstance(value, str):
            raise ValueError(f"must be {what}")
        return value

    return check


Reason = Annotated[str, Field(min_length=1, max_length=4_000)]
UnitCode = Code
Evidence = Annotated[list[Annotated[str, Field(min_length=1, max_length=500)]], Field(max_length=50)]
Day = Annotated[date, Field(strict=False), BeforeValidator(_text("a day, e.g. 2026-11-02"))]
ClockTime = Annotated[time, Field(strict=False), BeforeValidator(_text("a time of day, e.g. 09:00"))]
MatterPrefix = Annotated[str, Field(max_length=32, pattern=r"^\d*$")]
RegionCode = Annotated[str, Field(max_length=32, pattern=r"^\d*$")]


class NoteBody(Body):
    """accept, contact, progress, resume, approve, reject."""

    note: Note | None = None


class CompleteBody(Body):
    result: Reason
    solved: bool
    evidence: Evidence | None = None


class ReturnBody(Body):
    reason: Annotated[ReturnReason, Field(strict=False)]
    suggested_unit: UnitCode | None = None
    note: Note | None = None


class SuspendBody(Body):
    reason: Reason
    days: Annotated[int, Field(ge=1, le=90)]
    evidence: Evidence | None = None


class ExtendBody(Body):
    seconds: Annotated[int, Field(ge=1, le=366 * 86400)]
    reason: Reason


class CoHandlersBody(Body):
    units: Annotated[list[UnitCode], Field(min_length=1, max_length=50)]


class PartBody(Body):
    """A part of the work for another unit, or another platform (one of both); `allowed_s` inside what is left, all of
    that if left out. `region_code`: where in the other platform's territory, its own code if left out."""

    unit: UnitCode | None = None
    platform: Annotated[str, Field(pattern=r"^\d{6}$")] | None = None
    region_code: Annotated[str, Field(pattern=r"^(\d{6}|\d{9}|\d{12})$")] | None = None
    task: Reason
    allowed_s: Annotated[int, Field(ge=60, le=366 * 86400)] | None = None


class SplitBody(Body):
    parts: Annotated[list[PartBody], Field(min_length=1, max_length=20)]


class RecallBody(Body):
    reason: Reason


class RefusalBody(Body):
    reason: Reason


class TransferBody(Body):
    lead: UnitCode
    reason: Reason


class OneOfManyBody(Body):
    """An order of a bulk action; with `version` only while it is at that version."""

    id: Annotated[str, Field(min_length=1, max_length=64)]
    version: Annotated[int, Field(ge=1, lt=1 << 62)] | None = None


class BulkBody(Body):
    """The same action on many orders. `body` is that of the action."""

    action: Annotated[str, Field(min_length=1, max_length=40)]
    orders: Annotated[list[OneOfManyBody], Field(min_length=1, max_length=200)]
    body: dict[str, Any] = Field(default_factory=dict)


class DisputeBody(Body):
    """A dispute opened by hand; `units` are parties beside the lead and those that returned the order."""

    work_order_id: Annotated[str, Field(min_length=1, max_length=64)]
    reason: Reason
    units: Annotated[list[UnitCode], Field(max_length=20)] = Field(default_factory=list)


class CheckBody(Body):
    """Who is to look at the place, and for what."""

    units: Annotated[list[UnitCode], Field(min_length=1, max_length=20)]
    question: Reason


class CheckRecordBody(Body):
    """What was found; `checked_at` is now when it is left out."""

    finding: Reason
    checked_at: Instant | None = None
    evidence: Evidence | None = None


class ContestBody(Body):
    reason: Reason
    evidence: Evidence | None = None


class ContestDecisionBody(Body):
    """`changed` needs the new ruling: `lead` and `scope`."""

    outcome: Literal["upheld", "changed"]
    reason: Reason
    lead: UnitCode | None = None
    co_handlers: Annotated[list[UnitCode], Field(max_length=50)] | None = None
    scope: Literal["case", "matter_territory"] | None = None


class AbsenceBody(Body):
    """Days (both included) on which a unit cannot work; without `stand_in` its successor takes its cases."""

    first: Annotated[Day, Field(alias="from")]
    last: Annotated[Day, Field(alias="to")]
    stand_in: UnitCode | None = None
    reason: Reason


class DutyEndBody(Body):
    """The last day on which an entry holds; yesterday when it is left out: it ends at once."""

    valid_to: Day | None = None
    reason: Reason


class RulingBody(Body):
    lead: UnitCode
    co_handlers: Annotated[list[UnitCode], Field(max_length=50)] | None = None
    scope: Literal["case", "matter_territory"]
    reason: Reason


class DutyBody(Body):
    """An entry of the duty list (`duty`) or of the emergency roster (`roster`)."""

    kind: Annotated[DutyKind, Field(strict=False, alias="list")] = DutyKind.DUTY
    matter: MatterPrefix
    region_code: Annotated[str, Field(min_length=6, max_length=32, pattern=r"^\d+$")]
    lead: UnitCode
    co_handlers: Annotated[list[UnitCode], Field(max_length=50)] = Field(default_factory=list)
    valid_from: Day | None = None
    valid_to: Day | None = None
    from_time: ClockTime | None = None
    to_time: ClockTime | None = None
    note: Note = ""

    def duty(self, source: str) -> Duty:
        """The entry, with an id of its own."""
        return Duty(
            id=uuid7(),
            kind=self.kind,
            matter=self.matter,
            region_code=self.region_code,
            lead=self.lead,
            co_handlers=tuple(self.co_handlers),
            valid_from=self.valid_from,
            valid_to=self.valid_to,
            from_time=self.from_time,
            to_time=self.to_time,
            source=source,
            note=self.note,
        )


class UnitsFile(Body):
    """What stands for an imported file when equal calls are told apart."""

    sha256: str


class CodesBody(Body):
    """What each matter is to be called (`codes` of `GET /v1/catalogue/versions/{version}/codes`), and the imported
    units to route by; without them those in force."""

    codes: Annotated[dict[MatterPrefix, MatterPrefix], Field(max_length=20_000)]
    units_version: Annotated[int | None, Field(ge=1, lt=1 << 62)] = None


class ReplayBody(Body):
    """A chain that is only tried on the orders of a time: what would be otherwise, the rest as it is."""

    since: Annotated[Instant, Field(alias="from")]
    until: Annotated[Instant, Field(alias="to")]
    rules: Annotated[list[Code], Field(min_length=1, max_length=100)] | None = None
    """names of installed rules in their order"""
    add_duties: Annotated[list[DutyBody], Field(max_length=5_000)] = Field(default_factory=list)
    without_duties: Annotated[list[Code], Field(max_length=5_000)] = Field(default_factory=list)
    """ids of GET /v1/duties"""
    units_version: Annotated[int | None, Field(ge=1, lt=1 << 62)] = None
    """an imported version"""


class PreviewBody(Body):
    """A case that is only tried: nothing is stored."""

    matter: MatterPrefix = ""
    handling_class: Annotated[HandlingClass, Field(strict=False, alias="class")] = HandlingClass.GENERAL
    region_code: RegionCode = ""
    kind: Annotated[str, Field(max_length=32)] = "other"
    channel: Annotated[str, Field(max_length=32)] = ""
    tags: Annotated[list[Code], Field(max_length=100)] = Field(default_factory=list)
    groups: Annotated[list[Code], Field(max_length=20)] = Field(default_factory=list)
    text: Annotated[str, Field(max_length=20_000)] = ""
    without: Annotated[list[UnitCode], Field(max_length=50)] = Field(default_factory=list)
