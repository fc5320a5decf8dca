"""The exceptions of the runtime and the one HTTP error shape.

* `Problem`: the caller's fault or a state that he must hear of; becomes an RFC 9457 document.
* `Transient`: try again later, nothing is wrong with the data; never dead-letters.
* `Poison`: can never work (cannot be decoded, breaks a rule for ever); dead-letters at once.

Any other exception is retried a few times and then dead-lettered (architecture.md, "The runtime").
"""

from collections.abc import Mapping, Sequence
from typing import Any


class Transient(Exception):
    """A passing trouble (a lost connection, a lock): the batch is tried again with back-off."""


class OutcomeUnknown(Transient):
    """The connection was lost while it committed: the writes are there or they are not. The inbox knows what to do
    with a batch that is tried again; a caller must be told."""


class Poison(Exception):
    """Data that can never be handled: it goes to the dead letters with this reason."""


class Problem(Exception):
    """An answer for the caller in the form of RFC 9457.

    `status` is the HTTP status, `code` a stable snake_case word for programs, `detail` a sentence that says what to
    do, `errors` the places in the body (`{"pointer": "/reporter/phone", "detail": "…"}`), `extra` further members.
    """

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        *,
        errors: Sequence[Mapping[str, str]] = (),
        headers: Mapping[str, str] | None = None,
        **extra: Any,
    ) -> None:
        super().__init__(f"{code}: {detail}")
        self.status = status
        self.code = code
        self.detail = detail
        self.errors = [dict(error) for error in errors]
        self.headers = dict(headers or {})
        self.extra = extra


def invalid(pointer: str, detail: str) -> Problem:
    """422 for one field of a body; `pointer` is a JSON pointer (RFC 6901), "/" for the body as a whole."""
    pointer = pointer or "/"
    return Problem(422, "invalid", f"{pointer}: {detail}", errors=[{"pointer": pointer, "detail": detail}])


def not_found(what: str) -> Problem:
    """404, also for what the caller may not know exists (api.md, "Errors")."""
    return Problem(404, "not_found", f"{what} is not known here, or not yours to see.")


def stale(version: int) -> Problem:
    """412: `If-Match` names another version than the present one."""
    return Problem(412, "stale", f"The present version is {version}; read it again and decide anew.", version=version)
