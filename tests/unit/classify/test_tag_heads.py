"""Tags learnt from persons' decisions: precise or silent, explained, kept with the model."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from services.classify.domain.labels import Tag, TagDefinition, TagFamily, TagSource, TagTier
from services.classify.grammar import Grammar
from services.classify.models.folder import ModelFolderError, load, save
from services.classify.models.linear import LinearClassifier
from services.classify.models.tag_heads import PRECISE, Said
from services.classify.models.training import Options, Sample, train
from services.classify.tagger import with_learnt
from shared.city import CITIES

SENTENCES = [one for one in Grammar.read(CITIES / "demo" / "grammar.yaml").sentences(6, seed=3) if one.code < "05"]
WORDS = Options(configuration="words", half_life_days=0)
NOW = datetime(2026, 11, 2, tzinfo=UTC)


def tagged(code: str) -> frozenset[str]:
    """What a person sets: roads carry a tag; a coin decides about another one."""
    return frozenset({"subject.roads"} if code.startswith("02") else ())


@pytest.fixture(scope="module")
def sample() -> Sample:
    coin = random.Random(5)
    tags = [tagged(one.code) | (frozenset({"coin"}) if coin.random() < 0.3 else frozenset()) for one in SENTENCES]
    return Sample(
        [one.text for one in SENTENCES],
        [one.code for one in SENTENCES],
        np.zeros(len(SENTENCES)),
        np.full(len(SENTENCES), -1),
        tags=tags,
    )


@pytest.fixture(scope="module")
def model(sample: Sample) -> LinearClassifier:
    return train(sample, version="tags-1", options=WORDS)[0]


def test_a_tag_is_set_on_new_wordings_with_the_words_that_decided(model: LinearClassifier) -> None:
    assert model.tags is not None
    fresh = [one for one in Grammar.read(CITIES / "demo" / "grammar.yaml").sentences(3, seed=99) if one.code < "05"]
    said = model.tags.say([one.text for one in fresh])
    right = ["subject.roads" in tagged(one.code) for one in fresh]
    found = ["subject.roads" in one.found for one in said]
    hits = sum(a and b for a, b in zip(right, found, strict=True))
    assert hits >= PRECISE * sum(found), "precise"
    assert hits > 0.5 * sum(right), "and found"
    words = [word for one in said for word in one.found.get("subject.roads", ())]
    assert any("路" in word for word in words)
    assert all(one.probability["subject.roads"] >= 0.5 for one in said if one.found)


def test_what_a_coin_decides_is_never_set(model: LinearClassifier) -> None:
    assert model.tags is not None
    assert [head.tag for head in model.tags.heads] == ["subject.roads"]


def test_texts_that_nobody_tagged_do_not_speak_against_a_tag(sample: Sample) -> None:
    some = [tags if number % 2 else None for number, tags in enumerate(sample.tags)]
    model, facts = train(replace(sample, tags=some), version="tags-2", options=WORDS)
    assert model.tags is not None
    assert facts["tags"][0]["texts"] == sum("subject.roads" in tags for tags in some if tags is not None)
    assert facts["tags"][0]["precision"] >= PRECISE


def test_too_few_decisions_teach_nothing(sample: Sample) -> None:
    few = [frozenset({"rare"}) if number < 19 else frozenset[str]() for number in range(len(sample.texts))]
    model, facts = train(replace(sample, tags=few), version="tags-3", options=WORDS)
    assert model.tags is None
    assert facts["tags"] == []


def test_tags_are_kept_with_the_model_and_checked_when_it_is_read(model: LinearClassifier, tmp_path: Path) -> None:
    save(tmp_path, model, training={}, metrics={}, card="")
    again, _ = load(tmp_path)
    assert model.tags is not None
    assert again.tags is not None
    texts = [one.text for one in SENTENCES[:50]]
    assert again.tags.say(texts) == model.tags.say(texts)
    body = json.loads((tmp_path / "model.json").read_text(encoding="utf-8"))
    damages: list[object] = [[{}], [{**body["tags"][0], "slope": "NaN"}], body["tags"] * 2, {"a": 1}]
    for damage in damages:
        (tmp_path / "model.json").write_text(json.dumps({**body, "tags": damage}), encoding="utf-8")
        with pytest.raises(ModelFolderError, match="train the model again"):
            load(tmp_path)


def definition(code: str, until: datetime | None = None) -> TagDefinition:
    return TagDefinition(code, code, TagFamily.SUBJECT, TagTier.CUSTOM, ("没有的词",), valid_to=until)


def test_the_dictionary_is_surer_by_what_was_learnt_and_the_model_adds_what_holds() -> None:
    by_word = Tag("a", TagFamily.SUBJECT, 0.8, TagSource.RULE, ("词",))
    said = Said({"a": 0.3, "b": 0.9, "over": 0.9, "gone": 0.9}, {"a": (), "b": ("话",), "over": (), "gone": ()})
    definitions = {one.code: one for one in (definition("a"), definition("b"), definition("over", NOW))}
    assert with_learnt((by_word,), said, definitions, NOW) == (
        replace(by_word, confidence=0.3),
        Tag("b", TagFamily.SUBJECT, 0.9, TagSource.MODEL, ("话",)),
    )
