"""What dispatch keeps of an appeal: intake's part and classify's part, which may come in any order, and its order."""

from dataclasses import dataclass
from datetime import datetime

from services.dispatch.domain.case import Case, HandlingClass
from shared.events.catalog import appeals, labels

RECEIVED = "received"
"""intake's status of an appeal that nobody has ended"""


@dataclass(frozen=True, slots=True)
class KnownAppeal:
    """What dispatch keeps of intake's appeal; title and text are redacted."""

    reference_no: str
    status: str
    channel: str
    received_at: datetime
    taken_at: datetime | None
    region_code: str
    groups: tuple[str, ...]
    pseudonym: str | None
    kind: str | None
    title: str | None
    text: str
    came_by: tuple[str, ...] = ()
    task: str | None = None
    allowed_s: int | None = None

    @classmethod
    def of(cls, appeal: appeals.Appeal) -> "KnownAppeal":
        return cls(
            reference_no=appeal.reference_no,
            status=appeal.status,
            channel=appeal.channel,
            received_at=appeal.received_at,
            taken_at=appeal.emergency_action.taken_at if appeal.emergency_action else None,
            region_code=appeal.place.region_code,
            groups=tuple(appeal.reporter.groups),
            pseudonym=appeal.reporter.pseudonym,
            kind=appeal.kind,
            title=appeal.title,
            text=appeal.text,
            came_by=tuple(appeal.came_by),
            task=appeal.joint.task if appeal.joint else None,
            allowed_s=appeal.joint.allowed_s if appeal.joint else None,
        )


@dataclass(frozen=True, slots=True)
class KnownLabel:
    """What dispatch keeps of classify's label."""

    matter: str
    matter_path: tuple[str, ...]
    handling_class: HandlingClass
    kind: str
    region_code: str
    tags: tuple[str, ...]
    needs_review: bool
    reviewed_by: str | None
    repeat_of: str | None = None
    repeat_score: float = 0.0

    @classmethod
    def of(cls, label: labels.Label) -> "KnownLabel":
        return cls(
            matter=label.matter.code,
            matter_path=tuple(label.matter.path),
            handling_class=HandlingClass(label.handling_class),
            kind=label.kind,
            region_code=label.region_code,
            tags=tuple(tag.code for tag in label.tags),
            needs_review=label.needs_review,
            reviewed_by=label.reviewed_by,
            repeat_of=label.repeat_of.appeal_id if label.repeat_of else None,
            repeat_score=label.repeat_of.score if label.repeat_of else 0.0,
        )


@dataclass(slots=True, kw_only=True)
class CaseState:
    """How far the case of an appeal is."""

    appeal_id: str
    work_order_id: str | None
    feedback_closed: bool
    second_handled: bool


@dataclass(slots=True, kw_only=True)
class KnownCase(CaseState):
    """A case with what routing reads."""

    appeal: KnownAppeal | None
    label: KnownLabel | None


def case_of(
    appeal_id: str, appeal: KnownAppeal, label: KnownLabel, platform: str, repeat_of: str | None = None
) -> Case:
    """The case as the routing rules see it; the place is the label's, the appeal's, or the platform at large. The text
    of a part of joint work tells the lead's place, so there the asked place counts."""
    said = "" if appeal.task is not None else label.region_code
    return Case(
        appeal_id=appeal_id,
        matter=label.matter,
        handling_class=label.handling_class,
        received_at=appeal.received_at,
        taken_at=appeal.taken_at,
        kind=label.kind,
        region_code=said or appeal.region_code or platform,
        channel=appeal.channel,
        tags=frozenset(label.tags),
        groups=frozenset(appeal.groups),
        text=appeal.text,
        repeat_of=repeat_of,
        came_by=appeal.came_by,
        task=appeal.task,
        allowed_s=appeal.allowed_s,
    )
