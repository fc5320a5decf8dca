"""What a month's numbers must be, computed by DuckDB from the truth alone (docs/evaluation.md read anew)."""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal, localcontext
from typing import Any

import duckdb

from tests.truth.lives import PLATFORM, Truth

_TABLES = {
    "appeals": "appeal text, ordr text, unit text, month text, closed bigint, reached bool, contacted bool,"
    " solved bool, satisfaction int, bad int, excluded bool, suspected bool",
    "orders": "ordr text, late bool",
    "moves": "unit text, month text, what text",
    "repeats": "appeal text, closed_one text, month text",
    "units": "unit text, region text",
    "false_ones": "ordr text, round int, appeal text, unit text, second bigint, month text, confirmed bool",
    "labels": "appeal text, machine text, person text, last text",
}
_COUNTS = """
WITH closings AS (
  SELECT unit, count(*) closed, count(*) FILTER (asked) asked, count(*) FILTER (asked AND contacted) contacted,
    count(*) FILTER (asked AND solved) solved, count(*) FILTER (asked AND satisfaction IS NOT NULL) answered,
    count(*) FILTER (asked AND satisfaction >= 3) satisfied, count(*) FILTER (asked AND bad > 0) second_handled,
    count(*) FILTER (reached AND excluded) excluded, count(*) FILTER (asked AND suspected) false_completions_suspected
  FROM (SELECT *, reached AND NOT excluded AS asked FROM appeals) WHERE month = $month GROUP BY unit),
ends AS (  -- the appeal of an order that closed last; one that is still open keeps the order out
  SELECT ordr, unit, month FROM (
    SELECT *, row_number() OVER (PARTITION BY ordr ORDER BY closed DESC, appeal) place,
      count(*) FILTER (month IS NULL) OVER (PARTITION BY ordr) still_open FROM appeals)
  WHERE place = 1 AND still_open = 0),
done AS (
  SELECT unit, count(*) completed, count(*) FILTER (late) late FROM ends JOIN orders USING (ordr)
  WHERE month = $month GROUP BY unit),
moved AS (
  SELECT unit, count(*) FILTER (what = 'dispatched') dispatched, count(*) FILTER (what = 'returned') returned,
    count(*) FILTER (what = 'shirked') shirked FROM moves WHERE month = $month GROUP BY unit),
again AS (
  SELECT a.unit, count(*) repeats FROM repeats r JOIN appeals a ON a.appeal = r.closed_one
  WHERE r.month = $month GROUP BY a.unit),
wrong AS (  -- of several citizens who contradict one completion the first confirmation counts
  SELECT unit, count(*) false_completions FROM (
    SELECT *, row_number() OVER (PARTITION BY ordr, round ORDER BY second, appeal) place
    FROM false_ones WHERE confirmed) WHERE place = 1 AND month = $month GROUP BY unit),
said AS (  -- lists of tags; a text without any is an empty list
  SELECT unit, last, list_filter(string_split(machine, ','), lambda tag: tag <> '') machine,
    list_filter(string_split(person, ','), lambda tag: tag <> '') person
  FROM labels JOIN appeals USING (appeal) WHERE month = $month),
tagging AS (
  SELECT unit, count(*) FILTER (last <> '') tagged,
    sum(len(list_distinct(list_concat(machine, person)))) FILTER (person IS NOT NULL) tags_judged,
    sum(len(list_intersect(machine, person))) FILTER (person IS NOT NULL) tags_right FROM said GROUP BY unit)
SELECT unit, units.region, coalesce(closed, 0) closed, coalesce(asked, 0) asked, coalesce(contacted, 0) contacted,
  coalesce(solved, 0) solved, coalesce(answered, 0) answered, coalesce(satisfied, 0) satisfied,
  coalesce(second_handled, 0) second_handled, coalesce(excluded, 0) excluded,
  coalesce(false_completions_suspected, 0) false_completions_suspected, coalesce(completed, 0) completed,
  coalesce(late, 0) late, coalesce(dispatched, 0) dispatched, coalesce(returned, 0) returned,
  coalesce(shirked, 0) shirked, coalesce(repeats, 0) repeats, coalesce(tagged, 0) tagged,
  coalesce(false_completions, 0) false_completions,
  coalesce(tags_judged, 0)::bigint tags_judged, coalesce(tags_right, 0)::bigint tags_right
FROM closings FULL JOIN done USING (unit) FULL JOIN moved USING (unit) FULL JOIN again USING (unit)
  FULL JOIN tagging USING (unit) FULL JOIN wrong USING (unit)
  LEFT JOIN units USING (unit)
"""
_LEVELS = {
    "unit": "unit",
    "street": "CASE WHEN length(region) >= 9 THEN left(region, 9) END",
    "district": f"CASE WHEN left(region, 6) <> '{PLATFORM}' THEN left(region, 6) END",
    "city": f"'{PLATFORM}'",
}
_NUMBERS = [
    *("closed", "asked", "contacted", "solved", "answered", "satisfied", "second_handled", "excluded"),
    *("false_completions_suspected", "completed", "late", "dispatched", "returned", "shirked", "repeats"),
    *("false_completions", "tagged", "tags_judged", "tags_right"),
]
_RATES = {
    "response": ("contacted", "asked"),
    "solution": ("solved", "asked"),
    "satisfaction": ("satisfied", "answered"),
    "second_handling": ("second_handled", "asked"),
    "on_time": ("completed - late", "completed"),
    "return": ("returned", "dispatched"),
    "repeat": ("repeats", "closed"),
    "tag_coverage": ("tagged", "closed"),
    "tag_accuracy": ("tags_right", "tags_judged"),
}


def expected(truth: Truth, month: str, min_asked: int = 20) -> dict[str, dict[str, dict[str, Any]]]:
    """level → id → {counts, rates: {rate: (above, below, shown)}, score, rank}, of the default formula."""
    with duckdb.connect() as db:
        for name, columns in _TABLES.items():
            db.execute(f"CREATE TABLE {name} ({columns})")
            _fill(db, name, getattr(truth, name), columns)
        db.execute(f"CREATE TABLE counts AS {_COUNTS}", {"month": month})
        found: dict[str, dict[str, dict[str, Any]]] = {}
        for level, group in _LEVELS.items():
            sums = ", ".join(f"sum({name})::bigint {name}" for name in _NUMBERS)
            sides = ", ".join(f"{above}, {below}" for above, below in _RATES.values())
            rows = db.execute(
                f"SELECT id, {', '.join(_NUMBERS)}, {sides} FROM (SELECT {group} AS id, {sums} FROM counts GROUP BY 1)"
                " WHERE id IS NOT NULL"
            ).fetchall()
            found[level] = {}
            for name, *values in rows:
                counts = dict(zip(_NUMBERS, values, strict=False))
                pairs = values[len(_NUMBERS) :]
                rates = {
                    rate: (pairs[2 * n], pairs[2 * n + 1], _shown(pairs[2 * n], pairs[2 * n + 1], 4))
                    for n, rate in enumerate(_RATES)
                }
                found[level][name] = {"counts": counts, "rates": rates, "score": _score(counts)}
            ranked = [
                (line["score"], name)
                for name, line in found[level].items()
                if line["score"] is not None and line["counts"]["asked"] >= min_asked
            ]
            for name, line in found[level].items():
                own = (line["score"], name) in ranked
                line["rank"] = 1 + sum(other > line["score"] for other, _ in ranked) if own else None
        return found


def _fill(db: Any, name: str, rows: list[tuple[Any, ...]], columns: str) -> None:
    """By columns: a row a statement takes minutes."""
    names = [column.split()[0] for column in columns.split(", ")]
    lists = [list(values) for values in zip(*rows, strict=True)] if rows else [[] for _ in names]
    kinds = [column.split()[1] for column in columns.split(", ")]
    parts = ", ".join(f"unnest(${number + 1}::{kind}[])" for number, kind in enumerate(kinds))
    for start in range(0, len(rows), 50_000):
        db.execute(f"INSERT INTO {name} SELECT {parts}", [values[start : start + 50_000] for values in lists])


def _shown(above: int, below: int, places: int) -> str | None:
    return None if below == 0 else str(_rounded(Decimal(above), Decimal(below), places))


def _rounded(above: Decimal, below: Decimal, places: int) -> Decimal:
    with localcontext(prec=60):
        return (above / below).quantize(Decimal(1).scaleb(-places), ROUND_HALF_UP)


def _score(counts: dict[str, int]) -> Decimal | None:
    """10 % response + 45 % solution + 45 % satisfaction − deductions, over one common divisor."""
    asked, answered = counts["asked"], counts["answered"]
    if asked == 0 or answered == 0:
        return None
    above = 10 * counts["contacted"] * answered + 45 * counts["solved"] * answered + 45 * counts["satisfied"] * asked
    points = 2 * Decimal(counts["shirked"]) + 5 * Decimal(counts["false_completions"]) + Decimal(counts["late"]) / 2
    with localcontext(prec=60):
        total = Decimal(above) - min(Decimal(20), points) * asked * answered
    return max(Decimal("0.00"), _rounded(total, Decimal(asked * answered), 2))


def _incentive(counts: dict[str, int]) -> Decimal | None:
    """Tag accuracy × the weaker of on-time and solution rate, of the default formula."""
    asked, completed, judged = counts["asked"], counts["completed"], counts["tags_judged"]
    if 0 in (asked, completed, judged):
        return None
    in_time = counts["completed"] - counts["late"]
    above, below = in_time, completed
    if counts["solved"] * completed < in_time * asked:
        above, below = counts["solved"], asked
    return _rounded(Decimal(100 * counts["tags_right"] * above), Decimal(judged * below), 2)


def _incentives(lines: dict[str, dict[str, Any]], least: int = 20) -> dict[str, tuple[str | None, int | None]]:
    """unit → (incentive, rank)."""
    values = {name: _incentive(line["counts"]) for name, line in lines.items()}
    ranked = [
        value
        for name, value in values.items()
        if value is not None and min(lines[name]["counts"][count] for count in ("asked", "tags_judged")) >= least
    ]
    return {
        name: (
            None if value is None else str(value),
            1 + sum(other > value for other in ranked)
            if value is not None and min(lines[name]["counts"][count] for count in ("asked", "tags_judged")) >= least
            else None,
        )
        for name, value in values.items()
    }


def differences(document: dict[str, Any], truth: Truth) -> tuple[int, list[str]]:
    """How many numbers of a published snapshot were compared, and every one that is not the truth."""
    must = expected(truth, document["period"])
    numbers, wrong = 0, []
    for level, lines in must.items():
        told = {line["id"]: line for line in document["levels"][level]}
        wrong += [f"{level} {name}: published, and nothing happened there" for name in told.keys() - lines.keys()]
        for name, line in lines.items():
            if name not in told:
                wrong.append(f"{level} {name}: not published")
                continue
            is_ = told[name]
            pairs: list[tuple[str, Any, Any]] = [
                (key, is_["counts"][key], value) for key, value in line["counts"].items()
            ]
            for rate, (above, below, shown) in line["rates"].items():
                found = is_["rates"][rate]
                pairs += [
                    (f"{rate} above", found["numerator"], above),
                    (f"{rate} below", found["denominator"], below),
                    (rate, found["rate"], shown),
                ]
            pairs += [
                ("score", is_["score"], None if line["score"] is None else str(line["score"])),
                ("rank", is_["rank"], line["rank"]),
            ]
            numbers += len(pairs)
            wrong += [f"{level} {name} {what}: {a} instead of {b}" for what, a, b in pairs if a != b]
    told_incentives = {line["id"]: (line["score"], line["rank"]) for line in document["incentives"]["units"]}
    for name, value in _incentives(must["unit"]).items():
        numbers += 2
        if told_incentives.get(name) != value:
            wrong.append(f"incentive {name}: {told_incentives.get(name)} instead of {value}")
    return numbers, wrong
