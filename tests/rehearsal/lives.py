"""What people do with the cases of a rehearsal: each case is a generator that waits, calls and goes on.

answer = yield Call("POST", path, body)    an HTTP call at this instant; None when it was refused
yield 90                                   so many minutes later, everything before applied
"""

import random
from collections.abc import Generator
from dataclasses import dataclass, field
from datetime import datetime, time, timedelta
from typing import Any

from shared.clock import ZONE, rfc3339
from tests.rehearsal.ledger import Ledger, OrderLedger


@dataclass(frozen=True)
class Call:
    """One HTTP call. `proof` is the event type that must carry this instant when it succeeds."""

    method: str
    path: str
    body: dict[str, Any] | None = None
    proof: str = ""


Life = Generator[int | Call | None, dict[str, Any] | None, None]

CLASSES = ("urgent", "livelihood", "general", "complex")
BUDGET_MIN = {"urgent": 120, "livelihood": 24 * 60, "general": 7 * 24 * 60, "complex": 21 * 24 * 60}
ELSEWHERE = "460204"
"""a district of another platform: its cases are offered there and stay with our centre meanwhile"""


@dataclass
class City:
    """What everybody knows: the clock, the ledger, places, units, invented texts by class."""

    now: datetime
    ledger: Ledger
    places: list[str]
    units: list[str]
    texts: dict[str, list[str]]
    matters: dict[str, list[str]]


@dataclass
class Case:
    """One case and the dice of its people."""

    city: City
    number: int
    dice: random.Random
    appeal: dict[str, Any] = field(default_factory=dict)
    answered: dict[str, Any] = field(default_factory=dict)
    """the order as the last answer showed it"""

    @property
    def order(self) -> OrderLedger | None:
        return self.city.ledger.orders.get(self.city.ledger.of_appeal.get(self.appeal["id"], ""))

    @property
    def state(self) -> dict[str, Any]:
        """The order as the last answer or event shows it; {} while there is none."""
        if self.order is None:
            return {}
        return max(self.order.now, self.answered, key=lambda order: order.get("version", 0))

    def handled(self, call: Call) -> Generator[Call, dict[str, Any] | None, dict[str, Any] | None]:
        """A call that is answered with the order."""
        answer = yield call
        self.answered = answer or self.answered
        return answer

    def to_hour(self, hours: int) -> int:
        """Minutes to the full hour that is `hours` ahead (0: now)."""
        return hours * 60 - (self.city.now.minute if hours else 0)

    def some_hours(self, *choices: int) -> int:
        return self.to_hour(self.dice.choice(choices))

    def act(self, action: str, **body: Any) -> Generator[Call, dict[str, Any] | None, dict[str, Any] | None]:
        """An action on the order."""
        proof = {"accept": "accepted", "contact": "contacted", "complete": "completed", "resume": "resumed"}
        path = f"/v1/work-orders/{self.state['id']}/{action}"
        call = Call("POST", path, body, f"work_order.{proof[action]}" if action in proof else "")
        return (yield from self.handled(call))

    # -- lives ---------------------------------------------------------------------------------------------------------

    def live(self) -> Life:
        """From the appeal to the last rating, as far as its people take it."""
        dice = self.dice
        wanted = dice.choices(CLASSES, (2, 3, 3, 2))[0]
        body = self._appeal(wanted)
        answer = yield Call("POST", "/v1/appeals", body)
        assert answer is not None, "an appeal was refused"
        self.appeal = answer
        yield None
        if self.state.get("in_review"):
            yield from self._reviewed()
        if dice.random() < 0.06:
            yield self.some_hours(0, 1, 30)
            yield Call("POST", f"/v1/appeals/{self.appeal['id']}/withdraw", {"reason": "自行解决"})
            return
        if dice.random() < 0.12:
            yield from self._returned()
        if dice.random() < 0.06:
            yield self.some_hours(1, 3, 30)
            yield from self.act("transfer", lead=dice.choice(self.city.units), reason="由更合适的单位承办")
        if dice.random() < 0.12:
            return  # nobody takes it up, ever
        yield from self._accepted()
        if self.state.get("status") != "accepted":
            return
        if dice.random() < 0.2:
            yield from self._suspended()
        if dice.random() < 0.15:
            yield from self._extended()
        if dice.random() < 0.1:
            return  # accepted, and forgotten
        yield from self._completed()
        yield from self._asked()

    def relabelled(self) -> Life:
        """A person changes class or matter some time after the label, whatever the order is doing then."""
        yield self.some_hours(1, 2, 5, 26, 80, 24 * 8)
        if self.state.get("status") in ("cancelled", "closed", None):
            return
        handling_class = self.dice.choice(CLASSES)
        matter = self.dice.choice(self.city.matters[handling_class])
        yield Call("POST", f"/v1/reviews/{self.appeal['id']}", {"matter": matter, "class": handling_class})

    def noticed(self) -> Life:
        """Supervisors take notice of some of what they were told."""
        for _ in range(3):
            yield self.some_hours(2, 11, 30, 90)
            for entry in list(self.order.said) if self.order else ():
                if entry.type == "clock.escalated" and self.dice.random() < 0.5:
                    yield Call("POST", f"/v1/supervisions/{entry.data['supervision_id']}/acknowledge", {})

    def _appeal(self, wanted: str) -> dict[str, Any]:
        dice, at = self.dice, self.city.now
        channel = dice.choice(("phone", "phone", "web", "app", "wechat", "grid"))
        body: dict[str, Any] = {
            "channel": channel,
            "text": dice.choice(self.city.texts[wanted]),
            "external_id": f"rehearsal-{self.number}",
            "reporter": {"name": "演练市民", "phone": f"100{self.number:08d}"},
            "location": {"region_code": ELSEWHERE if dice.random() < 0.04 else dice.choice(self.city.places)},
        }
        if dice.random() < 0.15:
            body["reporter"]["groups"] = [dice.choice(("elderly", "disabled", "deaf"))]
        if dice.random() < 0.08:
            taken_at = at - timedelta(minutes=dice.choice((0, 5, 30, 60, 130, 600, 1500)))
            body["emergency_action"] = {"taken_at": rfc3339(taken_at), "by": "网格员", "what": "先行处置"}
        return body

    def _reviewed(self) -> Life:
        yield self.some_hours(0, 0, 1, 1, 3, 27, 75)
        state = self.state
        if state.get("in_review"):
            body = {"matter": state["matter"]}
            if self.dice.random() < 0.3:
                body["class"] = self.dice.choice(CLASSES)
            yield Call("POST", f"/v1/reviews/{self.appeal['id']}", body)
            yield None

    def _returned(self) -> Life:
        for reason in ("not_my_duty", "not_my_territory")[: self.dice.choice((1, 2, 2))]:
            yield self.dice.choice((0, 5, self.to_hour(1), self.to_hour(2)))
            if self.state.get("status") != "dispatched":
                return
            if (yield from self.act("return", reason=reason)) is None:
                return
        if self.state.get("status") == "disputed":
            yield self.some_hours(0, 1, 2, 6, 30, 80)
            if (dispute := self.state.get("dispute_id")) and self.state["status"] == "disputed":
                body = {"lead": self.dice.choice(self.city.units), "scope": "case", "reason": "按属地与职责"}
                yield from self.handled(Call("POST", f"/v1/disputes/{dispute}/ruling", body, "work_order.ruled"))

    def _accepted(self) -> Life:
        urgent = self.state.get("class") in ("urgent", "livelihood")
        yield self.dice.choice((0, 0, 5, 25, self.to_hour(1)) if urgent else (0, *map(self.to_hour, (1, 2, 5, 20))))
        if self.dice.random() < 0.1:
            yield self.some_hours(5, 26, 80)
        if self.state.get("status") == "dispatched":
            yield from self.act("accept")
        if self.dice.random() < 0.8:
            yield self.dice.choice((0, 0, *map(self.to_hour, (1, 2, 3, 24, 25))))
            if self.state.get("status") == "accepted":
                yield from self.act("contact")

    def _suspended(self) -> Life:
        for _ in range(self.dice.choice((1, 1, 2))):
            yield self.some_hours(1, 4, 20)
            if self.state.get("status") != "accepted":
                return
            asked = yield from self.act(
                "suspend", reason="等待鉴定", days=self.dice.choice((1, 2, 5, 12)), evidence=["函"]
            )
            yield from self._decided(asked)
            if self.state.get("status") != "suspended":
                continue
            if self.dice.random() < 0.4:
                yield self.some_hours(1, 10, 23, 47)
                if self.state.get("status") == "suspended":
                    yield from self.act("resume")
            while self.state.get("status") == "suspended":
                yield self.to_hour(12)

    def _extended(self) -> Life:
        yield self.some_hours(1, 2, 12)
        if self.state.get("status") == "accepted":
            asked = yield from self.act(
                "extend", seconds=self.dice.choice((3600, 7200, 45_000, 86_400)), reason="跨部门"
            )
            yield from self._decided(asked)

    def _decided(self, asked: dict[str, Any] | None) -> Life:
        """The centre's word on a request, perhaps some hours later."""
        if asked is None or not asked.get("approval"):
            return
        yield self.some_hours(0, 1, 3)
        decision = "approve" if self.dice.random() < 0.85 else "reject"
        yield from self.handled(Call("POST", f"/v1/approvals/{asked['approval']['id']}/{decision}", {"note": "已核"}))

    def _completed(self) -> Life:
        """In time, on the very instant, late or very late."""
        budget = BUDGET_MIN.get(self.state.get("class", ""), 60)
        share = self.dice.choice((0.1, 0.3, 0.5, 0.8, 0.9, 1.2, 1.5, 3.0))
        if self.dice.random() < 0.1:
            received = datetime.fromisoformat(self.state["received_at"])
            left = int((received + timedelta(minutes=budget) - self.city.now) / timedelta(minutes=1))
            yield max(left, 0)
        else:
            yield self.to_hour(max(1, round(budget * share / 60)))
        while self.state.get("status") in ("suspended", "disputed", "dispatched"):
            if self.state["status"] == "dispatched":  # a review moved it to another unit meanwhile
                yield from self.act("accept")
            else:
                yield self.to_hour(24)
                if self.dice.random() < 0.2:
                    return
        if self.state.get("status") in ("accepted", "reopened"):
            yield from self.act("complete", result="已处理完毕", solved=True)

    def _asked(self) -> Life:
        """The citizen's answers: good, bad, bad again, or none."""
        for _ in range(2):
            yield self.some_hours(1, 5, 23, 24, 26, 50)
            known = self.city.ledger.feedback_of.get(self.appeal["id"])
            if known is None or known["status"] != "open" or self.dice.random() < 0.15:
                return
            bad = self.dice.random() < 0.35
            answer = {"contacted": True, "solved": not bad, "satisfaction": 1 if bad else 5}
            if known["method"] == "callback":
                yield from self._called(answer)
            else:
                yield from self._rated(answer)
            yield self.some_hours(1, 3, 10, 30, 60, 100, 200)
            if self.state.get("status") != "reopened":
                break
            if self.dice.random() < 0.15:
                return
            yield from self.act("complete", result="已再次处理", solved=True)
        known = self.city.ledger.feedback_of.get(self.appeal["id"])
        if known is not None and known["status"] == "awaiting_decision":
            yield Call("POST", f"/v1/callbacks/{self.appeal['id']}/decision", {"reason": "中心核实后办结"})

    def _called(self, answer: dict[str, Any]) -> Life:
        path = f"/v1/callbacks/{self.appeal['id']}/attempts"
        for _ in range(self.dice.choice((0, 0, 1, 3))):
            yield self._calling_time()
            yield Call("POST", path, {"outcome": "no_answer"}, "feedback.attempted")
        if self.dice.random() < 0.1:
            yield Call("POST", path, {"outcome": "refused"})
        else:
            yield Call("POST", path, {"outcome": "reached", **answer})

    def _calling_time(self) -> int:
        """Minutes to the next half-day in which citizens are called."""
        local = self.city.now.astimezone(ZONE)
        for day in (0, 1):
            for hour in (10, 15):
                at = datetime.combine(local.date() + timedelta(days=day), time(hour), ZONE)
                if at > local:
                    return int((at - local) / timedelta(minutes=1))
        raise AssertionError("tomorrow has a morning")

    def _rated(self, answer: dict[str, Any]) -> Life:
        query = f"reference_no={self.appeal['reference_no']}&query_code={self.appeal['query_code']}"
        shown = yield Call("GET", f"/v1/track?{query}")
        if shown and shown.get("rating_url"):
            token = shown["rating_url"].rstrip("/").rsplit("/", 1)[1]
            yield Call("POST", f"/v1/ratings/{token}", answer, "feedback.answered")
