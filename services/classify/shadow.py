"""A model in the shadow of the present one: how both would have answered the cases that persons confirmed lately.

Only cases count that neither was fitted to (models/schooling.py); both answer without the memory.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from services.classify.knowledge import Knowledge, Library
from services.classify.labelling import Case
from services.classify.models.linear import LinearClassifier
from services.classify.models.protocol import Classifier
from services.classify.models.renamed import Renamed
from services.classify.models.schooling import FRESH, UNFAIR
from services.classify.tables import labels, reviews
from shared.clock import rfc3339

WINDOW = timedelta(days=28)
"""how far back confirmed cases are taken from, counted in business time from the decision"""
MOST_CASES = 2_000
"""the latest of them: labelling takes a second"""
FEWEST_CASES = 50
"""with fewer no verdict is given: by chance alone the better of two would often lose"""
_NORMAL_95 = 1.96


@dataclass(frozen=True, slots=True)
class Confirmed:
    """What a citizen said and which matter a person decided."""

    text: str
    matter: str


async def confirmed(pg: Any, now: datetime, library: Library, knowledge: Knowledge) -> list[Confirmed]:
    """The last decisions of persons within WINDOW, one a case, the latest first, as matters of the catalogue in
    force."""
    rows = await pg.fetch(
        "SELECT l.title, l.text, l.matter,"
        " coalesce(l.catalogue_version, l.label::json->>'catalogue_version') AS version"
        f" FROM (SELECT appeal_id, max(at) AS at FROM {reviews.fullname}"
        " WHERE at > $1 AND at <= $2 GROUP BY appeal_id ORDER BY 2 DESC LIMIT $3) r"
        f" JOIN {labels.fullname} l USING (appeal_id) ORDER BY r.at DESC",
        now - WINDOW,
        now,
        MOST_CASES,
    )
    present = knowledge.catalogue
    codes: dict[str, Mapping[str, str]] = {present.version: {code: code for code in present.matters}}
    for version in {row["version"] for row in rows} - codes.keys():
        codes[version] = await library.codes_between(pg, version, present.version) or {}
    return [
        Confirmed(Case(row["title"], row["text"]).words, codes[row["version"]][row["matter"]])
        for row in rows
        if row["matter"] in codes[row["version"]]
    ]


def compared(model: Classifier, present: Classifier, cases: Sequence[Confirmed], now: datetime) -> dict[str, Any]:
    """Both accuracies on the same cases, the difference with its 95 % interval (paired), and the verdict: `better`,
    `not_better`, or `too_few_cases`."""
    ours, theirs = _first(model, cases), _first(present, cases)
    both = [
        (mine == case.matter, other == case.matter)
        for mine, other, case in zip(ours, theirs, cases, strict=True)
        if mine is not None and other is not None
    ]
    count = len(both)
    right, present_right = sum(mine for mine, _ in both), sum(other for _, other in both)
    found: dict[str, Any] = {
        "at": rfc3339(now),
        "days": WINDOW.days,
        "present": present.version,
        "cases": count,
        "learnt_cases_left_out": len(cases) - count,
        "fewest_cases": FEWEST_CASES,
        "accuracy": None,
        "present_accuracy": None,
        "difference": None,
        "interval": None,
        "verdict": "too_few_cases",
    }
    if not count:
        return found
    difference = (right - present_right) / count
    gained = sum(mine and not other for mine, other in both)
    lost = sum(other and not mine for mine, other in both)
    # paired interval of Agresti and Min (2005): half a case more of each kind, so that few cases are not certain
    more = count + 2
    middle = (gained - lost) / more
    spread = _NORMAL_95 * math.sqrt(gained + lost + 1 - (gained - lost) ** 2 / more) / more
    found |= {
        "accuracy": round(right / count, 4),
        "present_accuracy": round(present_right / count, 4),
        "difference": round(difference, 4),
        "interval": [round(max(middle - spread, -1.0), 4), round(min(middle + spread, 1.0), 4)],
    }
    if count >= FEWEST_CASES:
        found["verdict"] = "better" if difference > 0 else "not_better"
    return found


def _first(model: Classifier, cases: Sequence[Confirmed]) -> list[str | None]:
    """The likeliest label of each case, empty when there is none; None where the model has learnt the case."""
    texts = [case.text for case in cases]
    inner, codes = (model.inner, model.codes) if isinstance(model, Renamed) else (model, None)
    places = [FRESH] * len(texts)
    if isinstance(inner, LinearClassifier) and inner.schooling is not None:
        places = inner.schooling.fair(texts).tolist()
    answers = iter(model.classify([text for text, place in zip(texts, places, strict=True) if place == FRESH]))
    found: list[str | None] = []
    for place in places:
        if place == UNFAIR:
            found.append(None)
        elif place == FRESH:
            answer = next(answers)
            found.append(answer[0].code if answer else "")
        else:
            label = inner.labels[place] if place >= 0 else ""
            found.append(label if codes is None else codes.get(label, ""))
    return found
