"""Request bodies of intake (api.md, intake)."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator

from services.intake.domain.appeal import normalised_id, normalised_phone
from shared.http.bodies import Body, Code, Instant, Note, Text

Channel = Literal[
    "phone",
    "web",
    "app",
    "wechat",
    "mini_program",
    "sms",
    "email",
    "letter",
    "sign_video",
    "grid",
    "iot",
    "platform",
    "open311",
]
Kind = Literal["consult", "help", "complaint", "report", "suggestion", "praise", "other"]
Group = Literal["elderly", "disabled", "deaf", "minor", "new_resident", "pregnant", "veteran"]
Status = Literal[
    "received",
    "classified",
    "in_review",
    "dispatched",
    "in_progress",
    "completed",
    "answered",
    "linked",
    "declined",
    "withdrawn",
    "handed_off",
]
RegionCode = Annotated[str, Field(pattern=r"^[0-9]{6,12}$")]
ExternalId = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$")]
Reason = Annotated[str, Field(min_length=1, max_length=1_000, pattern=r"\S")]


class ReporterBody(Body):
    """Who calls. Everything is optional; what is given is sealed."""

    name: Annotated[str, Field(max_length=100)] | None = None
    phone: Annotated[str, Field(max_length=40)] | None = None
    id_number: Annotated[str, Field(max_length=40)] | None = None
    groups: Annotated[list[Group], Field(max_length=7)] = Field(default_factory=list)
    anonymous: bool = False
    confidential: bool = False

    @field_validator("phone")
    @classmethod
    def _is_a_phone(cls, value: str | None) -> str | None:
        if value and not normalised_phone(value):
            raise ValueError("is no phone number: 5 to 15 digits, other characters only between them")
        return value

    @field_validator("id_number")
    @classmethod
    def _is_an_id(cls, value: str | None) -> str | None:
        if value and not normalised_id(value):
            raise ValueError("is no document number: 6 to 20 letters and digits")
        return value


class LocationBody(Body):
    """Where it is, as the citizen says it; degrees WGS-84 or GCJ-02, the difference is below the grid of events."""

    address: Annotated[str, Field(max_length=500)] | None = None
    region_code: RegionCode | None = None
    lon: Annotated[float, Field(ge=-180, le=180, allow_inf_nan=False)] | None = None
    lat: Annotated[float, Field(ge=-90, le=90, allow_inf_nan=False)] | None = None


class EmergencyBody(Body):
    """先处置后补单: what was done before the paper (domain.md, Appeal)."""

    taken_at: Instant
    by: Annotated[str, Field(min_length=1, max_length=200)]
    what: Annotated[str, Field(min_length=1, max_length=2_000)]


class AppealBody(Body):
    """`POST /v1/appeals` and one line of `POST /v1/appeals/batch`."""

    channel: Channel
    text: Text
    title: Annotated[str, Field(max_length=500)] | None = None
    kind: Kind | None = None
    external_id: ExternalId | None = None
    source_platform: Code | None = None
    occurred_at: Instant | None = None
    reporter: ReporterBody | None = None
    location: LocationBody | None = None
    attachments: Annotated[list[Code], Field(max_length=20)] | None = None
    emergency_action: EmergencyBody | None = None

    @field_validator("text")
    @classmethod
    def _says_something(cls, value: str) -> str:
        if not value.strip():
            raise ValueError("holds only blanks; send the citizen's words")
        return value


class WithdrawBody(Body):
    """The citizen takes it back; the reason is theirs."""

    reason: Annotated[str, Field(max_length=1_000)] | None = None


class DeclineBody(Body):
    """不予受理 needs a reason, which the citizen reads."""

    reason: Reason


class LinkBody(Body):
    """Join this appeal to another."""

    to: Annotated[str, Field(pattern=r"^[0-9a-fA-F-]{36}$")]
    relation: Literal["repeat", "same_event"]
    reason: Note | None = None


class UnlinkBody(Body):
    """Undo a link."""

    reason: Note | None = None


class UnmaskBody(Body):
    """One field, one reason, one audit entry."""

    field: Literal["name", "phone", "id_number", "address", "lon", "lat", "title", "text", "external_id"]
    reason: Reason
