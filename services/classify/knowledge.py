"""What labels are made from at this moment: catalogue version in force, tag dictionary, model. One immutable value,
read again when another process or a date has changed it."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from services.classify import catalogues, repository, safety_examples
from services.classify.domain.catalogue import Catalogue, parse_catalogue
from services.classify.domain.crosswalk import along, codes_between, inverse, way
from services.classify.domain.labels import TagDefinition, TagState
from services.classify.domain.recollection import Remembered
from services.classify.memory import rows as memory_rows
from services.classify.memory.index import Index
from services.classify.models.chain import Chain
from services.classify.models.folder import ModelFolderError, load
from services.classify.models.linear import LinearClassifier
from services.classify.models.protocol import Classifier
from services.classify.models.renamed import Renamed
from services.classify.models.rules import rules_classifier
from services.classify.models.tag_heads import TagHeads
from services.classify.settings import REMEMBERED
from services.classify.tag_care import rows as tag_rows
from services.classify.tagger import DictionaryTagger
from shared.errors import Transient
from shared.plugins import registry

log = logging.getLogger(__name__)

PLUGINS = "sushu.classifiers"
MODEL = "model"
"""in the configured order, this name stands for the model that was activated"""
KEPT_VERSIONS = 8
"""catalogue versions beside the one in force that a process keeps in memory"""


@dataclass(frozen=True, slots=True)
class Knowledge:
    """`until` is the instant at which another catalogue version takes effect; `model` is the active one, `trouble` says
    why there is none. `memory` grows while this value is in force; `renamed` has for each other catalogue version under
    which something in it was decided what its matters are called now."""

    stamp: int
    catalogue: Catalogue
    tags: dict[str, TagDefinition]
    tagger: DictionaryTagger
    chain: Chain
    until: datetime | None
    trouble: str | None
    lowered: frozenset[str] = frozenset()
    model: Classifier | None = None
    tag_heads: TagHeads | None = None
    memory: Index = field(default_factory=lambda: Index(0))
    renamed: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    def remembered(self, sketch: Sequence[int]) -> list[Remembered]:
        """What persons decided about texts worded like the one behind `sketch`, in matters of this catalogue."""
        found = []
        for one, near in self.memory.recall(sketch):
            matter = one.matter
            if one.catalogue != self.catalogue.version and matter is not None:
                matter = self.renamed.get(one.catalogue, {}).get(matter)
            if matter is not None:
                found.append(Remembered(matter, one.actor, one.at, near))
        return found

    def current(self, stamp: int, now: datetime) -> bool:
        return self.stamp == stamp and (self.until is None or now < self.until)


class Library:
    """Keeps the present Knowledge of this process."""

    def __init__(self, data_dir: Path, order: Sequence[str], remembered: int = REMEMBERED) -> None:
        self._data_dir = data_dir
        self._order = tuple(order)
        self._lock = asyncio.Lock()
        self._memory = Index(remembered)
        self._learnt = 0
        self._present: Knowledge | None = None
        self._models: dict[str, LinearClassifier] = {}
        self._catalogues: dict[str, Catalogue] = {}
        self._rules: tuple[str, Classifier] | None = None
        self._plugins: dict[str, Classifier] = {}
        self.missing: list[str] = []
        """configured plug-ins that are not installed: the service is not ready until they are"""
        for name in self._order:
            if name != MODEL:
                try:
                    (self._plugins[name],) = registry.load(PLUGINS, {}, [name])
                except registry.PluginMissing as error:
                    self.missing.append(str(error))

    async def present(self, pg: Any, now: datetime, seen: repository.Seen | None = None) -> Knowledge:
        """The knowledge in force at `now` by the tables that `pg` sees; one query while nothing has changed, none when
        it was just read how far they are.

        Raises Transient before the first catalogue was imported (setup does that).
        """
        if seen is None:
            seen = await repository.seen(pg)
        stamp = seen.stamp
        if seen.learnt > self._learnt:
            await self._learn(pg, seen.learnt)
        present = self._present
        if present is not None and present.current(stamp, now):
            return present
        async with self._lock:
            present = self._present
            if present is None or not present.current(stamp, now):
                present = self._present = await self._read(pg, stamp, now)
        return present

    async def _learn(self, pg: Any, learnt: int) -> None:
        """Follow what persons have decided since this process looked last."""
        async with self._lock:
            if learnt > self._learnt:
                await memory_rows.follow(pg, self._memory, self._learnt, learnt)
                self._learnt = learnt

    async def catalogue(self, pg: Any, version: str) -> Catalogue | None:
        """Any imported version, in force or not; None when there is none of that number."""
        known = self._catalogues.get(version)
        if known is None and version.isascii() and version.isdigit() and len(version) <= 18:
            csv = await catalogues.csv_of(pg, int(version))
            if csv is None:
                return None
            known = Catalogue.of(version, await asyncio.to_thread(parse_catalogue, csv))
            while len(self._catalogues) >= KEPT_VERSIONS:
                self._catalogues.pop(next(iter(self._catalogues)))
            self._catalogues[version] = known
        return known

    async def codes_between(self, pg: Any, version: str, wanted: str) -> Mapping[str, str] | None:
        """Codes of one catalogue version → codes of another, by what is unchanged and what persons accepted on the way;
        None where no way is known."""
        steps = await catalogues.steps(pg)
        stages = way(steps, version, wanted)
        if stages is None:
            return None
        if len(stages) == 1:
            catalogue = await self.catalogue(pg, version)
            return {code: code for code in catalogue.matters} if catalogue else {}
        found = []
        for here, there in itertools.pairwise(stages):
            forward = (here, there) in steps
            older, newer = (here, there) if forward else (there, here)
            old, new = await self.catalogue(pg, older), await self.catalogue(pg, newer)
            if old is None or new is None:
                return None
            codes = codes_between(old, new, await catalogues.accepted(pg, int(older), int(newer)))
            found.append(codes if forward else inverse(codes))
        return along(found)

    async def answering(self, pg: Any, model: LinearClassifier, version: str, knowledge: Knowledge) -> Classifier:
        """A model whose labels are codes of the catalogue `version`, as it answers in the one in force."""
        present = knowledge.catalogue
        if version == present.version:
            return model.restrict(present.matters.keys())
        codes = await self.codes_between(pg, version, present.version) or {}
        return Renamed(model.restrict(codes.keys()), codes)

    async def version_of(self, pg: Any, labels: Collection[str], now: datetime) -> str | None:
        """The catalogue version whose codes `labels` are: the one in force, else the newest that has them all."""
        knowledge = await self.present(pg, now)
        if all(label in knowledge.catalogue for label in labels):
            return knowledge.catalogue.version
        for number in await catalogues.newest(pg):
            catalogue = await self.catalogue(pg, str(number))
            if catalogue is not None and all(label in catalogue for label in labels):
                return str(number)
        return None

    @property
    def latest(self) -> Knowledge | None:
        """What was read last, without asking the tables."""
        return self._present

    @property
    def model_labels(self) -> Sequence[str]:
        """Labels of the active model as it was trained; empty without one."""
        return next(iter(self._models.values())).labels if self._models else ()

    async def _read(self, pg: Any, stamp: int, now: datetime) -> Knowledge:
        in_force, until = await repository.catalogue_in_force(pg, now)
        if in_force is None:
            raise Transient("there is no catalogue yet: run `python -m services.classify setup`")
        definitions = [tag for tag in await tag_rows.definitions(pg) if tag.state is TagState.ACTIVE]
        active = await repository.active_model(pg)
        lowered = await safety_examples.in_use(pg)
        codes: Mapping[str, str] | None = None
        if active is not None and active.catalogue_version not in (None, in_force.version):
            codes = await self.codes_between(pg, str(active.catalogue_version), str(in_force.version))
        renamed = {}
        for version in await memory_rows.catalogues(pg):
            other = await self.catalogue(pg, version) if version != str(in_force.version) else None
            if other is not None:
                mapped = await self.codes_between(pg, version, str(in_force.version)) or {}
                renamed[version] = (other, mapped)
        return await asyncio.to_thread(
            self._build, stamp, in_force, until, definitions, active, lowered, codes, renamed
        )

    def _build(
        self,
        stamp: int,
        in_force: repository.CatalogueRow,
        until: datetime | None,
        definitions: list[TagDefinition],
        active: repository.ModelRow | None,
        lowered: frozenset[str],
        codes: Mapping[str, str] | None,
        renamed: Mapping[str, tuple[Catalogue, Mapping[str, str]]],
    ) -> Knowledge:
        catalogue = Catalogue.of(str(in_force.version), parse_catalogue(in_force.csv), in_force.effective_from)
        if self._rules is None or self._rules[0] != catalogue.version:  # a large catalogue takes seconds
            self._rules = (catalogue.version, rules_classifier(catalogue))
        loaded, trouble = self._model(active)
        model: Classifier | None = None
        if loaded is not None and codes is None:
            model = loaded.restrict(catalogue.matters.keys())
        elif loaded is not None and codes is not None:
            model = Renamed(loaded.restrict(codes.keys()), codes)
            log.info(
                "the model answers over the mapping", extra={"labels": len(model.labels), "of": len(loaded.labels)}
            )
        preferred: list[Classifier] = []
        for name in self._order:
            if name in self._plugins:
                preferred.append(self._plugins[name])
            elif name == MODEL and model is not None:
                preferred.append(model)
        if trouble:
            log.warning("labels are made by rules alone", extra={"reason": trouble})
        return Knowledge(
            stamp=stamp,
            catalogue=catalogue,
            tags={definition.code: definition for definition in definitions},
            tagger=DictionaryTagger(definitions),
            chain=Chain(tuple(preferred), self._rules[1]),
            until=until,
            trouble=trouble,
            lowered=lowered,
            model=model,
            tag_heads=loaded.tags if loaded is not None else None,
            memory=self._memory,
            renamed={version: {**_renamed(other, catalogue), **mapped} for version, (other, mapped) in renamed.items()},
        )

    def _model(self, active: repository.ModelRow | None) -> tuple[LinearClassifier | None, str | None]:
        if MODEL not in self._order:
            return None, None
        if active is None:
            self._models.clear()
            return None, "no model is active"
        if active.digest not in self._models:
            try:
                model, facts = load(self._data_dir / active.path)
            except ModelFolderError as error:
                return None, f"model {active.version}: {error}"
            if facts.digest != active.digest:
                return None, f"model {active.version} was changed after it was registered: register it again"
            self._models = {active.digest: model}  # one at a time: a model can be large
        return self._models[active.digest], None


def _renamed(other: Catalogue, now: Catalogue) -> dict[str, str]:
    """The present code of each matter of another catalogue that still has the same path of names."""
    codes = {matter.path: code for code, matter in now.matters.items()}
    return {code: codes[matter.path] for code, matter in other.matters.items() if matter.path in codes}
