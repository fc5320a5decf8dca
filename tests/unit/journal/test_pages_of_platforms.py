"""An answer of another platform's journal is right as a whole, or nothing of it is taken."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from services.journal.peers.answers import PAUSE_S, STREAMS, NotBelieved, page_of, pause_s
from shared.bus.worker import decode_event
from shared.events.event import Message
from tests.truth.delivery import record_of
from tests.truth.lives import World

PROVINCE, CITY, MONTH = "460000", "460100", "2026-10"


def event(position: int = 1, **more: Any) -> dict[str, Any]:
    world = World(seed=7, cases=1, months=(MONTH,), units=1)
    told = next(one for one in world.events() if one.event.topic in STREAMS)
    record = record_of(told)
    return {
        "id": told.id,
        "type": told.event.type,
        "source": f"/{CITY}/{told.event.topic.split('.')[0]}",
        "subject": told.key,
        "sequence": str(told.sequence),
        "time": told.time.isoformat(),
        "sushuposition": position,
        "data": orjson.loads(record.value),
    } | more


def page(*events: dict[str, Any], following: str | None) -> bytes:
    return orjson.dumps({"items": events, "next": following})


def test_an_event_is_published_as_it_was_on_the_stream_of_platforms_below() -> None:
    told = event(3)
    taken = page_of(page(told, following="3"), CITY, 2)
    (record,) = taken.records
    message: Message[Any] = decode_event(record.headers, record.value)
    assert (record.topic, record.key, taken.position) == (STREAMS[message.data.topic], told["subject"], 3)
    assert (message.id, message.type, message.source) == (told["id"], told["type"], told["source"])
    assert (message.sequence, message.time.isoformat()) == (int(told["sequence"]), told["time"])
    assert orjson.loads(record.value) == told["data"]


def test_who_did_it_is_the_platform_where_that_is_not_shared() -> None:
    told = event()
    del told["data"]["actor"]
    (record,) = page_of(page(told, following="1"), CITY, 0).records
    assert decode_event(record.headers, record.value).data.actor == f"platform:{CITY}"


def test_an_empty_page_may_lead_on_and_the_end_stays_where_it_is() -> None:
    assert page_of(page(following="5000"), CITY, 0).position == 5000
    assert page_of(page(following=None), CITY, 7).position == 7


LIES: dict[str, dict[str, Any]] = {
    "another source": {"items": [event(), event(2, source="/460200/dispatch")], "next": "2"},
    "the own source": {"items": [event(source=f"/{PROVINCE}/dispatch")], "next": "1"},
    "another service of the city": {"items": [event(source=f"/{CITY}/evaluate")], "next": "1"},
    "a type that was not asked for": {"items": [event(type="evaluation.published")], "next": "1"},
    "an unknown type": {"items": [event(type="appeal.gone")], "next": "1"},
    "positions that fall": {"items": [event(2), event(1)], "next": "2"},
    "a position behind the page": {"items": [event(3)], "next": "2"},
    "no way on": {"items": [], "next": "0"},
    "events and no next": {"items": [event()], "next": None},
    "data that no reader could read": {"items": [event(data={"after": 7})], "next": "1"},
    "a sequence below one": {"items": [event(sequence="0")], "next": "1"},
    "a NUL": {"items": [event(subject="a\x00b")], "next": "1"},
    "no page": {"hello": []},
}


@pytest.mark.parametrize("lie", LIES)
def test_an_answer_with_one_wrong_event_is_not_taken_at_all(lie: str) -> None:
    with pytest.raises(NotBelieved):
        page_of(orjson.dumps(LIES[lie]), CITY, 0)


@pytest.mark.parametrize("raw", [b"", b"<html>", b"[]", b'{"items": [], "next": "x"}', b'{"items": [], "next": "-1"}'])
def test_what_is_no_page_is_not_believed(raw: bytes) -> None:
    with pytest.raises(NotBelieved):
        page_of(raw, CITY, 0)


def test_pauses_grow_to_the_longest() -> None:
    pauses = [pause_s(tries, 0.99) for tries in range(1, 40)]
    assert pauses == sorted(pauses)
    assert PAUSE_S[0] * 0.9 < pauses[0] <= PAUSE_S[0]
    assert PAUSE_S[1] * 0.9 < pauses[-1] <= PAUSE_S[1]
