"""Lists: `{"items": […], "next": cursor|null}`, keyset-paginated (api.md)."""

import base64
from dataclasses import dataclass
from typing import Annotated, Any

import orjson
from fastapi import Depends, Query

from shared.errors import invalid


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
        raise invalid("/after", "is no cursor of this list; take `next` of the page before")
    return values


def page_of(rows: list[dict[str, Any]], page: Page, cursor: Any) -> dict[str, Any]:
    """The answer from `limit + 1` fetched rows; `cursor(row)` gives the sort values of a row."""
    items = rows[: page.limit]
    more = len(rows) > page.limit
    return {"items": items, "next": encode_cursor(cursor(items[-1])) if more and items else None}
