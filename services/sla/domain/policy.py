"""Which budget a clock gets: class × clock tables with special rules, as data of the city profile (domain.md, SLA).

The data form is the one of `policies/*.yaml`:

    version: mega-1
    classes:
      urgent:
        accept: {natural: PT10M}          # clocks: accept, first_contact, complete, callback, review, ruling
        levels: [PT0S, PT1H, PT4H]        # supervision levels 1–3, natural time after due
    rules:                                # later rules win over earlier ones
      - when: {class: general, kind: consult}
        set: {complete: {working: P5D}}
      - when: {groups: [elderly, disabled], matters: ["0304"], regions: ["460106"]}
        at_most: {first_contact: {natural: PT24H}}

Matters and regions are told by their codes or the beginnings of them; what is not given matches everything.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from services.sla.domain.calendar import NATURAL, Measure
from services.sla.domain.relay import Calendar


class HandlingClass(StrEnum):
    """处置类别 of domain.md, Words."""

    URGENT = "urgent"
    LIVELIHOOD = "livelihood"
    GENERAL = "general"
    COMPLEX = "complex"


class ClockName(StrEnum):
    """What is timed. `rating` carries levels only and has no budget; that of `handoff`, an offer to another platform
    without a receipt, is the same everywhere."""

    ACCEPT = "accept"
    FIRST_CONTACT = "first_contact"
    COMPLETE = "complete"
    CALLBACK = "callback"
    REVIEW = "review"
    RULING = "ruling"
    RATING = "rating"
    HANDOFF = "handoff"


BUDGETED = tuple(name for name in ClockName if name not in (ClockName.RATING, ClockName.HANDOFF))
"""those whose budgets a city chooses"""


class Counting(StrEnum):
    """W and N of domain.md."""

    WORKING = "working"
    NATURAL = "natural"


class PolicyError(ValueError):
    """A policy or an amount that cannot be used; `pointer` names the field as a JSON pointer."""

    def __init__(self, pointer: str, detail: str) -> None:
        super().__init__(f"{pointer}: {detail}" if pointer else detail)
        self.pointer = pointer
        self.detail = detail


@dataclass(frozen=True, slots=True)
class Allowance:
    """What a rule grants: an amount of natural or working time, or a number of working days.

    Natural days are n × 24 h and are held in `amount`; `working_days` > 0 means days W, whose length in working
    seconds depends on the start (Civil Code, articles 201 and 203).
    """

    counting: Counting
    amount: timedelta = timedelta(0)
    working_days: int = 0

    @classmethod
    def parse(cls, counting: str, text: str, pointer: str = "") -> "Allowance":
        """From an ISO 8601 duration of days, hours, minutes, seconds, as in PT4H or P5D.

        Raises `PolicyError` for anything negative, mixed working days and hours, weeks, months and years.
        """
        if counting not in ("working", "natural"):
            raise PolicyError(pointer, f"time is counted 'working' or 'natural', not {counting!r}")
        match = _DURATION.fullmatch(text)
        if match is None or not any(match.groups()):
            raise PolicyError(pointer, f"{text!r} is no duration of days, hours, minutes, seconds such as PT4H or P5D")
        days, hours, minutes, seconds = match.groups()
        try:
            of_day = timedelta(hours=int(hours or 0), minutes=int(minutes or 0), seconds=float(seconds or 0))
            if counting == "natural":
                return cls(Counting.NATURAL, timedelta(days=int(days or 0)) + of_day)
        except OverflowError as error:
            raise PolicyError(pointer, f"{text!r} is longer than any deadline") from error
        if days and (hours or minutes or seconds):
            raise PolicyError(pointer, f"{text!r} mixes working days with hours; give days or hours")
        if days and len(days) > 6:
            raise PolicyError(pointer, f"{text!r} is longer than any deadline")
        return cls(Counting.WORKING, of_day, int(days or 0))

    def measure(self, calendar: Calendar) -> Measure:
        return calendar if self.counting is Counting.WORKING else NATURAL

    def budget(self, start: datetime, calendar: Calendar) -> timedelta:
        """The length in counted time, fixed once at the start of a clock; from then on the clock only consumes it."""
        if self.working_days:
            fixing = calendar.at(start)
            return fixing.between(start, fixing.close_of_day(start, self.working_days))
        return self.amount

    def words(self) -> str:
        """The amount as people say it: 4 工作小时, 15 个工作日, 24 小时, 7 天."""
        if self.working_days:
            return f"{self.working_days} 个工作日"
        seconds = int(self.amount.total_seconds())
        kind = "工作" if self.counting is Counting.WORKING else ""
        if seconds and seconds % 86_400 == 0 and seconds > 2 * 86_400 and not kind:
            return f"{seconds // 86_400} 天"
        if seconds and seconds % 3600 == 0:
            return f"{seconds // 3600} {kind}小时"
        if seconds % 60 == 0:
            return f"{seconds // 60} {kind}分钟"
        return f"{seconds} {kind}秒"

    def as_data(self) -> dict[str, str]:
        """The data form, the inverse of `parse`."""
        if self.working_days:
            return {self.counting.value: f"P{self.working_days}D"}
        return {self.counting.value: duration_text(self.amount)}


UNANSWERED = Allowance(Counting.NATURAL, timedelta(minutes=30))
"""how long a hand-over may be without a receipt (domain.md, Dispatch 6: fixed)"""

_DURATION = re.compile(
    r"P(?:(\d{1,9})D)?(?:T(?=\d)(?:(\d{1,9})H)?(?:(\d{1,9})M)?(?:(\d{1,9}(?:\.\d{1,6})?)S)?)?", re.ASCII
)


def parse_span(text: str, pointer: str = "") -> timedelta:
    """A natural ISO 8601 duration."""
    return Allowance.parse("natural", text, pointer).amount


def duration_text(amount: timedelta) -> str:
    """A natural length of time as an ISO 8601 duration."""
    seconds = amount.total_seconds()
    if seconds and seconds % 86_400 == 0:
        return f"P{int(seconds // 86_400)}D"
    if seconds and seconds % 3600 == 0:
        return f"PT{int(seconds // 3600)}H"
    if seconds and seconds % 60 == 0:
        return f"PT{int(seconds // 60)}M"
    return f"PT{seconds:g}S"


@dataclass(frozen=True, slots=True)
class Case:
    """What the budgets of an order depend on."""

    handling_class: HandlingClass
    kind: str | None = None
    groups: frozenset[str] = frozenset()
    matter: str = ""
    region_code: str = ""
    allowed: timedelta | None = None
    """of a sub-order of joint handling: natural time for it, inside its parent's deadline (domain.md, Dispatch 5)"""


@dataclass(frozen=True, slots=True)
class Condition:
    """When a special rule applies: every field that is given must match. Codes match what begins with them."""

    handling_class: str | None = None
    kind: str | None = None
    groups: frozenset[str] = frozenset()
    matters: tuple[str, ...] = ()
    regions: tuple[str, ...] = ()

    def matches(self, case: Case) -> bool:
        return (
            self.handling_class in (None, case.handling_class)
            and self.kind in (None, case.kind)
            and (not self.groups or not self.groups.isdisjoint(case.groups))
            and (not self.matters or case.matter.startswith(self.matters))
            and (not self.regions or case.region_code.startswith(self.regions))
        )


@dataclass(frozen=True, slots=True)
class SpecialRule:
    """Replaces (`set`) or caps (`at_most`) budgets of the table for the cases of its condition."""

    when: Condition
    replaces: Mapping[ClockName, Allowance]
    at_most: Mapping[ClockName, Allowance]


@dataclass(frozen=True, slots=True)
class Policy:
    """One version of the city's time limits."""

    version: str
    table: Mapping[HandlingClass, Mapping[ClockName, Allowance]]
    ladders: Mapping[HandlingClass, tuple[timedelta, timedelta, timedelta]]
    rules: tuple[SpecialRule, ...] = ()

    def allowance(self, clock: ClockName, case: Case) -> tuple[Allowance, ...]:
        """What the clock may use: the first is granted, further ones are caps; the earliest deadline counts."""
        if clock is ClockName.HANDOFF:
            return (UNANSWERED,)
        granted = self.table[case.handling_class][clock]
        caps: list[Allowance] = []
        for rule in self.rules:
            if rule.when.matches(case):
                granted = rule.replaces.get(clock, granted)
                if clock in rule.at_most:
                    caps.append(rule.at_most[clock])
        return (granted, *caps)

    def choose(self, clock: ClockName, case: Case, start: datetime, calendar: Calendar) -> Allowance:
        """The allowance whose undisturbed deadline from `start` is the earliest."""
        if clock is ClockName.COMPLETE and case.allowed is not None:
            return Allowance(Counting.NATURAL, case.allowed)
        candidates = self.allowance(clock, case)
        if len(candidates) == 1:
            return candidates[0]
        return min(candidates, key=lambda a: a.measure(calendar).after(start, a.budget(start, calendar)))

    @classmethod
    def from_data(cls, data: object) -> "Policy":
        """Reads the data form of the module docstring. Raises `PolicyError` naming the field."""
        root = _mapping(data, "")
        version = root.get("version")
        if not isinstance(version, str) or not version:
            raise PolicyError("/version", "a policy needs a version, a non-empty text")
        classes = _mapping(root.get("classes"), "/classes")
        unknown = sorted(set(map(str, classes)) - {c.value for c in HandlingClass})
        if unknown:
            raise PolicyError(f"/classes/{unknown[0]}", f"no handling class; known: {', '.join(HandlingClass)}")
        table: dict[HandlingClass, dict[ClockName, Allowance]] = {}
        ladders: dict[HandlingClass, tuple[timedelta, timedelta, timedelta]] = {}
        for handling_class in HandlingClass:
            at = f"/classes/{handling_class.value}"
            row = dict(_mapping(classes.get(handling_class.value), at))
            ladders[handling_class] = _ladder(row.pop("levels", None), f"{at}/levels")
            table[handling_class] = _allowances(row, at)
            for clock in BUDGETED:
                granted = table[handling_class].get(clock)
                if granted is None:
                    raise PolicyError(f"{at}/{clock.value}", f"class {handling_class.value} has no {clock.value} clock")
                if not granted.working_days and granted.amount <= timedelta(0):
                    raise PolicyError(f"{at}/{clock.value}", "a time limit must be longer than zero")
        rules = root.get("rules") or ()
        if not isinstance(rules, Sequence) or isinstance(rules, str):
            raise PolicyError("/rules", "must be a list")
        return cls(version, table, ladders, tuple(_rule(rule, f"/rules/{i}") for i, rule in enumerate(rules)))

    def as_data(self) -> dict[str, object]:
        """The data form, the inverse of `from_data`."""
        return {
            "version": self.version,
            "classes": {
                c.value: {
                    **{clock.value: allowance.as_data() for clock, allowance in self.table[c].items()},
                    "levels": [duration_text(step) for step in self.ladders[c]],
                }
                for c in self.table
            },
            "rules": [_rule_data(rule) for rule in self.rules],
        }


def _rule_data(rule: SpecialRule) -> dict[str, object]:
    when = {
        "class": rule.when.handling_class,
        "kind": rule.when.kind,
        "groups": sorted(rule.when.groups),
        "matters": list(rule.when.matters),
        "regions": list(rule.when.regions),
    }
    data: dict[str, object] = {"when": {name: value for name, value in when.items() if value}}
    for name, budgets in (("set", rule.replaces), ("at_most", rule.at_most)):
        if budgets:
            data[name] = {clock.value: allowance.as_data() for clock, allowance in budgets.items()}
    return data


_LONGEST_DAYS = 2_500
_LONGEST = {Counting.NATURAL: timedelta(days=3_653), Counting.WORKING: timedelta(hours=20_000)}


def _mapping(value: object, pointer: str) -> Mapping[str, object]:
    if not isinstance(value, Mapping):
        raise PolicyError(pointer, "must be a table of names and values")
    return value


def _allowances(row: Mapping[str, object], pointer: str) -> dict[ClockName, Allowance]:
    result: dict[ClockName, Allowance] = {}
    for name, value in row.items():
        at = f"{pointer}/{name}"
        if name not in BUDGETED:
            raise PolicyError(at, f"no clock; known: {', '.join(BUDGETED)}")
        entry = _mapping(value, at)
        if len(entry) != 1:
            raise PolicyError(at, "give exactly one of natural or working, as in {natural: PT24H}")
        counting, text = next(iter(entry.items()))
        if not isinstance(text, str):
            raise PolicyError(f"{at}/{counting}", "must be a duration such as PT4H or P5D")
        allowance = Allowance.parse(counting, text, f"{at}/{counting}")
        if allowance.working_days > _LONGEST_DAYS or allowance.amount > _LONGEST[allowance.counting]:
            raise PolicyError(f"{at}/{counting}", f"{text!r} is longer than ten years")
        result[ClockName(name)] = allowance
    return result


def _ladder(value: object, pointer: str) -> tuple[timedelta, timedelta, timedelta]:
    if not isinstance(value, Sequence) or isinstance(value, str) or len(value) != 3:
        raise PolicyError(pointer, "needs three durations after due, for levels 1, 2 and 3")
    first, second, third = (parse_span(str(step), f"{pointer}/{i}") for i, step in enumerate(value))
    if not first <= second <= third <= _LONGEST[Counting.NATURAL]:
        raise PolicyError(pointer, "levels must follow each other in time, within ten years")
    return first, second, third


def _rule(value: object, pointer: str) -> SpecialRule:
    entry = _mapping(value, pointer)
    when = _mapping(entry.get("when"), f"{pointer}/when")
    known = ("class", "kind", "groups", "matters", "regions")
    if unknown := sorted(set(when) - set(known)):
        raise PolicyError(f"{pointer}/when/{unknown[0]}", f"unknown condition; known: {', '.join(known)}")
    handling_class, kind = when.get("class"), when.get("kind")
    if handling_class is not None and handling_class not in list(HandlingClass):
        raise PolicyError(f"{pointer}/when/class", f"no handling class; known: {', '.join(HandlingClass)}")
    return SpecialRule(
        Condition(
            None if handling_class is None else str(handling_class),
            None if kind is None else str(kind),
            frozenset(_texts(when, "groups", pointer)),
            _texts(when, "matters", pointer),
            _texts(when, "regions", pointer),
        ),
        _allowances(_mapping(entry.get("set", {}), f"{pointer}/set"), f"{pointer}/set"),
        _allowances(_mapping(entry.get("at_most", {}), f"{pointer}/at_most"), f"{pointer}/at_most"),
    )


def _texts(when: Mapping[str, object], name: str, pointer: str) -> tuple[str, ...]:
    values = when.get(name, ())
    if not isinstance(values, Sequence) or isinstance(values, str):
        raise PolicyError(f"{pointer}/when/{name}", "must be a list of texts")
    if not all(isinstance(value, str) and value for value in values):
        raise PolicyError(f"{pointer}/when/{name}", "must be a list of texts, none of them empty")
    return tuple(map(str, values))
