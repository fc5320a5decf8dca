"""Bodies of the HTTP face."""

from typing import Annotated, Any

from pydantic import Field

from shared.http.bodies import Body, Code, Instant, Note

Year = Annotated[int, Field(ge=2000, le=2100)]
Name = Annotated[str, Field(min_length=1, max_length=40)]
Span = Annotated[list[Annotated[str, Field(max_length=8)]], Field(min_length=2, max_length=2)]
Day = Annotated[str, Field(pattern=r"^\d{4}-\d{2}-\d{2}$")]


class AcknowledgeBody(Body):
    """That somebody took notice of a supervision."""

    note: Note | None = None


class PolicyBody(Body):
    """A version of the time limits (form: docs/deadlines.md, "Policies")."""

    version: Code
    classes: dict[str, dict[str, Any]]
    rules: list[dict[str, Any]] = Field(default_factory=list, max_length=1000)
    effective_from: Instant | None = None


class DayBody(Body):
    """One rule for a day, or for the days up to `to`."""

    day: Annotated[str, Field(max_length=10)]
    to: Annotated[str, Field(max_length=10)] | None = None
    rule: Annotated[str, Field(max_length=20)]
    """holiday or workday"""
    name: Annotated[str, Field(max_length=40)] = ""


class CalendarBody(Body):
    """With `years`: the State Council's holidays and worked weekends of those years, which replace what was known of
    them. Without: local closures and extra working days, of the platform or of `unit`. Days as two tables, or as a
    list. `hours`: other office hours from then on."""

    version: Code
    unit: Code | None = None
    years: Annotated[list[Year], Field(max_length=101)] = Field(default_factory=list)
    holidays: Annotated[dict[Day, Name], Field(max_length=4000)] = Field(default_factory=dict)
    workdays: Annotated[dict[Day, Name], Field(max_length=4000)] = Field(default_factory=dict)
    days: Annotated[list[DayBody], Field(max_length=4000)] = Field(default_factory=list)
    hours: Annotated[list[Span], Field(max_length=10)] | None = None
    effective_from: Instant | None = None


class PolicyDraft(PolicyBody):
    """A policy that need not have a name yet."""

    version: Code = "what-if"


class CalendarDraft(CalendarBody):
    """A calendar that need not have a name yet."""

    version: Code = "what-if"


class WhatIfBody(Body):
    """Rules to try on the open orders, as if they held from `effective_from` (now)."""

    policy: PolicyDraft | None = None
    calendar: CalendarDraft | None = None
    effective_from: Instant | None = None


class CalendarFile(Body):
    """What makes two imports equal."""

    version: Code
    unit: Code | None = None
    years: str = ""
    effective_from: str = ""
    sha256: str
