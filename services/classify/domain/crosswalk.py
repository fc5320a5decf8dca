"""From the matter codes of one catalogue version to those of another (domain.md, Regions, platforms, units: everything
imported is versioned and effective-dated).

A pair (old code, new code) is given with the import or proposed, and holds once a person has accepted it. What keeps
both its code and its name needs no pair. An old code leads to one new code; several old ones may lead to the same.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from services.classify.domain.catalogue import Catalogue

Codes = Mapping[str, str]


def unchanged(old: Catalogue, new: Catalogue) -> dict[str, str]:
    """The codes that mean the same in both: same code, same name."""
    return {
        code: code
        for code, matter in old.matters.items()
        if (after := new.matters.get(code)) is not None and after.name == matter.name
    }


def codes_between(old: Catalogue, new: Catalogue, accepted: Codes) -> dict[str, str]:
    """Old code → new code: what a person accepted, then what is unchanged."""
    known = {**unchanged(old, new), **accepted}
    return {code: after for code, after in known.items() if code in old.matters and after in new.matters}


def inverse(codes: Codes) -> dict[str, str]:
    """New code → old code. Of several old codes that became one, that of the same code, else the first."""
    back: dict[str, str] = {}
    for old in sorted(codes):
        new = codes[old]
        if new not in back or old == new:
            back[new] = old
    return back


def way(steps: Collection[tuple[str, str]], version: str, wanted: str) -> list[str] | None:
    """The versions from one to another, both included. `steps`: (older, newer) of each import and the version it was
    compared with, so the versions are a tree. None where no way is known."""
    neighbours: dict[str, set[str]] = {}
    for old, new in steps:
        neighbours.setdefault(old, set()).add(new)
        neighbours.setdefault(new, set()).add(old)
    came_from: dict[str, str | None] = {version: None}
    queue = [version]
    for here in queue:
        if here == wanted:
            found = [here]
            while (before := came_from[found[-1]]) is not None:
                found.append(before)
            return found[::-1]
        for there in sorted(neighbours.get(here, ())):
            if there not in came_from:
                came_from[there] = here
                queue.append(there)
    return None


def along(steps: Sequence[Codes]) -> dict[str, str]:
    """One step after the other; what one of them does not know is left out."""
    codes = dict(steps[0]) if steps else {}
    for step in steps[1:]:
        codes = {old: step[code] for old, code in codes.items() if code in step}
    return codes
