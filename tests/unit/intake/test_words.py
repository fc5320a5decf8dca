"""Every event type of the loop has a sentence, and the sentences are plain."""

from __future__ import annotations

import re

from services.intake import words
from services.intake.words import names
from shared.events import catalog
from shared.events.catalog.work_orders import WorkOrderDispatched


def test_every_event_of_the_catalogue_has_its_words() -> None:
    known = {kind.type for kind in words.of.registry if kind is not object}
    streams = (
        "intake.",
        "classify.labels.",
        "dispatch.",
        "sla.clocks.",
        "feedback.ratings.",
    )  # notices, signs and catalogues are about many cases
    loop = {kind.type for kind in catalog.EVENTS.values() if kind.topic.startswith(streams)}
    assert loop - known == set()


def test_what_citizens_read_is_a_part_of_it() -> None:
    assert {kind.type for kind in words.of.registry if kind is not object} >= words.FOR_CITIZENS
    assert not any(name.startswith(("clock.", "label.")) for name in words.FOR_CITIZENS)
    assert WorkOrderDispatched.type in words.FOR_CITIZENS


def test_actors_are_roles_not_people() -> None:
    assert words.role_of("citizen") == "市民"
    assert words.role_of("unit:u1") == "承办单位"
    assert words.role_of("user:zhang.san") == "工作人员"
    assert words.role_of("system:sla") == "系统（时限）"
    assert words.role_of("system:unknown") == "系统"


def test_dictionaries_of_words_are_chinese() -> None:
    for table in (names.CHANNELS, names.CLASSES, names.CLOCKS, names.RETURN_REASONS, names.OUTCOMES, names.ATTEMPTS):
        assert all(re.search("[\u4e00-\u9fff]", value) for value in table.values())
