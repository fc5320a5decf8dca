"""bench-catalogue: a catalogue of n invented matters in which every code changes, from the file to the first label.

    make bench-catalogue [n=3000]

On a PostgreSQL of its own: import (with difference and impact), proposals for a mapping in which a third of the names
were reworded, acceptance, activation, the first label under the new version and the next.
"""

from __future__ import annotations

import asyncio
import csv
import io
import json
import random
import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from services.classify.domain.catalogue import COLUMNS, parse_catalogue
from shared.city import CITIES
from shared.testing import postgres
from shared.testing.harness import Harness

BAR_S = 30.0
"""each step is one that a person waits for"""


def invented(n: int, *, moved: bool) -> str:
    """n matters of names composed from the demo catalogue's; `moved` gives each another code and rewords a third."""
    chance = random.Random(1)
    demo = parse_catalogue((CITIES / "demo" / "catalogue.csv").read_text("utf-8"))
    names = [matter.name for matter in demo]
    synonyms = [word for matter in demo for word in matter.synonyms]
    examples = [text for matter in demo for text in matter.examples]
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(COLUMNS)
    for place in range(n):
        first, rest = divmod(place, 500)
        second, rest = divmod(rest, 25)
        third, fourth = divmod(rest, 5)
        one, other = chance.sample(names, 2)
        words, said = chance.sample(synonyms, 3), chance.sample(examples, 2)
        name = f"{one}与{other}{place}"
        if moved and place % 3 == 0:
            name = f"{other}及{one}{place}"
        code = f"{first + (50 if moved else 0):02d}{second:02d}{third:02d}{fourth:02d}"
        groups = (f"大类{first}", f"{names[second]}类{first}", f"{names[third]}组{first}{second}")
        writer.writerow([code, *groups, name, "general", "complaint", "", "0", "0", "|".join(words), "|".join(said)])
    return out.getvalue()


async def measured(server: str, n: int) -> dict[str, Any]:
    found: dict[str, Any] = {}

    async def step(name: str, path: str, **body: Any) -> dict[str, Any]:
        began = time.perf_counter()
        answer = await hub.http.post(path, headers=hub.admin, timeout=600, **body)
        answer.raise_for_status()
        found[f"{name}_s"] = round(time.perf_counter() - began, 2)
        result: dict[str, Any] = answer.json()
        return result

    async with Harness.fresh(server, "classify") as hub:
        versions = "/v1/catalogue/versions"
        first = (await step("import_first", versions, content=invented(n, moved=False).encode()))["version"]
        await step("activate_first", f"{versions}/{first}/activate")
        await step("label_by_rules", "/v1/classify", json={"text": "路灯不亮"})
        second = (await step("import", versions, content=invented(n, moved=True).encode()))["version"]
        await step("propose", f"{versions}/{second}/mapping/propose")
        done = await step("accept", f"{versions}/{second}/mapping/accept", json={"at_least": 0.5})
        codes = (await hub.http.get(f"{versions}/{second}/codes", headers=hub.admin)).json()["codes"]
        found["accepted"] = done["accepted"]
        found["right"] = round(sum(old[2:] == new[2:] for old, new in codes.items()) / n, 4)
        await step("activate", f"{versions}/{second}/activate")
        await step("first_label", "/v1/classify", json={"text": "路灯不亮"})
        await step("next_label", "/v1/classify", json={"text": "路灯不亮"})
    return found


def main(arguments: list[str]) -> None:
    given = dict(word.split("=", 1) for word in arguments if "=" in word)
    n = int(given.get("n") or 3_000)
    with (
        tempfile.TemporaryDirectory(prefix="sushu-catalogue-") as folder,
        postgres.server(Path(folder) / "data") as url,
    ):
        found = asyncio.run(measured(url, n))
    found["rss_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
    held = all(value <= BAR_S for name, value in found.items() if name.endswith("_s"))
    print(json.dumps({"bench": "catalogue", "n": n, **found, "bar_s": BAR_S, "held": held}))


if __name__ == "__main__":
    main(sys.argv[1:])
