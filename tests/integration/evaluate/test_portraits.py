"""Portraits, three times among the last tenth, and what the centre should look at."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

from shared.clock import ZONE
from shared.events.catalog.ratings import Answer, Feedback, FeedbackClosed
from shared.events.catalog.signs import Sign, SignFound
from shared.events.catalog.work_orders import WorkOrder, WorkOrderCompleted, WorkOrderDispatched
from shared.events.event import Event
from shared.testing.harness import Harness
from tests.integration.evaluate.test_publication import deliver, journalling, post
from tests.truth.delivery import badly
from tests.truth.lives import Told


class Telling:
    """Makes events by hand."""

    def __init__(self) -> None:
        self.told: list[Told] = []

    def _add(self, event: Event, key: str, at: datetime, sequence: int = 1) -> None:
        number = len(self.told)
        event_id = f"01990000-0000-7000-8000-{number:012d}"
        self.told.append(Told(event, key, sequence, at, event_id))

    def rated(self, unit: str, at: datetime, *, solved: Sequence[bool], matter: str = "lamps") -> None:
        """Closed feedbacks of a unit, one for each of `solved`."""
        for good in solved:
            name = f"{unit}-{len(self.told)}"
            answer = Answer(round=1, contacted=True, solved=good, satisfaction=5 if good else 3, at=at)
            after = Feedback(
                appeal_id=name,
                work_order_id=f"o-{name}",
                unit=unit,
                region_code="460105001",
                matter=matter,
                round=1,
                method="link",
                status="closed",
                outcome="answered",
                reached=True,
                answers=[answer],
                opened_at=at,
                closed_at=at,
            )
            self._add(FeedbackClosed(actor="citizen", after=after), name, at)

    def completed(self, unit: str, at: datetime, words: str, *, contacted: bool = True) -> str:
        """One order, dispatched and completed; returns its id."""
        order = f"w-{unit}-{len(self.told)}"
        values: dict[str, Any] = {
            "id": order,
            "platform": "460100",
            "appeal_ids": [f"a-{order}"],
            "lead": unit,
            "lead_name": f"单位{unit}",
            "lead_region": "460105001",
            "handling_class": "general",
            "matter": "lamps",
            "matter_path": ["路灯"],
            "kind": "complaint",
            "region_code": "460105001",
            "channel": "web",
            "version": 1,
            "received_at": at - timedelta(days=1),
            "opened_at": at - timedelta(days=1),
        }
        dispatched = WorkOrder(**values, status="dispatched")
        self._add(WorkOrderDispatched(actor="x", cause="routing", after=dispatched), order, at - timedelta(days=1))
        done = WorkOrder(**values, status="completed", result=words, contacted_at=at if contacted else None)
        self._add(WorkOrderCompleted(actor="x", after=done), order, at, sequence=2)
        return order


def day(month: int, number: int, hour: int = 10) -> datetime:
    return datetime(2026, month, number, hour, tzinfo=ZONE).astimezone(UTC)


async def get(hub: Harness, path: str, status: int = 200, headers: dict[str, str] | None = None) -> Any:
    answer = await hub.http.get(path, headers=headers or hub.admin)
    assert answer.status_code == status, answer.text
    return answer.json()


async def test_three_times_among_the_last_tenth_leads_to_one_special_supervision(server_url: str) -> None:
    telling = Telling()
    for month in (8, 9, 10):
        for number in range(10):
            good = 1 if number == 4 else 20 - number
            telling.rated(f"u{number}", day(month, 15), solved=[True] * good + [False] * (20 - good))
        if month == 9:
            continue
        telling.rated("u9", day(month, 16), solved=[False] * 5)  # worse in two of the three months only
    async with journalling(server_url) as hub:
        await deliver(hub, telling.told)
        for month in (8, 9, 10):
            await post(hub, f"/v1/evaluations/2026-{month:02d}/publish")
        await asyncio.gather(*(post(hub, "/v1/evaluations/2026-10/publish") for _ in range(5)))
        await deliver(hub, badly(telling.told, Random(3)))
        assert (await post(hub, "/v1/evaluations/2026-10/publish"))["repeated"]
        await hub.settle()
        events = await hub.events("evaluate.evaluations.v1")
        assert [(event.key, event.type, event.sequence) for event in events] == [
            ("2026-08", "evaluation.published", 1),
            ("2026-09", "evaluation.published", 1),
            ("2026-10", "evaluation.published", 1),
            ("2026-10", "evaluation.unit_warned", 2),
        ]
        warning = events[-1].data.warning
        assert (warning.unit, warning.periods, warning.ranks) == ("u4", ["2026-08", "2026-09", "2026-10"], [10, 10, 10])
        portrait = await get(hub, "/v1/portraits/u4?period=2026-10")
        assert portrait["warnings"] == [{"periods": ["2026-08", "2026-09", "2026-10"], "ranks": [10, 10, 10]}]
        assert (await get(hub, "/v1/portraits/u4?period=2026-09"))["warnings"] == []
        for period, times in (("2026-10", 1), ("2026-09", 0)):
            headers = hub.admin | {"Accept": "text/html"}
            page = (await hub.http.get(f"/v1/rankings/{period}", headers=headers)).text
            assert page.count("连续三期末位") == times
        rebuilt = await post(hub, "/v1/evaluations/2026-10/rebuild")
        assert rebuilt["identical"]


async def test_a_portrait_marks_only_what_is_no_chance(server_url: str) -> None:
    telling = Telling()
    telling.rated("u1", day(9, 3), solved=[True] * 30)
    telling.rated("u1", day(10, 3), solved=[True] * 6 + [False] * 24, matter="lamps")
    telling.rated("u1", day(10, 4), solved=[True] * 20, matter="roads")
    telling.rated("u2", day(10, 5), solved=[True] * 60 + [False] * 20, matter="lamps")
    telling.rated("u2", day(10, 5), solved=[True] * 15 + [False] * 5, matter="roads")
    telling.rated("u3", day(10, 6), solved=[False, False, True], matter="lamps")
    async with journalling(server_url) as hub:
        await deliver(hub, telling.told)
        found = await get(hub, "/v1/portraits/u1?period=2026-10")
        assert found["weaknesses"] == ["solution"]
        assert found["strengths"] == []
        lamps, roads = found["matters"]
        assert (lamps["matter"], lamps["numerator"], lamps["denominator"], lamps["mark"]) == ("lamps", 6, 30, "weak")
        assert lamps["others"] == round(61 / 83, 4)
        assert (lamps["before"], lamps["changed"]) == (1.0, "worse")
        assert (roads["before"], roads["changed"]) == (None, None), "there were none the month before"
        assert (roads["matter"], roads["value"], roads["mark"]) == ("roads", 1.0, "strong")
        assert [(one["period"], one["asked"]) for one in found["months"]] == [("2026-09", 30), ("2026-10", 50)]
        assert found["changed"] == [{"name": "solution", "points": -21.6}]
        small = await get(hub, "/v1/portraits/u3?period=2026-10")
        assert (small["strengths"], small["weaknesses"]) == ([], []), "of three answers nothing follows"
        assert (await get(hub, "/v1/portraits/u1"))["period"] == "2026-10", "the last month that is over"
        await get(hub, "/v1/portraits/nobody", 404)
        await get(hub, "/v1/portraits/u1", 404, hub.token("handler", units=["u2"]))
        await get(hub, "/v1/portraits/u1?period=2026-99", 422)


async def test_what_feedback_sees_in_ratings_stands_among_the_signs(server_url: str) -> None:
    async with journalling(server_url) as hub:
        for sequence, number in ((2, 7), (1, 5), (2, 7)):
            sign = Sign(
                id="2026-10/u1/one_device",
                period="2026-10",
                unit="u1",
                sign="one_device",
                number=number,
                of=20,
                groups=1,
                appeal_ids=["a1", "a2"],
            )
            await hub.emit(SignFound(actor="system:feedback", after=sign), key=sign.id, sequence=sequence)
        await hub.settle()
        [found] = (await get(hub, "/v1/evaluations/2026-10/signs"))["items"]
        assert (found["sign"], found["number"], found["of"], found["appeals"]) == ("one_device", 7, 20, ["a1", "a2"])
        assert (await get(hub, "/v1/evaluations/2026-09/signs"))["items"] == []


async def test_signs_come_with_their_evidence_and_honest_units_have_none(server_url: str) -> None:
    telling = Telling()
    for number in range(40):
        telling.completed("honest", day(10, 1 + number % 28), f"已到现场查看并处理第{number}处路灯")
    for number in range(12):
        telling.completed("hasty", day(10, 31 if number < 8 else 5, 15), f"第{number}号路段照明已恢复正常")
        telling.completed("silent", day(10, 3 + number), f"第{number}号井盖已更换完毕请放心", contacted=number >= 9)
        telling.completed("copying", day(10, 4 + number), "您反映的问题已收悉，我们将加强管理！ " + " " * number)
        telling.completed("brief", day(10, 4 + number), "已办结")
    few = [
        telling.completed("few", day(10, 31), "您反映的问题已收悉，我们将加强管理", contacted=False) for _ in range(9)
    ]
    async with journalling(server_url) as hub:
        await deliver(hub, telling.told)
        items = (await get(hub, "/v1/evaluations/2026-10/signs"))["items"]
        assert {(one["unit"], one["sign"]): (one["number"], one["of"]) for one in items} == {
            ("hasty", "burst"): (8, 12),
            ("silent", "no_contact"): (9, 12),
            ("copying", "identical_answers"): (12, 12),
        }
        assert all(len(one["work_orders"]) == one["number"] and one["name"] for one in items)
        assert not any(order in one["work_orders"] for one in items for order in few), (
            "nine are too few to say anything"
        )
        ranking = (await get(hub, "/v1/rankings/2026-10"))["items"]
        assert {one["score"] for one in ranking} == {None}, "signs score nothing"
        await get(hub, "/v1/evaluations/2026-10/signs", 403, hub.token("handler", units=["hasty"]))
        await get(hub, "/v1/evaluations/2026-10/signs", 403, hub.token("supervisor", units=["hasty"]))
