"""What is found in the labels of a time: pure computing, so that it can run in a thread."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from itertools import combinations
from typing import Any

import numpy as np

from services.classify.domain.labels import TagDefinition, TagTier
from services.classify.models.features import Floats
from shared.clock import rfc3339

Encode = Callable[[Sequence[str]], Floats]


class ProposalKind(StrEnum):
    """`word`: a tag lacks a word. `merge`: two tags mean the same. `retire`: nobody uses it. `promote`: a new tag."""

    WORD = "word"
    MERGE = "merge"
    RETIRE = "retire"
    PROMOTE = "promote"


@dataclass(frozen=True, slots=True)
class Told:
    """One labelled appeal: its redacted words, who said it (empty: unknown), matter and tags."""

    appeal_id: str
    at: datetime
    text: str
    reporter: str
    matter: str
    tags: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Found:
    """A proposal. `tag` is the tag that stays (empty for a new one), `word` the other tag or the phrase; `detail` has
    counts and scores, `examples` a few appeals with the words around."""

    kind: ProposalKind
    tag: str
    word: str
    score: float
    detail: dict[str, Any] = field(default_factory=dict)
    examples: tuple[dict[str, str], ...] = ()


LEAST_MERGE = 0.55
LEAST_MEANING = 0.45
ENOUGH_LABELS = 1_000
"""with fewer labels a tag without use says nothing"""
LEAST_APPEALS = 10
LEAST_REPORTERS = 5
GROWTH = 3.0
MOST = 20
"""proposals of a kind at a time, the surest"""
_EXAMPLES = 3
_READ = 200
_EVENT = timedelta(days=7)
_AFTER_EVENT = timedelta(days=14)
_MOST_OF = 0.6
"""share of the appeals with a phrase from which a longer one stands for it"""
_WIDEST = 12
"""characters of a phrase at most"""
_ALWAYS = 0.9
"""share of a phrase's texts that have the same character beside it: then it was cut from a longer one"""
_NOT_AT_THE_EDGE = frozenset(
    "的了在是和与或我你他她它们这那有不没请就都也把被让给向到从对等很更最要会能可及其并且但而又再还将已经个次日月年号"
    "一二三四五六七八九十上下里中后前内外边时民来电反映咨询投诉诉求希望核实处理表示认为情况问题"
)


def merges(tags: Sequence[TagDefinition], told: Sequence[Told], encode: Encode) -> list[Found]:
    """Pairs of one family that mean the same: by what their names and words mean, by the matters they stand on, and by
    the appeals that have both. The less used goes into the more used."""
    if len(tags) < 2:
        return []
    vectors = _centred(encode([" ".join((tag.name, *tag.words[:6])) for tag in tags]))
    names = _centred(encode([tag.name for tag in tags]))
    uses: dict[str, set[str]] = defaultdict(set)
    matters: dict[str, Counter[str]] = defaultdict(Counter)
    for one in told:
        for tag in one.tags:
            uses[tag].add(one.appeal_id)
            matters[tag][one.matter] += 1
    found = []
    for a, b in combinations(range(len(tags)), 2):
        first, second = tags[a], tags[b]
        if first.family is not second.family:
            continue
        meaning = max(float(vectors[a] @ vectors[b]), float(names[a] @ names[b]), _shared(first, second))
        if meaning < LEAST_MEANING:
            continue
        together = len(uses[first.code] & uses[second.code])
        fewer = min(len(uses[first.code]), len(uses[second.code]))
        overlap = together / fewer if fewer else 0.0
        alike = _cosine(matters[first.code], matters[second.code])
        score = 0.6 * meaning + 0.25 * alike + 0.15 * overlap if fewer >= LEAST_APPEALS else meaning
        if score < LEAST_MERGE:
            continue
        kept, gone = (first, second) if len(uses[first.code]) >= len(uses[second.code]) else (second, first)
        detail = {
            "meaning": round(meaning, 3),
            "same_matters": round(alike, 3),
            "appeals": len(uses[kept.code]),
            "appeals_of_other": len(uses[gone.code]),
            "appeals_with_both": together,
        }
        shown = [one for one in told if gone.code in one.tags][:_EXAMPLES]
        found.append(
            Found(
                ProposalKind.MERGE,
                kept.code,
                gone.code,
                round(min(score, 1.0), 3),
                detail,
                tuple({"appeal_id": one.appeal_id, "text": one.text[:60]} for one in shown),
            )
        )
    return sorted(found, key=lambda one: (-one.score, one.tag, one.word))[:MOST]


def unused(tags: Sequence[TagDefinition], told: Sequence[Told], since: datetime, new: Collection[str]) -> list[Found]:
    """Tags, base ones aside, that no label since `since` has; `new` are too young to be judged."""
    if len(told) < ENOUGH_LABELS:
        return []
    used = {tag for one in told for tag in one.tags}
    detail = {"labels": len(told), "since": since.date().isoformat()}
    return [
        Found(ProposalKind.RETIRE, tag.code, "", 1.0, detail)
        for tag in tags
        if tag.tier is not TagTier.BASE and tag.code not in used and tag.code not in new
    ][:MOST]


def emergent(recent: Sequence[Told], before: Sequence[Told], known: Collection[str]) -> list[Found]:
    """Phrases that many people use lately and few used `before` (none without labels of that time), and that no tag or
    matter has. They are found by 3 to 6 characters and told whole. `known`: words of tags and names of matters."""
    now = _phrases(recent, LEAST_APPEALS)
    then = _counts(before, now.keys())
    found = []
    for part, places in now.items():
        growth = len(places) / max(len(recent), 1) * len(before) / (then[part] + 1)
        if growth < GROWTH:
            continue
        whole = _whole(part, [recent[place].text[:_READ] for place in places])
        if any(part in word or _meet(part, word, whole) for word in known):
            continue
        phrase = _without_edges(part, whole)
        told = [one for place in places if phrase in (one := recent[place]).text]
        if len(told) < LEAST_APPEALS or len({one.reporter or one.appeal_id for one in told}) < LEAST_REPORTERS:
            continue
        days = sorted(one.at for one in told)
        detail: dict[str, Any] = {
            "appeals": len(told),
            "appeals_before": then[part],
            "growth": round(growth, 1),
            "matters": [code for code, _ in Counter(one.matter for one in told).most_common(3)],
        }
        if days[int(len(days) * 0.9)] - days[int(len(days) * 0.1)] <= _EVENT:
            # an event: its tag ends by itself
            detail |= {"valid_from": rfc3339(days[0]), "valid_to": rfc3339(days[-1] + _AFTER_EVENT)}
        examples = tuple({"appeal_id": one.appeal_id, "text": _around(one.text, phrase)} for one in told[:_EXAMPLES])
        score = round(min(1.0, len(told) / (4 * LEAST_APPEALS)), 3)
        found.append((whole, Found(ProposalKind.PROMOTE, "", phrase, score, detail, examples)))
    return _longest(found)[:MOST]


def _longest(found: Sequence[tuple[str, Found]]) -> list[Found]:
    """Of phrases whose wholes share their words the longest one that most of the appeals of the most frequent have."""
    kept: list[Found] = []
    left = sorted(found, key=lambda one: (-one[1].detail["appeals"], -len(one[1].word), one[1].word))
    while left:
        whole, most = left[0]
        alike = [one for one in left if _overlap(one[0], whole)]
        chosen = max(
            (one for one in alike if one[1].detail["appeals"] >= _MOST_OF * most.detail["appeals"]),
            key=lambda one: len(one[1].word),
        )
        kept.append(chosen[1])
        left = [one for one in left if not (_overlap(one[0], whole) or _overlap(one[0], chosen[0]))]
    return kept


def _overlap(one: str, other: str) -> bool:
    """Whether one holds the other, or they share three characters in a row."""
    shorter, longer = sorted((one, other), key=len)
    return any(shorter[at : at + 3] in longer for at in range(len(shorter) - 2))


def _phrases(told: Sequence[Told], least: int) -> dict[str, list[int]]:
    """Phrases that at least `least` texts have, with the places of those texts. A longer one is only looked for where
    both shorter ones are frequent, so that memory stays small."""
    texts = [one.text[:_READ] for one in told]
    frequent: dict[str, list[int]] = {}
    previous: set[str] | None = None
    for size in (3, 4, 5, 6):
        places: dict[str, list[int]] = defaultdict(list)
        for place, text in enumerate(texts):
            for gram in {text[at : at + size] for at in range(len(text) - size + 1)}:
                if previous is None:
                    if all(map(_is_chinese, gram)):
                        places[gram].append(place)
                elif gram[:-1] in previous and gram[1:] in previous:
                    places[gram].append(place)
        level = {gram: found for gram, found in places.items() if len(found) >= least}
        if not level:
            break
        previous = set(level)
        frequent |= level
    return {
        gram: found
        for gram, found in frequent.items()
        if gram[0] not in _NOT_AT_THE_EDGE and gram[-1] not in _NOT_AT_THE_EDGE
    }


def _whole(phrase: str, texts: Sequence[str]) -> str:
    """A phrase with the characters that nearly every text has beside it: in 圾没人清运 of 垃圾没人清运 one does not see
    what is spoken of."""
    for _ in range(2 * _WIDEST):
        beside: Counter[tuple[str, str]] = Counter()
        for text in texts:
            before, said, after = text.partition(phrase)
            if said:
                beside.update((before[-1:], "") if side else ("", after[:1]) for side in (True, False))
        (left, right), count = max(
            ((chars, n) for chars, n in beside.items() if _is_chinese("".join(chars))),
            key=lambda one: one[1],
            default=(("", ""), 0),
        )
        if count < _ALWAYS * len(texts) or len(phrase) >= _WIDEST:
            break
        phrase = left + phrase + right
    return phrase


def _without_edges(part: str, whole: str) -> str:
    """The part with what is beside it up to the first character that no word begins or ends with: 门口的共享充电宝柜 is
    共享充电宝柜."""
    begin = whole.find(part)
    end = begin + len(part)
    while begin > 0 and whole[begin - 1] not in _NOT_AT_THE_EDGE:
        begin -= 1
    while end < len(whole) and whole[end] not in _NOT_AT_THE_EDGE:
        end += 1
    return whole[begin:end]


def _meet(part: str, word: str, whole: str) -> bool:
    """Whether a word of the whole phrase shares a character with the part (it may stand beside it: 台风 and 摩羯)."""
    at, place = whole.find(part), whole.find(word)
    return 0 <= place < at + len(part) and at < place + len(word)


def _is_chinese(char: str) -> bool:
    return "\u4e00" <= char <= "\u9fff"


def _counts(told: Sequence[Told], phrases: Collection[str]) -> Counter[str]:
    counts: Counter[str] = Counter()
    wanted = {size: {one for one in phrases if len(one) == size} for size in (3, 4, 5, 6)}
    for one in told:
        text = one.text[:_READ]
        for size, some in wanted.items():
            if some:
                counts.update({text[at : at + size] for at in range(len(text) - size + 1)} & some)
    return counts


def _around(text: str, phrase: str) -> str:
    at = text.find(phrase)
    return text[max(0, at - 15) : at + len(phrase) + 15]


def _centred(vectors: Floats) -> Floats:
    moved = vectors - vectors.mean(axis=0) if len(vectors) > 8 else vectors
    found: Floats = (moved / np.maximum(np.linalg.norm(moved, axis=1, keepdims=True), 1e-6)).astype(np.float32)
    return found


def _shared(first: TagDefinition, second: TagDefinition) -> float:
    """Share of the words of the shorter list that both have."""
    own, other = {first.name, *first.words}, {second.name, *second.words}
    return len(own & other) / min(len(own), len(other))


def _cosine(one: Counter[str], other: Counter[str]) -> float:
    dot = sum(count * other[key] for key, count in one.items())
    lengths = math.sqrt(sum(n * n for n in one.values()) * sum(n * n for n in other.values()))
    return dot / lengths if lengths else 0.0
