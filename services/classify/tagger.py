"""Tags by dictionary: every word of every tag is looked for in one pass over the text (Aho and Corasick 1975); and with
what the model learnt of tags from persons' decisions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime

import ahocorasick

from services.classify.domain.labels import Tag, TagDefinition, TagSource
from services.classify.models.tag_heads import Said

_ONE_WORD = 0.8
_MORE_WORDS = 0.95


class DictionaryTagger:
    """Sets a tag when one of its words stands in the text; two different words make it surer."""

    def __init__(self, definitions: Iterable[TagDefinition]) -> None:
        self._definitions = {definition.code: definition for definition in definitions}
        tags_of_word: dict[str, list[str]] = {}
        for definition in self._definitions.values():
            for word in definition.words:
                tags_of_word.setdefault(word.lower(), []).append(definition.code)
        self._automaton = ahocorasick.Automaton()
        for word, codes in tags_of_word.items():
            self._automaton.add_word(word, (word, tuple(codes)))
        if tags_of_word:
            self._automaton.make_automaton()
        self._empty = not tags_of_word

    def tags_of(self, text: str, at: datetime) -> tuple[Tag, ...]:
        """Tags in the order of the dictionary, each with the words that set it; those of events only where they are for
        what happened `at`."""
        if self._empty:
            return ()
        found: dict[str, dict[str, None]] = {}
        for _, (word, codes) in self._automaton.iter(text.lower()):
            for code in codes:
                found.setdefault(code, {})[word] = None
        return tuple(
            Tag(
                code=code,
                family=definition.family,
                confidence=_MORE_WORDS if len(found[code]) > 1 else _ONE_WORD,
                source=TagSource.RULE,
                evidence=tuple(found[code])[:4],
            )
            for code, definition in self._definitions.items()
            if code in found and definition.holds(at)
        )


def with_learnt(
    tags: tuple[Tag, ...], said: Said, definitions: Mapping[str, TagDefinition], at: datetime
) -> tuple[Tag, ...]:
    """The dictionary's `tags`, each as sure as persons have confirmed such tags where that was learnt, and those that
    only the model sets: tags of the dictionary in force that hold `at`."""
    known = [replace(tag, confidence=said.probability.get(tag.code, tag.confidence)) for tag in tags]
    have = {tag.code for tag in tags}
    learnt = [
        Tag(code, definitions[code].family, said.probability[code], TagSource.MODEL, words)
        for code, words in said.found.items()
        if code not in have and code in definitions and definitions[code].holds(at)
    ]
    return (*known, *learnt)
