"""Bodies of the HTTP face."""

from typing import Annotated, Any

from pydantic import Field

from shared.http.bodies import Body, Code, Instant, Note

Year = Annotated[int, Field(ge=2000, le=2100)]
Name = Annotated[str, Field(min_length=1, max_length=40)]
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


class CalendarBody(Body):
    """Holidays and worked weekends of whole years: they replace what was known of those years."""

    version: Code
    years: Annotated[list[Year], Field(min_length=1, max_length=101)]
    holidays: Annotated[dict[Day, Name], Field(max_length=4000)]
    workdays: Annotated[dict[Day, Name], Field(max_length=4000)] = Field(default_factory=dict)
    effective_from: Instant | None = None
