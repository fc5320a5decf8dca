"""How good the labels are, as persons show who review them: by model, matter, unit and month.

Only the first decision about a label judges what made it: later ones are changes of mind. Persons mostly see the cases
that the model was unsure of, so these accuracies are lower than over all cases; compare them with the mean probability
beside them, and month with month.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from services.classify.knowledge import Knowledge
from services.classify.tables import advice, appeal_units, label_counts, labels, reviews, second_opinions

BINS = 10
"""of the probability, for the calibration"""
_COUNTS = ("labelled", "in_review", "degraded", "urgent")
_ZONE = "Asia/Shanghai"

Row = Mapping[str, Any]


async def figures(pg: Any, now: datetime, days: int, knowledge: Knowledge) -> dict[str, Any]:
    """The answer of `GET /v1/classify/quality`, each rate beside its counts."""
    since = now - timedelta(days=days)
    counted = await pg.fetch(
        f"SELECT model, to_char(day, 'YYYY-MM') AS month, {', '.join(f'sum({n})::bigint AS {n}' for n in _COUNTS)}"
        f" FROM {label_counts.fullname} WHERE day >= ($1::timestamptz AT TIME ZONE '{_ZONE}')::date"
        " GROUP BY 1, 2 ORDER BY 1, 2",
        since,
    )
    judged = await pg.fetch(
        f"SELECT model, to_char(at AT TIME ZONE '{_ZONE}', 'YYYY-MM') AS month, matter_before AS matter,"
        f" least(floor(probability * {BINS}), {BINS - 1})::int AS bin, count(*) AS reviewed,"
        " count(*) FILTER (WHERE matter_before = matter_after) AS confirmed, sum(probability)::float8 AS promised"
        f" FROM {reviews.fullname} WHERE at >= $1 AND sequence = 2 GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4",
        since,
    )
    decided = await pg.fetch(
        f"SELECT to_char(at AT TIME ZONE '{_ZONE}', 'YYYY-MM') AS month, matter_after AS matter, count(*) AS reviewed"
        f" FROM {reviews.fullname} WHERE at >= $1 AND sequence = 2 GROUP BY 1, 2",
        since,
    )
    of_units = await pg.fetch(
        "SELECT coalesce(u.unit, '') AS unit, count(*) AS labelled,"
        " count(*) FILTER (WHERE l.review_reason IS NOT NULL) AS in_review,"
        " count(*) FILTER (WHERE l.degraded) AS degraded, count(*) FILTER (WHERE l.\"class\" = 'urgent') AS urgent"
        f" FROM {labels.fullname} l LEFT JOIN {appeal_units.fullname} u USING (appeal_id) WHERE l.received_at >= $1"
        " GROUP BY 1 ORDER BY 1",
        since,
    )
    judged_of_units = await pg.fetch(
        f"SELECT coalesce(u.unit, '') AS unit, least(floor(probability * {BINS}), {BINS - 1})::int AS bin,"
        " count(*) AS reviewed, count(*) FILTER (WHERE matter_before = matter_after) AS confirmed,"
        f" sum(probability)::float8 AS promised FROM {reviews.fullname} r"
        f" LEFT JOIN {appeal_units.fullname} u USING (appeal_id) WHERE r.at >= $1 AND r.sequence = 2 GROUP BY 1, 2",
        since,
    )
    agreed = await pg.fetchrow(
        "SELECT count(*) AS pairs, count(*) FILTER (WHERE matter = first_matter) AS agreed"
        f" FROM {second_opinions.fullname} WHERE actor IS NOT NULL AND at >= $1",
        since,
    )
    advised = await pg.fetch(
        "SELECT v.model, count(*) AS given, count(*) FILTER (WHERE v.matter = r.matter_after) AS agreed"
        f" FROM {reviews.fullname} r JOIN {advice.fullname} v USING (appeal_id)"
        " WHERE r.at >= $1 AND r.sequence = 2 AND v.state = 'given' AND v.at <= r.at GROUP BY v.model ORDER BY v.model",
        since,
    )
    return {
        "days": days,
        "models": by_model(counted, judged),
        "matters": by_matter(judged, knowledge),
        "units": by_unit(of_units, judged_of_units),
        "months": by_month(counted, judged, decided),
        "agreement": {**dict(agreed), "share": _share(agreed["agreed"], agreed["pairs"])},
        "advice": [dict(row) for row in advised],
    }


def by_model(counted: Sequence[Row], judged: Sequence[Row]) -> list[dict[str, Any]]:
    """Counts, coverage, accuracy and calibration of each model."""
    found = []
    for name in dict.fromkeys(row["model"] for row in (*counted, *judged)):
        mine = [row for row in judged if row["model"] == name]
        counts = [row for row in counted if row["model"] == name]
        found.append({"model": name, **_of(counts, mine), "calibration": _calibration(mine)})
    return found


def by_matter(judged: Sequence[Row], knowledge: Knowledge) -> list[dict[str, Any]]:
    """How often each answer of each model was right."""
    groups: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in judged:
        groups[(row["model"], row["matter"])].append(row)
    found = []
    for (model, code), rows in groups.items():
        matter = knowledge.catalogue.get(code)
        found.append({"model": model, "matter": code, "name": matter.name if matter else None, **_judged(rows)})
    return found


def by_unit(counted: Sequence[Row], judged: Sequence[Row]) -> list[dict[str, Any]]:
    """Counts, coverage, accuracy and calibration of the appeals that each unit got last (empty: none yet)."""
    found = []
    for unit in sorted({row["unit"] for row in (*counted, *judged)}):
        mine = [row for row in judged if row["unit"] == unit]
        counts = _of([row for row in counted if row["unit"] == unit], mine)
        found.append({"unit": unit, **counts, "ece": _ece(mine)})
    return found


def by_month(counted: Sequence[Row], judged: Sequence[Row], decided: Sequence[Row]) -> list[dict[str, Any]]:
    """Each month and how far it drifted from the one before: change of accuracy, of the mean probability and of the
    share that is labelled alone, and which share of the confirmed cases moved to other matters (total variation)."""
    found: list[dict[str, Any]] = []
    names = sorted({row["month"] for row in (*counted, *judged)})
    matters: dict[str, dict[str, int]] = defaultdict(dict)
    for row in decided:
        matters[row["month"]][row["matter"]] = row["reviewed"]
    for place, name in enumerate(names):
        mine = [row for row in judged if row["month"] == name]
        here = _of([row for row in counted if row["month"] == name], mine)
        month: dict[str, Any] = {"month": name, **here, "ece": _ece(mine), "drift": None}
        month["models"] = sorted({row["model"] for row in (*counted, *judged) if row["month"] == name})
        if place:
            before = found[-1]
            month["drift"] = {
                "since": before["month"],
                **{
                    figure: round(month[figure] - before[figure], 4)
                    if None not in (month[figure], before[figure])
                    else None
                    for figure in ("accuracy", "mean_probability", "coverage")
                },
                "matters_moved": _moved(matters[before["month"]], matters[name]),
            }
        found.append(month)
    return found


def _of(counted: Sequence[Row], judged: Sequence[Row]) -> dict[str, Any]:
    """`coverage`: the share that was labelled without a person to look at it."""
    counts = {name: sum(row[name] for row in counted) for name in _COUNTS}
    coverage = _share(counts["labelled"] - counts["in_review"], counts["labelled"])
    return {**counts, "coverage": coverage, **_judged(judged)}


def _judged(rows: Sequence[Row]) -> dict[str, Any]:
    reviewed, confirmed = sum(row["reviewed"] for row in rows), sum(row["confirmed"] for row in rows)
    return {
        "reviewed": reviewed,
        "confirmed": confirmed,
        "accuracy": _share(confirmed, reviewed),
        "mean_probability": _share(sum(row["promised"] for row in rows), reviewed),
    }


def _calibration(rows: Sequence[Row]) -> dict[str, Any]:
    """What was promised and kept in each tenth of the probability, and the expected calibration error."""
    bins = [
        {"from": number / BINS, "to": (number + 1) / BINS, **_judged(mine)}
        for number in range(BINS)
        if (mine := [row for row in rows if row["bin"] == number])
    ]
    return {"ece": _ece(rows), "bins": bins}


def _ece(rows: Sequence[Row]) -> float | None:
    total = int(sum(row["reviewed"] for row in rows))
    if not total:
        return None
    gaps: dict[int, float] = defaultdict(float)
    for row in rows:
        gaps[row["bin"]] += row["promised"] - row["confirmed"]
    return round(sum(abs(gap) for gap in gaps.values()) / total, 4)


def _moved(before: Mapping[str, int], after: Mapping[str, int]) -> float | None:
    if not before or not after:
        return None
    earlier, later = sum(before.values()), sum(after.values())
    moved = sum(abs(before.get(code, 0) / earlier - after.get(code, 0) / later) for code in {*before, *after})
    return round(moved / 2, 4)


def _share(part: float, whole: int) -> float | None:
    return round(part / whole, 4) if whole else None
