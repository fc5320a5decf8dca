"""The lives of cases: what citizens, units and the centre do, step by step, through the hub's own HTTP."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, time, timedelta
from typing import Any, Final

from shared.clock import ZONE
from tools.seed.stage import Stage, Story, StoryFailed

MINUTE, HOUR, DAY = 60.0, 3600.0, 86400.0
RESULT = "已到现场处理完毕，问题已解决，感谢市民监督"
PLACE: Final = "璆琲璩"
"""stands in each text where a clone gets the name of a place of its own: characters that nobody else uses"""


@dataclass
class Case:
    """One appeal as a story holds it."""

    stage: Stage
    text: str
    region: str
    channel: str
    phone: str
    anonymous: bool = False
    groups: tuple[str, ...] = ()
    emergency: bool = False
    external_id: str | None = None
    id: str = ""
    posted: dict[str, Any] = field(default_factory=dict)
    order: str = ""

    @property
    def by_phone(self) -> bool:
        return self.channel in ("phone", "grid", "iot", "letter")

    async def post(self) -> None:
        """The appeal itself, and a reviewer's decision when the model was not sure."""
        body: dict[str, Any] = {
            "channel": self.channel,
            "text": f"{self.text}（{PLACE}）",
            "reporter": {"anonymous": True}
            if self.anonymous
            else {"name": "市民", "phone": self.phone, "groups": list(self.groups)},
            "location": {"region_code": self.region},
        }
        if self.external_id:
            body["external_id"] = self.external_id
        if self.emergency:
            taken = self.stage.clock.now() - timedelta(minutes=30)
            body["emergency_action"] = {"taken_at": taken.isoformat(), "by": "网格员", "what": "已疏散周边人员"}
        self.posted = await self.stage.call("POST", "/v1/appeals", body)
        self.id = self.posted["id"]

    async def dispatched(self) -> None:
        """See to it that a unit has the order."""
        case = await self.stage.call("GET", f"/v1/appeals/{self.id}")
        self.order = case["work_orders"][0]["id"]
        if case["work_orders"][0]["status"] == "pending":
            decision = {"matter": case["labels"]["matter"]["code"]}
            await self.stage.call(
                "POST", f"/v1/reviews/{self.id}", decision, self.stage.hub.token("seat", sub="seat-1")
            )
            await self.stage.hub.settle()

    async def seen(self) -> dict[str, Any]:
        return await self.stage.call("GET", f"/v1/work-orders/{self.order}")

    async def unit(self, action: str, **body: Any) -> dict[str, Any]:
        """The lead does something."""
        lead = (await self.seen())["lead"]
        who = self.stage.hub.token("handler", units=[lead], sub=f"handler-{lead}")
        return await self.stage.call("POST", f"/v1/work-orders/{self.order}/{action}", body, who)

    async def centre(self, path: str, **body: Any) -> dict[str, Any]:
        """The centre decides something."""
        who = self.stage.hub.token("supervisor", sub="centre-1")
        return await self.stage.call("POST", path, body, who)

    async def complete(self, *, solved: bool = True) -> None:
        await self.unit("complete", result=RESULT, solved=solved)

    async def rate(self, satisfaction: int, *, solved: bool = True) -> None:
        """By the citizen's link, or on the phone."""
        if self.by_phone:
            body = {"outcome": "reached", "contacted": True, "solved": solved, "satisfaction": satisfaction}
            await self.call_back(**body)
            return
        track = await self.stage.call(
            "GET", f"/v1/track?reference_no={self.posted['reference_no']}&query_code={self.posted['query_code']}"
        )
        if "rating_url" not in track:
            raise StoryFailed(f"{self.id} has no open rating: {track['status']}")
        token = track["rating_url"].rsplit("/", 1)[1]
        answer = {"contacted": True, "solved": solved, "satisfaction": satisfaction}
        await self.stage.call("POST", f"/v1/ratings/{token}", answer)

    async def call_back(self, **body: Any) -> None:
        who = self.stage.hub.token("seat", sub="seat-2")
        await self.stage.call("POST", f"/v1/callbacks/{self.id}/attempts", body, who)

    def morning(self, days: int = 1) -> datetime:
        """10:20 on the clock, `days` days on: a time at which one may call."""
        return self._at(days, time(10, 20))

    def afternoon(self, days: int = 0) -> datetime:
        return self._at(days, time(15, 10))

    def _at(self, days: int, clock: time) -> datetime:
        day = self.stage.clock.now().astimezone(ZONE).date() + timedelta(days=days)
        return datetime.combine(day, clock, ZONE).astimezone(UTC)


# -- lives that end ----------------------------------------------------------------------------------------------------


async def _accepted(case: Case) -> Story:
    """From the citizen's word to a unit that takes it."""
    await case.post()
    yield 5
    await case.dispatched()
    yield 4 * MINUTE
    await case.unit("accept")


async def _finished(case: Case, *, work: float, satisfaction: int) -> Story:
    """The unit completes after `work` seconds, the citizen answers the day after."""
    yield work
    await case.complete()
    yield case.morning()
    await case.rate(satisfaction)


async def _handled(case: Case, *, work: float, solved: bool = True) -> Story:
    """From the citizen's word to the unit's: accepted, contacted, completed."""
    async for pause in _accepted(case):
        yield pause
    yield 6 * MINUTE
    await case.unit("contact", note="已电话联系市民")
    yield work
    await case.complete(solved=solved)


async def satisfied(case: Case) -> Story:
    async for pause in _handled(case, work=5 * HOUR):
        yield pause
    yield case.morning()
    await case.rate(5)


async def quick(case: Case) -> Story:
    async for pause in _handled(case, work=40 * MINUTE):
        yield pause
    yield case.morning()
    await case.rate(4)


async def late(case: Case) -> Story:
    """Long after the deadline, under supervision."""
    async for pause in _handled(case, work=9 * DAY):
        yield pause
    yield case.morning()
    await case.rate(3)


async def nobody_answers(case: Case) -> Story:
    """Three calls on different half-days, or a link that expires."""
    async for pause in _handled(case, work=3 * HOUR):
        yield pause
    if case.by_phone:
        for when in (case.morning(1), case.afternoon(1), case.morning(2)):
            yield when
            await case.call_back(outcome="no_answer")


async def second_handling(case: Case) -> Story:
    async for pause in _handled(case, work=4 * HOUR):
        yield pause
    yield case.morning()
    await case.rate(1, solved=False)
    async for pause in _finished(case, work=2 * HOUR, satisfaction=5):
        yield pause


async def bad_twice(case: Case) -> Story:
    async for pause in second_bad(case):
        yield pause
    yield 3 * HOUR
    await case.centre(f"/v1/callbacks/{case.id}/decision", reason="已核实，按规定办结")


async def returned(case: Case) -> Story:
    await case.post()
    yield 5
    await case.dispatched()
    yield 3 * MINUTE
    await case.unit("return", reason="not_my_duty", note="不属于本单位职责")
    yield 4 * MINUTE
    await case.unit("accept")
    async for pause in _finished(case, work=6 * HOUR, satisfaction=4):
        yield pause


async def disputed(case: Case) -> Story:
    async for pause in in_dispute(case):
        yield pause
    yield 20 * MINUTE
    opened = await case.stage.call("GET", "/v1/disputes?status=open&limit=200")
    mine = next(item for item in opened["items"] if item["work_order_id"] == case.order)
    body = {"lead": mine["units"][0], "scope": "case", "reason": "按属地原则由该单位办理"}
    await case.centre(f"/v1/disputes/{mine['id']}/ruling", **body)
    yield 5 * MINUTE
    await case.unit("accept")
    async for pause in _finished(case, work=5 * HOUR, satisfaction=4):
        yield pause


async def suspended(case: Case) -> Story:
    async for pause in on_hold(case):
        yield pause
    yield 2 * DAY
    await case.unit("resume")
    async for pause in _finished(case, work=2 * HOUR, satisfaction=4):
        yield pause


async def extended(case: Case) -> Story:
    async for pause in _accepted(case):
        yield pause
    yield 10 * MINUTE
    await case.unit("extend", seconds=7200, reason="需要等待材料")
    yield 15 * MINUTE
    await _approve(case)
    async for pause in _finished(case, work=3 * HOUR, satisfaction=5):
        yield pause


async def excluded(case: Case) -> Story:
    """A bad word about something that the unit could not change: left out of the month's rates."""
    async for pause in bad_twice(case):
        yield pause
    yield 2 * HOUR
    lead = (await case.seen())["lead"]
    who = case.stage.hub.token("handler", units=[lead], sub=f"handler-{lead}")
    body = {"appeal_id": case.id, "reason": "诉求超出现行政策"}
    asked = await case.stage.call("POST", "/v1/exclusions", body, who)
    yield 4 * HOUR
    await case.centre(f"/v1/exclusions/{asked['id']}/decision", granted=True, reason="情况属实")


async def declined(case: Case) -> Story:
    await case.post()
    yield 20 * MINUTE
    await case.centre(f"/v1/appeals/{case.id}/decline", reason="已进入司法程序，不予受理")


async def withdrawn(case: Case) -> Story:
    await case.post()
    yield 5
    await case.dispatched()
    yield 30 * MINUTE
    await case.centre(f"/v1/appeals/{case.id}/withdraw", reason="市民表示问题已解决")


async def joined(case: Case) -> Story:
    """The same citizen says it again the day after: one order for both."""
    async for pause in _accepted(case):
        yield pause
    yield 3 * HOUR
    again = Case(case.stage, case.text, case.region, case.channel, case.phone, case.anonymous, case.groups)
    await again.post()
    yield 60
    now = await again.stage.call("GET", f"/v1/appeals/{again.id}")
    if now["status"] != "linked":
        await case.centre(f"/v1/appeals/{again.id}/link", to=case.id, relation="repeat")
    async for pause in _finished(case, work=4 * HOUR, satisfaction=4):
        yield pause
    yield 60
    await again.rate(5)


# -- lives that go on --------------------------------------------------------------------------------------------------


async def waiting(case: Case) -> Story:
    """Just received: dispatched, or in review with the centre."""
    await case.post()
    yield 0


async def at_work(case: Case) -> Story:
    async for pause in _handled(case, work=300 * DAY):
        yield pause


async def not_accepted(case: Case) -> Story:
    await case.post()
    yield 5
    await case.dispatched()


async def asked(case: Case) -> Story:
    """Completed; the citizen has not answered."""
    async for pause in _handled(case, work=90 * MINUTE):
        yield pause


async def handled_again(case: Case) -> Story:
    async for pause in _handled(case, work=4 * HOUR):
        yield pause
    yield case.morning()
    await case.rate(2, solved=False)


async def second_bad(case: Case) -> Story:
    """Rated badly twice: waits for the centre."""
    async for pause in handled_again(case):
        yield pause
    yield 2 * HOUR
    await case.complete(solved=False)
    yield case.morning()
    await case.rate(1, solved=False)


async def in_dispute(case: Case) -> Story:
    await case.post()
    yield 5
    await case.dispatched()
    yield 2 * MINUTE
    await case.unit("return", reason="not_my_duty", note="不属于本单位职责")
    yield 2 * MINUTE
    await case.unit("return", reason="not_my_territory", note="不在本辖区")


async def on_hold(case: Case) -> Story:
    async for pause in _accepted(case):
        yield pause
    yield 10 * MINUTE
    await case.unit("suspend", reason="等待汛期结束后施工", days=20)
    yield 15 * MINUTE
    await _approve(case)


async def wants_approval(case: Case) -> Story:
    async for pause in _accepted(case):
        yield pause
    yield 10 * MINUTE
    await case.unit("suspend", reason="等待材料", days=10)


async def _approve(case: Case) -> None:
    wanted = await case.stage.call("GET", "/v1/approvals?status=open&limit=200")
    mine = next(item for item in wanted["items"] if item["work_order_id"] == case.order)
    await case.centre(f"/v1/approvals/{mine['id']}/approve", note="同意")


Life = Callable[[Case], Story]

ENDED: Final[dict[Life, int]] = {
    satisfied: 46,
    quick: 20,
    late: 5,
    nobody_answers: 6,
    second_handling: 6,
    bad_twice: 1,
    returned: 5,
    disputed: 2,
    suspended: 2,
    extended: 2,
    excluded: 1,
    declined: 1,
    withdrawn: 1,
    joined: 2,
}
"""percent of the cases that are over"""

OPEN: Final[dict[Life, tuple[int, tuple[float, ...]]]] = {
    waiting: (10, (60.0, 3 * MINUTE, 8 * MINUTE)),
    not_accepted: (12, (3 * MINUTE, HOUR, 20 * HOUR, 12 * DAY)),
    at_work: (40, (3 * HOUR, 30 * HOUR, 3 * DAY, 6 * DAY, 9 * DAY, 12 * DAY)),
    asked: (22, (3 * HOUR, 26 * HOUR, 4 * DAY)),
    handled_again: (5, (28 * HOUR, 40 * HOUR)),
    second_bad: (2, (52 * HOUR, 70 * HOUR)),
    in_dispute: (3, (30 * MINUTE, 26 * HOUR)),
    on_hold: (4, (30 * HOUR, 6 * DAY)),
    wants_approval: (2, (2 * HOUR, 30 * HOUR)),
}
"""percent of the cases that go on, and how long ago they began"""
