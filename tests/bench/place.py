"""bench-place: tickets whose district operators filled in, placed by their words alone (docs/classification.md, Place).

`make bench-place data=haikou_stream_2days.jsonl.gz [text=工单标题,诉求内容] [district=辖区] [address=诉求地址]
[date=工单发起时间] [home=460100]`. A ticket is *found* when a district of the home city (or a place below one) is the
answer; one placed elsewhere is neither found nor missed, and counted beside. `learned`: names of roads and estates are
learned from the first half of the tickets in time, and the second half is judged with and without them.
"""

from __future__ import annotations

import gzip
import json
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

from services.intake.domain.place_names import place_names
from services.intake.learned_places import AGREED, LEAST_SEEN
from shared.regions import DivisionDirectory, load

DEFAULTS = {
    "text": "工单标题,诉求内容",
    "district": "辖区",
    "address": "诉求地址",
    "date": "工单发起时间",
    "home": "460100",
}


def judged(regions: DivisionDirectory, home: str, cases: list[tuple[str, str]]) -> dict[str, Any]:
    """`cases`: (text, district's code)."""
    found = right = elsewhere = 0
    began = time.process_time()
    for text, district in cases:
        place = regions.resolve(text, home)
        if place.confidence == 0.0 or place.region_code == home:
            continue
        if not regions.is_within(place.region_code, home):
            elsewhere += 1
            continue
        found += 1
        right += regions.is_within(place.region_code, district)
    return {
        "tickets": len(cases),
        "found": round(found / max(len(cases), 1), 4),
        "right_of_found": round(right / max(found, 1), 4),
        "placed_elsewhere": elsewhere,
        "us_per_text": round((time.process_time() - began) / max(len(cases), 1) * 1e6, 1),
    }


def learned(regions: DivisionDirectory, home: str, cases: list[tuple[str, str]]) -> dict[str, str]:
    """Names as intake learns them, each with its district."""
    counts: dict[str, Counter[str]] = {}
    for text, district in cases:
        for name in place_names(text):
            counts.setdefault(name, Counter())[district] += 1
    best = {name: counter.most_common(1)[0] for name, counter in counts.items()}
    return {
        name: district
        for name, (district, seen) in best.items()
        if seen >= LEAST_SEEN and seen >= AGREED * counts[name].total()
    }


def main(arguments: list[str]) -> None:
    given = dict(word.split("=", 1) for word in arguments if "=" in word)
    chosen = {**DEFAULTS, **{name: value for name, value in given.items() if value}}
    if "data" not in chosen:
        raise SystemExit("bench-place needs data=FILE (JSONL, plain or .gz) of tickets with text and district")
    path = Path(chosen["data"])
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "rt", encoding="utf-8") as stream:
        rows = [json.loads(line) for line in stream]
    regions, home = load(), chosen["home"]
    districts = {region.name: region.code for region in regions.children(home)}
    rows = [row for row in rows if row.get(chosen["district"]) in districts]
    rows.sort(key=lambda row: str(row.get(chosen["date"], "")))
    names = chosen["text"].split(",")

    def cases(part: list[dict[str, Any]], columns: list[str]) -> list[tuple[str, str]]:
        return [
            (" ".join(str(row.get(column) or "") for column in columns), districts[row[chosen["district"]]])
            for row in part
        ]

    regions.resolve("", home)
    addressed = [row for row in rows if row.get(chosen["address"])]
    first, second = rows[: len(rows) // 2], rows[len(rows) // 2 :]
    known = learned(regions, home, cases(first, [*names, chosen["address"]]))
    regions_learned = regions.with_names(known)
    regions_learned.resolve("", home)
    free = judged(regions, home, cases(rows, names))
    print(
        json.dumps(
            {
                "bench": "place",
                "free_text": free,
                "address": judged(regions, home, cases(addressed, [chosen["address"]])),
                "second_half": judged(regions, home, cases(second, names)),
                "second_half_learned": judged(regions_learned, home, cases(second, names)) | {"names": len(known)},
                "held": free["right_of_found"] >= 0.94,
            },
            ensure_ascii=False,
        )
    )


if __name__ == "__main__":
    main(sys.argv[1:])
