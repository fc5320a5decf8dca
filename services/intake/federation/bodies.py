"""Offers and receipts as they go over HTTP (api.md, Between platforms; docs/federation.md)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import msgspec
from pydantic import Field, model_validator

from services.intake.schemas import (
    AppealBody,
    Channel,
    EmergencyBody,
    Group,
    Kind,
    LocationBody,
    RegionCode,
    ReporterBody,
)
from shared.errors import Problem
from shared.events.catalog.appeals import Appeal
from shared.events.catalog.handoffs import Handoff, JointPart
from shared.http.bodies import Body, Code, Instant, Note, Text
from shared.redaction import clean

VERSION = 1
"""of these bodies; one that says another is refused"""

PlatformCode = Annotated[str, Field(pattern=r"^\d{6}$")]
Id = Annotated[str, Field(pattern=r"^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$")]
Seconds = Annotated[int, Field(ge=-(10**9), le=10**9)]
Sealed = Annotated[str, Field(max_length=200_000, pattern=r"^[A-Za-z0-9+/]*={0,2}$")]


class ClockBody(Body):
    """One clock: what is used of what is allowed, in its own seconds, and when it is due."""

    clock: Code
    used_s: Seconds
    allowed_s: Seconds
    due_at: Instant


class PersonBody(Body):
    """What may be known of the reporter without the seal."""

    groups: Annotated[list[Group], Field(max_length=7)] = Field(default_factory=list)
    anonymous: bool = False
    confidential: bool = False


class JointBody(Body):
    """The part of the work that is asked for, when the sender leads the case (domain.md, Dispatch 5): the clocks count
    from `asked_at`, `allowed_s` natural seconds are allowed."""

    task: Annotated[str, Field(min_length=1, max_length=4_000)]
    asked_at: Instant
    allowed_s: Annotated[int, Field(ge=60, le=366 * 86400)] | None = None


class CaseBody(Body):
    """The case without contact data: everything is redacted."""

    text: Text
    title: Annotated[str, Field(max_length=500)] | None = None
    reference_no: Annotated[str, Field(max_length=40)] | None = None
    channel: Channel | None = None
    kind: Kind | None = None
    received_at: Instant | None = None
    occurred_at: Instant | None = None
    region_code: RegionCode | None = None
    lon: Annotated[float, Field(ge=-180, le=180, allow_inf_nan=False)] | None = None
    lat: Annotated[float, Field(ge=-90, le=90, allow_inf_nan=False)] | None = None
    matter: Annotated[str, Field(max_length=64)] | None = None
    matter_path: Annotated[list[Annotated[str, Field(max_length=100)]], Field(max_length=10)] = Field(
        default_factory=list
    )
    handling_class: Annotated[str, Field(max_length=20)] | None = Field(default=None, alias="class")
    reporter: PersonBody = Field(default_factory=PersonBody)
    emergency_action: EmergencyBody | None = None
    came_by: Annotated[list[PlatformCode], Field(max_length=20)] = Field(default_factory=list)
    joint: JointBody | None = None


class Versioned(Body):
    """Base of both: `version` may be left out."""

    @model_validator(mode="before")
    @classmethod
    def _is_known(cls, value: Any) -> Any:
        version = value.get("version", VERSION) if isinstance(value, dict) else VERSION
        if version != VERSION or isinstance(version, bool):
            raise Problem(422, "unknown_version", f"/version: this platform speaks version {VERSION}; leave it out.")
        return value


class OfferBody(Versioned):
    """`POST /v1/handoffs`."""

    handoff_id: Id
    sender: PlatformCode
    path: Annotated[list[PlatformCode], Field(min_length=2, max_length=12)]
    case: CaseBody
    contact: Sealed | None = None
    clocks: Annotated[list[ClockBody], Field(max_length=40)] = Field(default_factory=list)

    @property
    def receiver(self) -> str:
        return self.path[-1]

    def offered(self) -> dict[str, Any]:
        """What makes two offers equal: the seal is another at each try, the clocks go on."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True, exclude={"contact", "clocks"})


class RatingBody(Body):
    """What the citizen said to the receiver."""

    contacted: bool | None = None
    solved: bool | None = None
    satisfaction: Annotated[int, Field(ge=1, le=5)] | None = None
    round: Annotated[int, Field(ge=1, le=9)] | None = None


class ReceiptBody(Versioned):
    """`POST /v1/handoffs/{id}/receipts`: the whole of how it stands."""

    handoff_id: Id
    seq: Annotated[int, Field(ge=1, le=1_000_000)]
    state: Literal["accepted", "refused", "completed", "confirmed", "acknowledged", "withdrawn"]
    reason: Note | None = None
    at: Instant
    status: Annotated[str, Field(max_length=40)] | None = None
    result: Annotated[str, Field(max_length=20_000)] | None = None
    clocks: Annotated[list[ClockBody], Field(max_length=40)] = Field(default_factory=list)
    rating: RatingBody | None = None
    rating_link: Sealed | None = None
    final: bool = False

    @property
    def from_sender(self) -> bool:
        """Whether it comes from the sender's side: that he has let go, knows the end, or takes the case back."""
        return self.state in ("confirmed", "acknowledged", "withdrawn")


def joint_case(after: Handoff) -> dict[str, Any] | None:
    """What dispatch decides of the case that goes out when a platform is asked for a part: place and task."""
    if after.joint is None:
        return None
    return {"region_code": after.region_code, "joint": msgspec.to_builtins(after.joint)}


def case_body(
    appeal: Appeal, label: Mapping[str, Any] | None, own: str, part: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """An appeal as an offer shows it to the platforms on its way: redacted text, place on the grid, no contact data.

    `part`: what `joint_case` says. The lead speaks with the citizen, so nothing of him goes along; the place is that of
    the part; and a part may be asked of a platform that the whole case came through.
    """
    matter = (label or {}).get("matter") or {}
    emergency = appeal.emergency_action
    case = {
        "text": appeal.text,
        "title": appeal.title,
        "reference_no": appeal.reference_no,
        "channel": appeal.channel,
        "kind": (label or {}).get("kind") or appeal.kind,
        "received_at": appeal.received_at.isoformat(),
        "occurred_at": appeal.occurred_at.isoformat() if appeal.occurred_at else None,
        "region_code": (label or {}).get("region_code") or appeal.place.region_code,
        "lon": appeal.place.lon,
        "lat": appeal.place.lat,
        "matter": matter.get("code"),
        "matter_path": matter.get("path"),
        "class": (label or {}).get("class"),
        "reporter": {
            "groups": appeal.reporter.groups,
            "anonymous": appeal.reporter.anonymous,
            "confidential": appeal.reporter.confidential,
        },
        "emergency_action": {"taken_at": emergency.taken_at.isoformat(), "by": emergency.by, "what": emergency.what}
        if emergency
        else None,
        "came_by": [*appeal.came_by, own],
    }
    if part is not None:
        case |= {"came_by": case["came_by"] if appeal.joint else [own], **_NOBODY, **part}
    return {name: value for name, value in case.items() if value is not None}


_NOBODY: Mapping[str, Any] = dict.fromkeys(("lon", "lat", "reporter", "emergency_action"))


def clock_bodies(shown: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The newest round of each clock that still runs, as it is told to another platform."""
    latest: dict[str, Mapping[str, Any]] = {}
    for clock in shown:
        known = latest.get(clock["clock"])
        if clock["stopped_at"] is None and (known is None or known["round"] < clock["round"]):
            latest[clock["clock"]] = clock
    return [{name: clock[name] for name in ("clock", "used_s", "allowed_s", "due_at")} for clock in latest.values()]


SECRETS = ("name", "phone", "id_number", "address", "lon", "lat", "title", "text")
"""what of the sealed record goes, sealed, to the receiver: `contact` is JSON of these and of `handoff_id`"""


def joint_part(joint: JointBody | None) -> JointPart | None:
    """The asked part as the appeal has it; the task is redacted here once more."""
    if joint is None:
        return None
    return JointPart(task=clean(joint.task), asked_at=joint.asked_at, allowed_s=joint.allowed_s)


def appeal_body(offer: OfferBody, secrets: Mapping[str, Any]) -> AppealBody:
    """The appeal of channel `platform` that an accepted offer becomes; `secrets` as they came out of the seal.

    Raises pydantic's ValidationError for contact data that no appeal could have.
    """
    case, person = offer.case, offer.case.reporter
    return AppealBody(
        channel="platform",
        text=secrets.get("text") or case.text,
        title=secrets.get("title") or case.title,
        kind=case.kind,
        external_id=f"handoff:{offer.handoff_id}",
        occurred_at=case.occurred_at,
        reporter=ReporterBody(
            name=secrets.get("name"),
            phone=secrets.get("phone"),
            id_number=secrets.get("id_number"),
            groups=person.groups,
            anonymous=person.anonymous,
            confidential=person.confidential,
        ),
        location=LocationBody(
            address=secrets.get("address"),
            region_code=case.region_code,
            lon=secrets.get("lon", case.lon),
            lat=secrets.get("lat", case.lat),
        ),
        emergency_action=case.emergency_action,
    )
