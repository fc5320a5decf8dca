"""Field types of request bodies: strict, so that `"5"` is no number and a time has an offset."""

import re
from datetime import datetime
from typing import Annotated, Any

from pydantic import AfterValidator, AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field


class Body(BaseModel):
    """Base of every request body: strict types, unknown fields ignored (fields may be added, api.md)."""

    model_config = ConfigDict(strict=True, extra="ignore", frozen=True)

    def canonical(self) -> dict[str, Any]:
        """The validated body as JSON types: what "equal body" compares (api.md, `Idempotency-Key`)."""
        return self.model_dump(mode="json", exclude_none=True)


_RFC3339 = re.compile(r"\d{4}-\d{2}-\d{2}[Tt]\d{2}:\d{2}")
_YEARS = range(2, 9_999)
"""so that an instant exists in every zone"""


def _only_text(value: Any) -> Any:
    if not isinstance(value, str) or _RFC3339.match(value) is None:
        raise ValueError("must be an RFC 3339 time with offset, e.g. 2026-11-02T10:00:00+08:00")
    return value


def _in_every_zone(value: datetime) -> datetime:
    if value.year not in _YEARS:
        raise ValueError(f"must lie in the years {_YEARS[0]} to {_YEARS[-1]}")
    return value


Instant = Annotated[AwareDatetime, Field(strict=False), BeforeValidator(_only_text), AfterValidator(_in_every_zone)]
"""an RFC 3339 time with offset"""

Text = Annotated[str, Field(min_length=1, max_length=20_000)]
"""an appeal's words: 1 to 20,000 characters (api.md, "Limits")"""

Note = Annotated[str, Field(max_length=4_000)]
"""a person's remark"""

Code = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[\w.\-:]+$")]
"""a unit, matter, region, platform or reason code: word characters, dot, dash, colon"""
