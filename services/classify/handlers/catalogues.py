"""Catalogue versions: imported, shown with their impact, mapped to the one before, activated (domain.md, Regions,
platforms, units). A write is a job of its own transaction."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Literal

from services.classify import catalogues, repository
from services.classify.domain.catalogue import Catalogue, CatalogueError, Matter, diff, parse_catalogue
from services.classify.domain.crosswalk import codes_between
from services.classify.domain.pairs import PairsError, parse_pairs
from services.classify.knowledge import Library
from services.classify.matching import propose
from services.classify.models import encoder
from services.classify.models.rules import rules_classifier
from shared.clock import rfc3339
from shared.db import audit
from shared.db.database import Database
from shared.errors import Problem, invalid, not_found
from shared.events.catalog.catalogues import CatalogueActivated, CatalogueImported
from shared.http.commands import Answer
from shared.outbox.uow import Uow

IMPACT_DAYS = 30
LISTED = 200
"""codes without a successor that an answer names"""
Decision = Literal["accept", "reject", "undo"]
_AFTER: dict[Decision, str] = {"accept": "accepted", "reject": "rejected", "undo": "open"}


class Catalogues:
    """What those do who keep the catalogue."""

    def __init__(self, library: Library, database: Database) -> None:
        self._library = library
        self._database = database

    async def import_csv(self, csv: str, actor: str, uow: Uow) -> Answer:
        """Store a version with its difference and impact; it is not in force before it is activated."""
        try:
            matters = await asyncio.to_thread(parse_catalogue, csv)
        except CatalogueError as error:
            raise Problem(
                422,
                "invalid_catalogue",
                f"The catalogue was not imported: {error}",
                errors=[
                    {"pointer": f"/{problem.line}/{problem.column}", "detail": problem.detail}
                    for problem in error.problems
                ],
            ) from error
        now = uow.clock.now()
        in_force, _ = await repository.catalogue_in_force(uow.pg, now)
        old = await self._library.catalogue(uow.pg, str(in_force.version)) if in_force is not None else None
        given = {code: matter.code for matter in matters for code in matter.formerly}
        _require_known(given, old)
        version = await repository.add_catalogue(uow.pg, csv, len(matters), now, actor)
        if old is not None:
            await catalogues.compared(uow.pg, version, int(old.version))
            await catalogues.give(uow.pg, int(old.version), version, given, now, actor)
        await catalogues.tell(
            uow, self._database.platform, version, [matter.code for matter in matters], actor, CatalogueImported
        )
        await audit.record(
            uow, actor=actor, action="catalogue.imported", subject=str(version), detail={"matters": len(matters)}
        )
        new = await self._named(uow.pg, version)
        return {"version": str(version), "matters": len(matters), **await self._compared(uow.pg, old, new, now)}

    async def shown(self, pg: Any, version: int, now: datetime) -> Answer:
        """A version beside the one that it was compared with: difference, mapping and impact as they are now."""
        row = await repository.catalogue_version(pg, version)
        if row is None:
            raise not_found("This catalogue version")
        new = await self._named(pg, version)
        old = await self._named(pg, row["compared_with"]) if row["compared_with"] is not None else None
        return {
            "version": str(version),
            "matters": row["matters"],
            "created_at": rfc3339(row["created_at"]),
            "created_by": row["created_by"],
            "effective_from": rfc3339(row["effective_from"]) if row["effective_from"] else None,
            **await self._compared(pg, old, new, now),
        }

    async def activate(self, version: int, effective_from: datetime | None, actor: str, uow: Uow) -> Answer:
        """Put a version in force, now or later. Labels made before keep theirs."""
        now = uow.clock.now()
        row = await repository.catalogue_version(uow.pg, version, lock=True)
        if row is None:
            raise not_found("This catalogue version")
        begins = effective_from or now
        if begins < now:
            raise invalid("/effective_from", "lies in the past; leave it out to activate now")
        answer: Answer = {"version": str(version), "matters": row["matters"]}
        if row["effective_from"] is not None and row["effective_from"] <= now:
            in_force, _ = await repository.catalogue_in_force(uow.pg, now)
            if in_force is not None and in_force.version == version:
                return {**answer, "effective_from": rfc3339(row["effective_from"])}
        await repository.activate_catalogue(uow.pg, version, begins, now, actor)
        await repository.restamp(uow.pg)
        codes = (await self._named(uow.pg, version)).matters
        await catalogues.tell(uow, self._database.platform, version, codes, actor, CatalogueActivated)
        await audit.record(
            uow,
            actor=actor,
            action="catalogue.activated",
            subject=str(version),
            detail={"effective_from": rfc3339(begins)},
        )
        return {**answer, "effective_from": rfc3339(begins)}

    async def give_pairs(self, version: int, csv: str, actor: str, uow: Uow) -> Answer:
        """Take a mapping (CSV: old,new) as its authors gave it."""
        old, new = await self._both(uow.pg, version)
        try:
            pairs = parse_pairs(csv)
        except PairsError as error:
            raise Problem(422, "invalid_mapping", f"The mapping was not taken: {error}", errors=error.errors) from error
        _require_known(pairs, old)
        strange = [code for code in pairs.values() if code not in new]
        if strange:
            raise Problem(
                422,
                "invalid_mapping",
                f"{len(strange)} new codes are none of version {version}; nothing was taken.",
                errors=[{"pointer": "/new", "detail": code} for code in strange[:50]],
            )
        await catalogues.give(uow.pg, int(old.version), version, pairs, uow.clock.now(), actor)
        await repository.restamp(uow.pg)
        await audit.record(
            uow, actor=actor, action="catalogue.mapping_given", subject=str(version), detail={"pairs": len(pairs)}
        )
        return await self._state(uow.pg, old, new)

    async def propose(self, version: int) -> list[Any]:
        """Proposals for the old codes that lead nowhere yet; computed beside the event loop, nothing is stored."""
        async with self._database.read() as pg:
            old, new = await self._both(pg, version)
            known = codes_between(old, new, await catalogues.accepted(pg, int(old.version), version))
            lost = [matter for code, matter in old.matters.items() if code not in known]
            names = {matter.path for matter in new.matters.values()}
            cases = await catalogues.shared_cases(pg, [one.code for one in lost if one.path not in names])
        return await asyncio.to_thread(_proposals, lost, new, cases)

    async def keep_proposals(self, version: int, found: Sequence[Any], actor: str, uow: Uow) -> Answer:
        """Show what `propose` found; what a person decided before stays."""
        old, new = await self._both(uow.pg, version)
        await catalogues.put_proposals(uow.pg, int(old.version), version, found)
        await audit.record(
            uow, actor=actor, action="catalogue.mapping_proposed", subject=str(version), detail={"pairs": len(found)}
        )
        return await self._state(uow.pg, old, new)

    async def accept_sure(self, version: int, at_least: float, actor: str, uow: Uow) -> Answer:
        """Accept the best proposal of every old code that reaches a score; each can be undone by itself."""
        old, new = await self._both(uow.pg, version)
        accepted = await catalogues.accept_sure(uow.pg, int(old.version), version, at_least, uow.clock.now(), actor)
        await repository.restamp(uow.pg)
        await audit.record(
            uow,
            actor=actor,
            action="catalogue.mapping_accepted",
            subject=str(version),
            detail={"at_least": at_least, "pairs": accepted},
        )
        return {"accepted": accepted, **await self._state(uow.pg, old, new)}

    async def decide(self, version: int, pair: tuple[str, str], decision: Decision, actor: str, uow: Uow) -> Answer:
        """Accept, reject or reopen one pair. 409 `already_mapped` while another one of the old code is accepted."""
        old, _ = await self._both(uow.pg, version)
        row = await catalogues.pair(uow.pg, int(old.version), version, *pair)
        if row is None:
            raise not_found("This pair")
        state = _AFTER[decision]
        if row["state"] != state:
            if decision != "undo" and row["state"] != "open":
                raise Problem(
                    409, "already_decided", f"This pair was {row['state']}; undo that first.", status_now=row["state"]
                )
            if decision == "accept":
                present = (await catalogues.accepted(uow.pg, int(old.version), version)).get(pair[0])
                if present is not None:
                    raise Problem(409, "already_mapped", f"{pair[0]} leads to {present}; undo that first.", now=present)
            await catalogues.decide_pair(uow.pg, row, state, uow.clock.now(), actor)
            await repository.restamp(uow.pg)
            await audit.record(
                uow,
                actor=actor,
                action=f"catalogue.pair_{state}",
                subject=f"{version}:{pair[0]}:{pair[1]}",
            )
        return {
            "id": f"{version}-{pair[0]}-{pair[1]}",
            "version": str(version),
            "old": pair[0],
            "new": pair[1],
            "state": state,
        }

    async def pairs(
        self, pg: Any, version: int, state: str | None, after: Sequence[str] | None, limit: int
    ) -> list[Answer]:
        """Pairs of codes with the names on both sides."""
        old, new = await self._both(pg, version)
        rows = await catalogues.pairs(pg, int(old.version), version, state, after, limit)
        return [
            {
                "id": f"{version}-{row['old']}-{row['new']}",
                **{name: row[name] for name in ("source", "state", "decided_by")},
                **{name: row[name] and round(row[name], 4) for name in ("score", "words", "meaning", "shared")},
                "old": _named_code(row["old"], old),
                "new": _named_code(row["new"], new),
                "decided_at": rfc3339(row["decided_at"]) if row["decided_at"] else None,
            }
            for row in rows
        ]

    async def codes(self, pg: Any, version: int, since: int | None) -> Answer:
        """All codes of an older (or newer) version as this one says them; without `since`, of the one before."""
        row = await repository.catalogue_version(pg, version)
        if row is None:
            raise not_found("This catalogue version")
        source = str(since if since is not None else row["compared_with"] or version)
        before = await self._library.catalogue(pg, source)
        if before is None:
            raise not_found(f"The catalogue version {source}")
        codes = await self._library.codes_between(pg, source, str(version)) or {}
        without = sorted(code for code in before.matters if code not in codes)
        return {"from": source, "to": str(version), "codes": codes, "without": without}

    async def history(self, pg: Any, version: int, since: datetime, until: datetime) -> Answer:
        """Labels of a time as this version says them, whatever version they were made with."""
        wanted = await self._named(pg, version)
        sums: dict[str, dict[str, int]] = defaultdict(lambda: {"labels": 0, "of_other_versions": 0})
        unreadable: list[Answer] = []
        codes_of: dict[str, Mapping[str, str]] = {}
        for made_with, matter, count in await catalogues.labelled(pg, since, until):
            if made_with not in codes_of:
                codes_of[made_with] = await self._library.codes_between(pg, made_with, wanted.version) or {}
            code = codes_of[made_with].get(matter)
            if code is None:
                unreadable.append({"catalogue_version": made_with, "matter": matter, "labels": count})
                continue
            sums[code]["labels"] += count
            if made_with != wanted.version:
                sums[code]["of_other_versions"] += count
        return {
            "version": wanted.version,
            "since": rfc3339(since),
            "until": rfc3339(until),
            "items": [{**_named_code(code, wanted), **counts} for code, counts in sorted(sums.items())],
            "without_a_successor": sorted(unreadable, key=lambda one: -one["labels"])[:LISTED],
        }

    async def _compared(self, pg: Any, old: Catalogue | None, new: Catalogue, now: datetime) -> Answer:
        change = diff(old, new)
        impact = await repository.impact_of(pg, change.removed, list(change.changed), now - timedelta(days=IMPACT_DAYS))
        known = frozenset(self._library.model_labels)
        codes: Mapping[str, str] = {code: code for code in new.matters}
        if old is not None and known:
            codes = codes_between(old, new, await catalogues.accepted(pg, int(old.version), int(new.version)))
        reached = {codes[label] for label in known if label in codes}
        return {
            "compared_with": old.version if old else None,
            "diff": {
                "added": list(change.added),
                "removed": list(change.removed),
                "changed": [{"code": code, "fields": list(fields)} for code, fields in change.changed.items()],
            },
            "mapping": await self._mapping(pg, old, new) if old is not None else None,
            "impact": {
                **impact,
                "days": IMPACT_DAYS,
                "matters_the_model_does_not_know": sorted(new.matters.keys() - reached) if known else [],
                "model_labels_no_longer_used": sorted(known - codes.keys()),
            },
        }

    async def _state(self, pg: Any, old: Catalogue, new: Catalogue) -> Answer:
        return {"version": new.version, "mapping": await self._mapping(pg, old, new)}

    async def _mapping(self, pg: Any, old: Catalogue, new: Catalogue) -> Answer:
        """How far the mapping is: codes that lead on, and those that do not yet."""
        codes = codes_between(old, new, await catalogues.accepted(pg, int(old.version), int(new.version)))
        without = sorted(code for code in old.matters if code not in codes)
        return {
            "from": old.version,
            "pairs": await catalogues.counts(pg, int(old.version), int(new.version)),
            "codes_that_lead_on": len(codes),
            "codes_without": len(without),
            "first_without": without[:LISTED],
        }

    async def _named(self, pg: Any, version: int) -> Catalogue:
        found = await self._library.catalogue(pg, str(version))
        if found is None:
            raise not_found("This catalogue version")
        return found

    async def _both(self, pg: Any, version: int) -> tuple[Catalogue, Catalogue]:
        """The version that this one was compared with, and this one."""
        row = await repository.catalogue_version(pg, version)
        if row is None:
            raise not_found("This catalogue version")
        if row["compared_with"] is None:
            raise Problem(409, "no_version_before", "No catalogue was in force when this one was imported.")
        return await self._named(pg, row["compared_with"]), await self._named(pg, version)


def _proposals(lost: Sequence[Matter], new: Catalogue, cases: Sequence[tuple[str, str]]) -> list[Any]:
    votes: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
    if cases:
        counts: dict[str, int] = defaultdict(int)
        answers = rules_classifier(new).classify([text for _, text in cases])
        for (code, _), candidates in zip(cases, answers, strict=True):
            counts[code] += 1
            whole = sum(one.probability for one in candidates) or 1.0
            for one in candidates:
                votes[code][one.code] += one.probability / whole
        for code, count in counts.items():
            votes[code] = {new_code: share / count for new_code, share in votes[code].items()}
    return propose(lost, new, votes, encoder.encode)


def _require_known(pairs: Mapping[str, str], old: Catalogue | None) -> None:
    strange = [code for code in pairs if old is None or code not in old]
    if strange:
        version = f"version {old.version}" if old else "any version in force"
        raise Problem(
            422,
            "invalid_mapping",
            f"{len(strange)} old codes are none of {version}; nothing was taken.",
            errors=[{"pointer": "/formerly", "detail": code} for code in strange[:50]],
        )


def _named_code(code: str, catalogue: Catalogue) -> Answer:
    matter = catalogue.get(code)
    return {"code": code, "path": list(matter.path) if matter else []}
