"""`python -m services.sla deadlines < cases.ndjson`: many deadlines at once, one answer line for each case line.

Case: `{"id", "start", "kind": "working"|"natural", "amount": "PT4H"|"P5D", "suspensions": [[from, to], …]}`;
answer: `{"id", "due_at", "provisional"}` in the platform's zone. A case that cannot be computed is answered with
`{"id", "line", "error": {"pointer", "detail"}}`, and the command ends with status 1.
"""

from collections.abc import Iterable, Iterator
from datetime import datetime
from functools import lru_cache
from typing import Any

import orjson

from services.sla.domain.calendar import ZONE, OutOfCalendar, WorkingCalendar
from services.sla.domain.intervals import Suspension, merged, used_up_at
from services.sla.domain.policy import Allowance, PolicyError


def answer_lines(lines: Iterable[bytes], calendar: WorkingCalendar) -> Iterator[tuple[bytes, bool]]:
    """One (answer, whether it succeeded) per non-empty line; lines are numbered from 1."""
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        case: Any = None
        try:
            case = orjson.loads(line)
            yield orjson.dumps(_answer(case, calendar)), True
        except orjson.JSONDecodeError as error:
            yield _refusal(None, number, "", f"the line is no JSON: {error}"), False
        except PolicyError as error:
            yield _refusal(case, number, error.pointer, error.detail), False
        except OutOfCalendar as error:
            yield _refusal(case, number, "/start", str(error)), False


def _answer(case: Any, calendar: WorkingCalendar) -> dict[str, Any]:
    if not isinstance(case, dict):
        raise PolicyError("", "a case is an object with id, start, kind, amount")
    start = _instant(case.get("start"), "/start")
    amount = case.get("amount")
    if not isinstance(amount, str):
        raise PolicyError("/amount", "must be a duration such as PT4H or P5D")
    kind = case.get("kind")
    if not isinstance(kind, str):
        raise PolicyError("/kind", "must be 'working' or 'natural'")
    allowance = _allowance(kind, amount)
    measure = allowance.measure(calendar)
    budget = allowance.budget(start, calendar)
    given = case.get("suspensions") or ()
    due = used_up_at(measure, start, budget, merged(_suspensions(given)) if given else ())
    if due is None:  # pragma: no cover - a suspension in a case always ends
        raise PolicyError("/suspensions", "a suspension has no end, so there is no deadline yet")
    return {
        "id": case.get("id"),
        "due_at": due.astimezone(ZONE).isoformat(),
        "provisional": measure is calendar and calendar.is_provisional(start, due),
    }


@lru_cache(maxsize=4096)
def _allowance(kind: str, amount: str) -> Allowance:
    return Allowance.parse(kind, amount, "/amount" if kind in ("working", "natural") else "/kind")


def _suspensions(given: Any) -> Iterator[Suspension]:
    if not isinstance(given, list):
        raise PolicyError("/suspensions", "must be a list of [from, to]")
    for i, span in enumerate(given):
        if not isinstance(span, list) or len(span) != 2:
            raise PolicyError(f"/suspensions/{i}", "must be [from, to]")
        since = _instant(span[0], f"/suspensions/{i}/0")
        until = _instant(span[1], f"/suspensions/{i}/1")
        if until < since:
            raise PolicyError(f"/suspensions/{i}", "ends before it starts")
        yield Suspension(since, until)


def _instant(value: Any, pointer: str) -> datetime:
    try:
        instant = datetime.fromisoformat(value)
    except (TypeError, ValueError) as error:
        raise PolicyError(pointer, "must be an RFC 3339 time such as 2026-10-09T16:10:00+08:00") from error
    if instant.tzinfo is None:
        raise PolicyError(pointer, "has no zone; add an offset such as +08:00")
    return instant


def _refusal(case: Any, line: int, pointer: str, detail: str) -> bytes:
    known = case.get("id") if isinstance(case, dict) else None
    return orjson.dumps({"id": known, "line": line, "error": {"pointer": pointer, "detail": detail}})
