"""What routes take from the address and the headers, and the caller's row scope as conditions of a query."""

import re
from typing import Annotated
from uuid import UUID

from fastapi import Header, Path, Query

from shared.errors import invalid, not_found
from shared.http.auth import allowed
from shared.security.principal import Principal

Handling = Annotated[Principal, allowed("handler", "seat", "supervisor", "leader")]
Centre = Annotated[Principal, allowed("seat", "supervisor", "leader")]
Leading = Annotated[Principal, allowed("leader")]
Keeper = Annotated[Principal, allowed("supervisor", "leader")]
Staff = Annotated[Principal, allowed("handler", "seat", "supervisor", "leader", "auditor")]

Id = Annotated[str, Path(min_length=1, max_length=64)]
IfMatch = Annotated[str | None, Header(alias="If-Match", max_length=100)]
Filter = Annotated[str | None, Query(max_length=64)]
Digits = Annotated[str | None, Query(max_length=32, pattern=r"^\d+$")]


def uuid_of(value: str, what: str) -> str:
    """The id in its plain form. Raises 404 for what can be no id."""
    try:
        return str(UUID(value))
    except ValueError:
        raise not_found(what) from None


_ETAG = re.compile(r'(?:W/)?"(\d{1,18})"|(\d{1,18})')


def version_of(if_match: str | None) -> int | None:
    """The version that the caller saw; `*` and no header match any. Raises 422."""
    if if_match is None or if_match.strip() == "*":
        return None
    found = _ETAG.fullmatch(if_match.strip())
    if found is None:
        raise invalid("/If-Match", 'is no ETag of a work order; send the one you got, e.g. "3"')
    return int(found[1] or found[2])
