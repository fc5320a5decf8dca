"""The rules in force at an instant: policies and calendars by their effective dates.

Every replica keeps the short list in memory and reads it again every few seconds and after its own writes.
"""

import asyncio
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time
from functools import partial
from pathlib import Path
from typing import Any

import orjson
import yaml

from services.sla.calendars import published_calendar
from services.sla.domain.calendar import CalendarData, CalendarError, WorkingCalendar
from services.sla.domain.clock_set import Terms
from services.sla.domain.layers import Layer
from services.sla.domain.policy import Policy
from services.sla.sheets import calendar_data, entries_of_csv, years_of
from services.sla.tables import calendars, policies
from shared.errors import invalid

ALWAYS = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Dated:
    """One version of a rule and from when on it holds; `unit` "" is the platform's."""

    effective_from: datetime
    version: str
    value: Any
    """a `Policy`, or the `CalendarData` that results"""
    created_by: str = "system"
    unit: str = ""


def default_policy() -> Policy:
    """The table of domain.md."""
    text = (Path(__file__).parent / "policies" / "default.yaml").read_text(encoding="utf-8")
    return Policy.from_data(yaml.safe_load(text))


def layer_of(data: Mapping[str, Any], effective_from: datetime) -> Layer:
    """A stored calendar version as a layer."""
    hours = data.get("hours")
    return Layer(
        version=str(data["version"]),
        effective_from=effective_from,
        years=frozenset(data.get("years", ())),
        free={date.fromisoformat(day): name for day, name in data["holidays"].items()},
        worked={date.fromisoformat(day): name for day, name in data["workdays"].items()},
        hours=None
        if not hours
        else tuple((time.fromisoformat(opens), time.fromisoformat(closes)) for opens, closes in hours),
    )


def calendar_of_file(raw: bytes, years: str) -> WorkingCalendar:
    """The published calendar with a CSV file over it, from the beginning. Raises `Problem` with every wrong line."""
    data = calendar_data("file", years_of(years), entries_of_csv(raw), None, "")
    try:
        return WorkingCalendar(layer_of(data, ALWAYS).over(published_calendar().data))
    except CalendarError as error:
        raise invalid("/years", str(error)) from error


class TermsBook:
    """Finds the rules that hold at an instant."""

    def __init__(self, policy: Policy) -> None:
        self._first_policy = Dated(ALWAYS, policy.version, policy)
        self._first_calendar = Dated(ALWAYS, published_calendar().version, published_calendar().data)
        self.fresh = asyncio.Event()
        self._known: Sequence[Any] = ()
        self._built: dict[tuple[str, ...], WorkingCalendar] = {
            (published_calendar().version,): published_calendar(),
        }
        self._adopt([], [])

    def at(self, instant: datetime) -> Terms:
        """The rules that are effective at `instant`."""
        return self._terms[bisect_right(self._since, instant) - 1] if self._since[0] <= instant else self._terms[0]

    def since(self, number: int, until: datetime) -> Iterator[Terms]:
        """The rules that came into force after those of `number`, by `until`, the oldest first."""
        if self._terms[-1].number == number:
            return iter(())
        return (terms for terms in self._terms[: bisect_right(self._since, until)] if terms.number > number)

    def with_version(self, terms: Terms, policy: Policy | None, layer: Layer | None, unit: str) -> Terms:
        """`terms` as they would be with another policy or calendar on top. Raises `CalendarError`."""
        if policy is not None:
            terms = replace(terms, policy=policy)
        if layer is None:
            return terms
        layers = self._unit_layers(terms.since or ALWAYS)
        if unit:
            changed = WorkingCalendar(_own(terms.calendar, [*layers.get(unit, ()), layer]))
            return replace(terms, units={**terms.units, unit: changed})
        # what units have of their own lies over the platform's days
        platform = WorkingCalendar(layer.over(terms.calendar.data))
        units = {name: WorkingCalendar(_own(platform, own)) for name, own in layers.items()}
        return replace(terms, calendar=platform, units=units)

    def forget(self) -> None:
        """A version was added here: `fresh` is set until `read` saw it."""
        self.fresh.set()

    async def read(self, pg: Any) -> None:
        """Read the stored versions again."""
        policy_rows = await pg.fetch(
            f"SELECT version, data::text, effective_from, created_by FROM {policies.fullname}"
            " ORDER BY effective_from, created_at"
        )
        calendar_rows = await pg.fetch(
            f"SELECT version, data::text, effective_from, created_by, unit FROM {calendars.fullname}"
            " ORDER BY effective_from, created_at"
        )
        known = [(row["version"], row["effective_from"]) for row in (*policy_rows, *calendar_rows)]
        if known != self._known:
            self._adopt(policy_rows, calendar_rows)
            self._known = known

    def _adopt(self, policy_rows: Sequence[Mapping[str, Any]], calendar_rows: Sequence[Mapping[str, Any]]) -> None:
        self.policies = [
            self._first_policy,
            *(
                Dated(
                    row["effective_from"],
                    row["version"],
                    Policy.from_data(orjson.loads(row["data"])),
                    row["created_by"],
                )
                for row in policy_rows
            ),
        ]
        self._layers = [
            (row["unit"], layer_of(orjson.loads(row["data"]), row["effective_from"]), row["created_by"])
            for row in calendar_rows
        ]
        self._since = sorted(
            {
                ALWAYS,
                *(v.effective_from for v in self.policies),
                *(layer.effective_from for _, layer, _ in self._layers),
            }
        )
        self._terms = [self._terms_at(instant) for instant in self._since]
        self.calendars = [self._first_calendar]
        for unit, layer, created_by in self._layers:
            data = self.at(layer.effective_from).of_unit(unit).data
            self.calendars.append(Dated(layer.effective_from, layer.version, data, created_by, unit))

    def _terms_at(self, instant: datetime) -> Terms:
        policy = next(v.value for v in reversed(self.policies) if v.effective_from <= instant)
        own = [layer for unit, layer, _ in self._layers if not unit and layer.effective_from <= instant]
        chain = (self._first_calendar.version, *(layer.version for layer in own))
        calendar = self._calendar(chain, lambda: _over(self._first_calendar.value, own))
        units = {
            unit: self._calendar((*chain, unit, *(layer.version for layer in layers)), partial(_own, calendar, layers))
            for unit, layers in self._unit_layers(instant).items()
        }
        began = (*(v.effective_from for v in self.policies), *(layer.effective_from for _, layer, _ in self._layers))
        number = sum(start <= instant for start in began) - 1
        return Terms(policy, calendar, units, None if instant == ALWAYS else instant, number)

    def _unit_layers(self, instant: datetime) -> dict[str, list[Layer]]:
        found: dict[str, list[Layer]] = defaultdict(list)
        for unit, layer, _ in self._layers:
            if unit and layer.effective_from <= instant:
                found[unit].append(layer)
        return found

    def _calendar(self, chain: tuple[str, ...], data: Callable[[], CalendarData]) -> WorkingCalendar:
        if chain not in self._built:
            self._built[chain] = WorkingCalendar(data())
        return self._built[chain]


def _over(base: CalendarData, layers: Sequence[Layer]) -> CalendarData:
    for layer in layers:
        base = layer.over(base)
    return base


def _own(base: WorkingCalendar, layers: Sequence[Layer]) -> CalendarData:
    """A unit's days over the platform's; both are in the name."""
    return replace(_over(base.data, layers), version=f"{base.version}+{layers[-1].version}")
