"""Lists: `{"items": […], "next": cursor|null}`, keyset-paginated (api.md)."""

import base64
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, TypeVar
from uuid import UUID

import orjson
from fastapi import Depends, Query
from pydantic import TypeAdapter, ValidationError

from shared.errors import Problem, invalid
from shared.http.bodies import Instant

_One = TypeVar("_One", str, int)
_INSTANT: TypeAdapter[datetime] = TypeAdapter(Instant)


@dataclass(frozen=True, slots=True)
class Page:
    """What the caller asks for. `after` is the decoded cursor: the sort values of the last item seen."""

    limit: int
    after: list[Any] | None


async def _page(
    limit: Annotated[int, Query(ge=1, le=200)] = 50, after: Annotated[str | None, Query(max_length=500)] = None
) -> Page:
    return Page(limit, decode_cursor(after) if after else None)


Paged = Annotated[Page, Depends(_page)]


def encode_cursor(values: list[Any]) -> str:
    """An opaque cursor of JSON-able sort values."""
    return base64.urlsafe_b64encode(orjson.dumps(values)).decode().rstrip("=")


def decode_cursor(cursor: str) -> list[Any]:
    """The sort values. Raises `Problem` 422 for a cursor that is none of ours."""
    try:
        values = orjson.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except ValueError:
        values = None
    if not isinstance(values, list) or not all(isinstance(value, str | int | float) for value in values):
        raise _foreign()
    return values


def cursor_of(page: Page, *kinds: type) -> list[Any] | None:
    """The sort values after which the page begins, one of each of `kinds` (`str`, `int`, `UUID` as its text, `datetime`
    with offset); None for the first page. Raises `Problem` 422 for the cursor of another list."""
    if page.after is None:
        return None
    if len(page.after) != len(kinds):
        raise _foreign()
    return [_READERS[kind](value) for kind, value in zip(kinds, page.after, strict=True)]


def after_of(page: Page, kind: type[_One]) -> _One | None:
    """`cursor_of` for lists sorted by one value."""
    after = cursor_of(page, kind)
    return after[0] if after else None


def _text(value: Any) -> str:
    if not isinstance(value, str) or "\x00" in value:
        raise _foreign()
    return value


def _number(value: Any) -> int:
    if type(value) is not int or not -(2**63) <= value < 2**63:
        raise _foreign()
    return value


def _uuid(value: Any) -> str:
    try:
        return str(UUID(_text(value)))
    except ValueError:
        raise _foreign() from None


def _instant(value: Any) -> datetime:
    try:
        return _INSTANT.validate_python(value)
    except ValidationError:
        raise _foreign() from None


_READERS: dict[type, Callable[[Any], Any]] = {str: _text, int: _number, UUID: _uuid, datetime: _instant}


def _foreign() -> Problem:
    return invalid("/after", "is no cursor of this list; take `next` of the page before")


def page_of(rows: list[dict[str, Any]], page: Page, cursor: Any) -> dict[str, Any]:
    """The answer from `limit + 1` fetched rows; `cursor(row)` gives the sort values of a row."""
    items = rows[: page.limit]
    more = len(rows) > page.limit
    return {"items": items, "next": encode_cursor(cursor(items[-1])) if more and items else None}
