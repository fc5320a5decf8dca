"""The ledger of a rehearsal: what happened to each order by the event feed, and what sla said of it.

`story` reads the events of dispatch and feedback as domain.md does ("Start and stop") and gives the clocks that must
have run; what sla published is kept beside it, to be compared.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from tests.rehearsal.calculation import Watch

KEPT = (
    *("id", "status", "lead", "class", "kind", "in_review", "round", "dispatch_no", "received_at", "taken_at"),
    *("opened_at", "region_code", "dispute_id", "matter", "appeal_ids", "version", "handoff"),
)


@dataclass(slots=True)
class Told:
    """One event of an order, of its feedback, or of its clocks."""

    at: datetime
    type: str
    data: dict[str, Any]


@dataclass
class OrderLedger:
    """Everything about one order."""

    id: str
    orders: list[Told] = field(default_factory=list)
    feedback: list[Told] = field(default_factory=list)
    said: list[Told] = field(default_factory=list)
    """announcements of sla: lamps, levels, corrections"""
    clocks: list[dict[str, Any]] = field(default_factory=list)
    """the last published state of its clocks"""

    @property
    def now(self) -> dict[str, Any]:
        """The order as its last event shows it."""
        return self.orders[-1].data


@dataclass
class Ledger:
    """All orders, and the notices to supervisors."""

    orders: dict[str, OrderLedger] = field(default_factory=dict)
    of_appeal: dict[str, str] = field(default_factory=dict)
    feedback_of: dict[str, dict[str, Any]] = field(default_factory=dict)
    notices: list[Told] = field(default_factory=list)
    events: int = 0

    def take(self, event: dict[str, Any]) -> None:
        """One event of the feed, in its order."""
        self.events += 1
        kind, data, at = event["type"], event["data"], instant(event["time"])
        if kind.startswith("work_order."):
            after = data["after"]
            slim = {name: after.get(name) for name in KEPT}
            slim |= {name: data[name] for name in ("until", "seconds", "approval_id", "cause") if name in data}
            self._order(after["id"]).orders.append(Told(at, kind, slim))
            self.of_appeal.update(dict.fromkeys(after["appeal_ids"], after["id"]))
        elif kind.startswith("feedback."):
            after = data["after"]
            self.feedback_of[after["appeal_id"]] = after
            slim = {name: after[name] for name in ("method", "bad_ratings")} | {"bad": data.get("bad")}
            self._order(after["work_order_id"]).feedback.append(Told(at, kind, slim))
        elif kind.startswith("clock."):
            order = self._order(data["after"]["work_order_id"])
            order.clocks = data["after"]["clocks"]
            if kind in ("clock.turned_yellow", "clock.turned_red", "clock.escalated", "clock.corrected"):
                order.said.append(Told(at, kind, {name: value for name, value in data.items() if name != "after"}))
        elif kind == "notice.issued":
            self.notices.append(Told(at, data["after"]["kind"], data["after"]))

    def _order(self, order_id: str) -> OrderLedger:
        return self.orders.setdefault(order_id, OrderLedger(order_id))


def instant(text: str) -> datetime:
    return datetime.fromisoformat(text)


@dataclass
class Story:
    """What must have run: the clocks of an order, the levels that ratings gave, (instant, round, level), and since
    when it was of which class."""

    watches: list[Watch] = field(default_factory=list)
    ratings: list[tuple[datetime, int, int]] = field(default_factory=list)
    classes: list[tuple[datetime, str]] = field(default_factory=list)

    def class_at(self, at: datetime) -> str:
        """The class when a timer of that instant fired: what was said at the same instant came after it."""
        return next((name for since, name in reversed(self.classes) if since < at), self.classes[0][1])


def story(order: OrderLedger) -> Story:
    """The order's events read as domain.md reads them."""
    told = _Order()
    for entry in _in_order(order):
        told.hear(entry)
    return told.story


def _in_order(order: OrderLedger) -> Iterator[Told]:
    """The order's events with those of its feedback among them; asking follows the completion at once."""
    asked = [entry for entry in order.feedback if entry.type == "feedback.opened"]
    others = [entry for entry in order.feedback if entry.type != "feedback.opened"]
    for entry in order.orders:
        while others and others[0].at < entry.at:
            yield others.pop(0)
        if others and others[0].at == entry.at and entry.type in ("work_order.reopened", "work_order.closed"):
            yield others.pop(0)  # what made the order open again or close
        yield entry
        if entry.type == "work_order.completed":
            yield from (opened for opened in asked if opened.at == entry.at)
    yield from others


class _Order:
    """An order while its events are read."""

    def __init__(self) -> None:
        self.story = Story()
        self.watches, self.ratings = self.story.watches, self.story.ratings
        self.handling_class = ""
        self.kind: str | None = None

    def hear(self, entry: Told) -> None:
        if entry.type.startswith("feedback."):
            self._feedback(entry)
            return
        order, at = entry.data, entry.at
        if not self.watches:
            self._open(order, at)
        self._review(order, at)
        if (order["class"], order["kind"]) != (self.handling_class, self.kind):
            self._class(order, at)
            for watch in self.watches:
                if watch.running:
                    watch.changes.append((at, "class", (self.handling_class, self.kind)))
        match entry.type.removeprefix("work_order."):
            case "dispatched":
                self._stop(at, "accept", "ruling")
                self._start("accept", order["dispatch_no"], at, at)
            case "accepted" | "returned":
                self._stop(at, "accept")
            case "contacted":
                self._stop(at, "first_contact")
            case "completed":
                self._stop(at, "accept", "first_contact", "complete", "ruling")
            case "disputed":
                self._stop(at, "accept")
                self._start("ruling", 1 + sum(w.clock == "ruling" for w in self.watches), at, at)
            case "ruled":
                self._stop(at, "ruling")
            case "suspended":
                self._complete_clock(at, "suspended", instant(order["until"]))
            case "resumed":
                self._complete_clock(at, "resumed", None)
            case "extended":
                self._complete_clock(at, "extended", timedelta(seconds=order["seconds"]))
            case "reopened":
                self._stop(at, "complete", "callback")
                self.ratings.append((at, order["round"], 1))
                self._start("complete", order["round"], at, at, halved=True)
            case "closed" | "cancelled" | "handed_off":
                self._stop(at, *{watch.clock for watch in self.watches})
        offer = order["handoff"]
        asked = bool(offer) and offer["state"] == "offered" and order["status"] in ("dispatched", "accepted")
        if not asked or entry.type == "work_order.dispatched":
            self._stop(at, "handoff")
        if asked and entry.type == "work_order.dispatched":
            self._start("handoff", order["dispatch_no"], at, at)

    def _open(self, order: dict[str, Any], at: datetime) -> None:
        self._class(order, at)
        taken_at = instant(order["taken_at"]) if order["taken_at"] else None
        begin = taken_at or instant(order["received_at"])
        self._start("first_contact", 1, begin, at)
        if taken_at is not None:
            self._stop(taken_at, "first_contact")
        self._start("complete", 1, begin, at)

    def _class(self, order: dict[str, Any], at: datetime) -> None:
        self.handling_class, self.kind = order["class"], order["kind"]
        self.story.classes.append((at, self.handling_class))

    def _review(self, order: dict[str, Any], at: datetime) -> None:
        waits = any(w.clock == "review" and w.running for w in self.watches)
        if order["in_review"] and not waits:
            known = sum(w.clock == "review" for w in self.watches)
            self._start("review", known + 1, at if known else instant(order["opened_at"]), at)
        elif waits and not order["in_review"]:
            self._stop(at, "review")

    def _feedback(self, entry: Told) -> None:
        by_phone = entry.data["method"] == "callback"
        match entry.type.removeprefix("feedback."):
            case "opened" if by_phone:
                self._start("callback", sum(w.clock == "complete" for w in self.watches), entry.at, entry.at)
            case "attempted":
                self._stop(entry.at, "callback")
            case "closed" if by_phone:
                self._stop(entry.at, "callback")
            case "answered" if entry.data["bad"] and entry.data["bad_ratings"] >= 2:
                self.ratings.append((entry.at, self.ratings[-1][1], 3))

    def _start(self, clock: str, round_: int, begin: datetime, at: datetime, *, halved: bool = False) -> None:
        self.watches.append(Watch(clock, round_, begin, max(begin, at), self.handling_class, self.kind, halved))

    def _stop(self, at: datetime, *clocks: str) -> None:
        for watch in self.watches:
            if watch.clock in clocks and watch.running:
                watch.stopped = at

    def _complete_clock(self, at: datetime, what: str, value: object) -> None:
        for watch in self.watches:
            if watch.clock == "complete" and watch.running:
                watch.changes.append((at, what, value))
