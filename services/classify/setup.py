"""What a fresh database needs: the city's catalogue and tags, and a first model trained on the city's grammar."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from pathlib import Path
from typing import Any

import numpy as np

from services.classify import catalogues, repository
from services.classify.domain.catalogue import Matter, parse_catalogue
from services.classify.domain.tags import parse_tags
from services.classify.grammar import Grammar
from services.classify.models.card import model_card
from services.classify.models.folder import FORMAT, ModelFolderError, load, save
from services.classify.models.linear import LinearClassifier
from services.classify.models.training import Options, Progress, Sample, quiet, train
from services.classify.progress import shown
from services.classify.settings import ClassifySettings
from services.classify.tag_care import rows as tag_rows
from shared.db.database import Database
from shared.events.catalog.catalogues import CatalogueActivated

log = logging.getLogger(__name__)

ACTOR = "system:classify"
GRAMMAR = "grammar.yaml"
PER_PATTERN = 12
SEED = 12345
_OPTIONS = Options(configuration="words", ridge=1.0, balance=0.35, half_life_days=0)

_made: dict[tuple[str, tuple[Matter, ...]], tuple[LinearClassifier, dict[str, Any]]] = {}
"""what this process has trained: many set-ups of one process (tests) need one training"""


class Setup:
    """Imports the city's files once; later changes come through the API, where they show their impact."""

    def __init__(self, settings: ClassifySettings, database: Database) -> None:
        self._settings = settings
        self._database = database

    async def run(self) -> None:
        """Safe to repeat and to interrupt."""
        city = self._settings.city
        csv = city.file("catalogue.csv").read_text(encoding="utf-8-sig")
        matters = parse_catalogue(csv)
        tags_file = city.folder / "tags.csv"
        async with self._database.transaction() as uow:
            now = uow.clock.now()
            changed = False
            if not await repository.catalogue_list(uow.pg, None, 1):
                version = await repository.add_catalogue(uow.pg, csv, len(matters), now, ACTOR)
                await repository.activate_catalogue(uow.pg, version, now, now, ACTOR)
                changed = True
            for version in await catalogues.untold(uow.pg):
                told = parse_catalogue(await catalogues.csv_of(uow.pg, version) or csv)
                codes = (matter.code for matter in told)
                await catalogues.tell(uow, self._database.platform, version, codes, ACTOR, CatalogueActivated)
            if tags_file.is_file() and not await tag_rows.definitions(uow.pg):
                await tag_rows.put(uow.pg, parse_tags(tags_file.read_text(encoding="utf-8-sig")), now, ACTOR)
                changed = True
            if changed:
                await repository.restamp(uow.pg)
        if (city.folder / GRAMMAR).is_file():
            await self._first_model(csv, matters)

    async def _first_model(self, csv: str, matters: list[Matter]) -> None:
        """Train on the city's grammar unless that was done, and use it unless a person has chosen another model."""
        grammar = self._settings.city.folder / GRAMMAR
        recipe = f"{FORMAT} {PER_PATTERN} {SEED} {_OPTIONS}"
        digest = hashlib.sha256(b"\0".join((csv.encode(), grammar.read_bytes(), recipe.encode()))).hexdigest()[:8]
        version = f"{self._settings.city.version}-{digest}"
        relative = Path("models") / version
        folder = self._settings.data_dir / relative
        try:
            _, facts = load(folder)
        except ModelFolderError:
            model, training = await asyncio.to_thread(self._demo_model, grammar, version, tuple(matters), folder)
            source = "invented sentences of the city's grammar; names, synonyms and examples of its catalogue"
            facts = save(
                folder,
                model,
                training={**training, "source": source},
                metrics=training["held_out"],
                card=model_card(version, training, source),
            )
        async with self._database.transaction() as uow:
            now = uow.clock.now()
            known = await repository.model(uow.pg, version, lock=True)
            # the city's own file is what the model was trained on, and the first version that was imported
            trained_on = await catalogues.first(uow.pg)
            if known is None:
                chosen_by = await repository.active_model_chosen_by(uow.pg)
                await repository.add_model(
                    uow.pg,
                    {
                        "version": facts.version,
                        "path": str(relative),
                        "digest": facts.digest,
                        "labels": len(facts.labels),
                        "training": dict(facts.training),
                        "metrics": dict(facts.metrics),
                        "registered_at": now,
                        "registered_by": ACTOR,
                        "active": False,
                        "catalogue_version": trained_on,
                    },
                )
                if chosen_by in (None, ACTOR):
                    await repository.switch_model(uow.pg, version, now, ACTOR)
                await repository.restamp(uow.pg)
            elif known["digest"] != facts.digest:  # made anew by another release of the libraries
                await repository.redigest_model(uow.pg, version, facts.digest)
                await repository.restamp(uow.pg)

    def _demo_model(
        self, grammar: Path, version: str, matters: tuple[Matter, ...], folder: Path
    ) -> tuple[LinearClassifier, dict[str, Any]]:
        log.info("training the first model", extra={"model": version, "matters": len(matters)})
        folder.parent.mkdir(parents=True, exist_ok=True)
        with shown("训练示范模型") as progress:
            return demo_model(grammar, version, matters, progress, folder.with_name(folder.name + ".partial"))


def demo_model(
    grammar: Path,
    version: str,
    matters: tuple[Matter, ...],
    progress: Progress = quiet,
    work: Path | None = None,
) -> tuple[LinearClassifier, dict[str, Any]]:
    """A model of what the grammar says and what the catalogue calls it; made once in a process."""
    known = _made.get((version, matters))
    if known is None:
        known = _made[(version, matters)] = train(
            sample_of(Grammar.read(grammar), matters), version=version, options=_OPTIONS, progress=progress, work=work
        )
    return known


def sample_of(grammar: Grammar, matters: tuple[Matter, ...]) -> Sample:
    """Training texts. The sentences of one pattern stay together, and so do the names of one matter, so that
    calibration meets only wordings that the fit has not seen."""
    codes = {matter.code for matter in matters}
    sentences = [one for one in grammar.sentences(PER_PATTERN, SEED) if one.code in codes]
    rows = [(one.text, one.code, one.pattern) for one in sentences]
    names = 1 + max((pattern for _, _, pattern in rows), default=0)
    for number, matter in enumerate(matters, start=names):
        rows += [(words, matter.code, number) for words in (matter.name, *matter.synonyms, *matter.examples)]
    return Sample(
        [text for text, _, _ in rows],
        [code for _, code, _ in rows],
        np.zeros(len(rows)),
        np.array([group for _, _, group in rows], dtype=np.int64),
        [(text, 0.0) for text in grammar.stray(PER_PATTERN, SEED)],
    )
