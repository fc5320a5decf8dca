"""A played story as a form with blanks: what differs from clone to clone is a slot, everything else is copied.

Ids keep their order and get the instants of the clone (UUIDv7: partitions and keyset pages depend on it); instants in
columns, in JSON and in Chinese words move by the clone's shift; references, digests, seals and the name of the place
are the clone's own.
"""

import hashlib
import re
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from operator import itemgetter
from typing import Any, Final

import orjson

from shared.clock import ZONE
from tools.seed.rehearsal import UUID_RE, Played, Rehearsal
from tools.seed.stories import PLACE

Table = tuple[str, str]
Slot = tuple[Any, ...]
"""kind and what it is of; the kinds are those of `clone.py`"""

JOURNAL: Final[Table] = ("journal", "events")
LOCAL_S: Final = 8 * 3600
"""China has one time zone, without summer time"""
_PLACE = PLACE.encode()
_PAIRS = (PLACE[:2].encode(), PLACE[1:].encode())
_MARK = b"\x00%s\x00"
_INSTANT = re.compile(rb"(?P<instant>\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d)(?P<rest>(?:\.\d+)?(?:Z|\+00:00|\+00|\+08:00))")
_SLOTS = re.compile(
    rb"(?P<id>" + UUID_RE.pattern + rb")|" + _INSTANT.pattern + rb""
    rb"|(?P<hex>(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f]))"
    rb"|(?P<words>\d{1,2}" + "月".encode() + rb"\d{1,2}" + "日 ".encode() + rb"\d\d:\d\d)"
    rb"|(?P<reference>\d{6}-\d{8}-\d{6})"
    rb"|\x00(?P<mark>[^\x00]+)\x00"
    rb"|(?P<place>" + _PLACE + rb")"
    rb"|(?P<pair>" + b"|".join(_PAIRS) + rb")"
)


@dataclass(frozen=True)
class Form:
    """The rows of one table as one bytes format, and which slots fill it."""

    text: bytes
    fill: Callable[[Sequence[bytes]], Any]


@dataclass(frozen=True)
class Sealed:
    """What the vault of one appeal holds; the phone is drawn for each clone."""

    id_slot: int
    person: int
    fields: dict[str, Any]


@dataclass(frozen=True)
class Template:
    """One story, ready to be cloned."""

    life: str
    open: bool
    weight: float
    lead: str
    appeals: int
    first: int
    """epoch second of the first appeal; orders the clones of a week"""
    people: int
    slots: list[Slot]
    forms: dict[Table, Form]
    sealed: list[Sealed]
    positions: list[int]
    """slots of the journal's positions, one for each event: filled when the head of the journal is locked"""
    labels: list[tuple[str, int, dict[str, int]]]
    """model, epoch second and counts of each first label"""


def compile_all(found: Rehearsal, seed: int, vault_key: str) -> list[Template]:
    """All stories of a rehearsal."""
    return [
        _Compiler(found, story, f"{seed}/{number}", vault_key).template() for number, story in enumerate(found.stories)
    ]


class _Compiler:
    """Finds the slots of one story."""

    def __init__(self, found: Rehearsal, story: Played, name: str, vault_key: str) -> None:
        self.found = found
        self.story = story
        self.name = name
        self.vault_key = vault_key
        self.slots: dict[Slot, int] = {}
        self.after = found.end.timestamp() + 60 * 86400
        self._real = [real for real, _ in found.turned]
        snapshots = [
            orjson.loads(_field(row, found.columns["intake", "appeals"], "snapshot"))
            for row in self.rows("intake", "appeals")
        ]
        self.snapshots = {one["id"].encode(): one for one in snapshots}
        self.people: dict[bytes, int] = {}
        for one in snapshots:
            if one["reporter"]["pseudonym"]:
                self.people.setdefault(one["reporter"]["pseudonym"].encode(), len(self.people))
        self.tokens = {
            digest.encode(): (number, place)
            for number, one in enumerate(snapshots)
            for place, digest in enumerate(one["rating_token_sha256"])
        }
        self.references = {one["reference_no"].encode(): number for number, one in enumerate(snapshots)}
        self.numbers = {one["id"].encode(): number for number, one in enumerate(snapshots)}
        self.externals = {
            _field(row, found.columns["intake", "external_keys"], "digest")[3:]: self.numbers[
                _field(row, found.columns["intake", "external_keys"], "appeal_id")
            ]
            for row in self.rows("intake", "external_keys")
        }
        self.ids = self._ids()
        self.minutes: dict[bytes, int] = {}
        for match in _INSTANT.finditer(b"".join(self.rows("journal", "events"))):
            second = self._second(match["instant"], match["rest"])
            self.minutes.setdefault(in_words(second), second)

    def rows(self, schema: str, table: str) -> list[bytes]:
        return self.story.rows.get((schema, table), [])

    def template(self) -> Template:
        forms = {table: self._form(table, rows) for table, rows in self.story.rows.items()}
        first = min(int(datetime.fromisoformat(one["received_at"]).timestamp()) for one in self.snapshots.values())
        sealed = [self._sealed(number, one) for number, one in enumerate(self.snapshots.values())]
        orders = self.rows("dispatch", "work_orders")
        lead = _field(orders[0], self.found.columns["dispatch", "work_orders"], "lead").decode() if orders else ""
        return Template(
            self.story.life,
            self.story.open,
            self.story.weight,
            lead,
            len(self.snapshots),
            first,
            len(self.people),
            list(self.slots),
            forms,
            sealed,
            [self.slots["position", number] for number in range(len(self.rows("journal", "events")))],
            list(self._labels()),
        )

    def _sealed(self, number: int, snapshot: dict[str, Any]) -> Sealed:
        pseudonym = snapshot["reporter"]["pseudonym"]
        fields: dict[str, Any] = {"text": snapshot["text"]}
        if pseudonym:
            fields["name"] = "市民"
        if number in self.externals.values():
            fields["external_id"] = ""
        slot = self.slots["id", *self.ids[snapshot["id"].encode()]]
        return Sealed(slot, self.people[pseudonym.encode()] if pseudonym else -1, fields)

    def _labels(self) -> Any:
        columns = self.found.columns["journal", "events"]
        for row in self.rows("journal", "events"):
            if _field(row, columns, "type") == b"label.classified":
                after = orjson.loads(_plain(_field(row, columns, "data")))["after"]
                counts = {
                    "labelled": 1,
                    "in_review": int(after["needs_review"]),
                    "degraded": int(after["degraded"]),
                    "urgent": int(after["class"] == "urgent"),
                }
                yield after["model"], self._column_second(row, columns, "time"), counts

    def _ids(self) -> dict[bytes, tuple[int, bytes]]:
        """Business millisecond and fixed middle part of each id; ids of one instant keep their order."""
        seen = sorted({name for rows in self.story.rows.values() for row in rows for name in UUID_RE.findall(row)})
        found: dict[bytes, tuple[int, bytes]] = {}
        last = 0
        for place, name in enumerate(seen):
            real = int(name[:8] + name[9:13], 16)
            business = int(self._business(real).timestamp() * 1000)
            last = max(business, last + 1) if last >= business else business
            digest = hashlib.sha256(f"{self.name}/{place}".encode()).hexdigest().encode()
            middle = (
                b"7"
                + digest[:3]
                + b"-"
                + b"89ab"[digest[3] % 4 : digest[3] % 4 + 1]
                + digest[4:7]
                + b"-"
                + digest[7:11]
            )
            found[name] = (last, middle)
        return found

    def _business(self, real_ms: int) -> datetime:
        return self.found.turned[max(0, bisect_right(self._real, real_ms) - 1)][1]

    def _second(self, text: bytes, rest: bytes) -> int:
        """Epoch second of an instant as written; of a real one that of the business instant at which it was written."""
        moment = datetime.fromisoformat(text.decode()).replace(tzinfo=UTC)
        second = int(moment.timestamp()) - (LOCAL_S if rest.endswith(b"+08:00") else 0)
        return int(self._business(second * 1000 + 999).timestamp()) if second > self.after else second

    def _column_second(self, row: bytes, columns: list[str], name: str) -> int:
        match = _SLOTS.fullmatch(_field(row, columns, name))
        assert match is not None
        return self._second(match["instant"], match["rest"])

    def _form(self, table: Table, rows: list[bytes]) -> Form:
        columns = self.found.columns[table]
        text = b"".join(self._marked(table, row, columns, number) for number, row in enumerate(rows))
        parts: list[bytes] = []
        used: list[int] = []
        at = 0
        for match in _SLOTS.finditer(text):
            slot = self._slot(match)
            if slot is None:
                continue
            parts.append(text[at : match.start()].replace(b"%", b"%%"))
            parts.append(b"%b")
            used.append(self.slots.setdefault(slot, len(self.slots)))
            at = match.end("instant") if match["instant"] else match.end()
        parts.append(text[at:].replace(b"%", b"%%"))
        fill: Callable[[Sequence[bytes]], Any] = itemgetter(*used)
        return Form(b"".join(parts), fill)

    def _marked(self, table: Table, row: bytes, columns: list[str], number: int) -> bytes:
        """Columns whose slot their text alone does not tell."""
        if table == JOURNAL:
            return _with(row, columns, {"position": _MARK % b"position %d" % number, "traceparent": b"\\N"})
        if table == ("intake", "vault"):
            sealed = _MARK % b"sealed %d" % self.numbers[_field(row, columns, "appeal_id")]
            return _with(row, columns, {"key_id": self.vault_key.encode(), "sealed": b"\\\\x" + sealed})
        if table[0] == "evaluate" and "period" in columns and _field(row, columns, "period") != b"\\N":
            return _with(row, columns, {"period": _MARK % b"month %d" % self._month(table[1], row, columns)})
        return row

    def _month(self, table: str, row: bytes, columns: list[str]) -> int:
        """The instant whose month a fact of evaluate counts in (services/evaluate/handlers.py)."""
        if table == "cases":
            return self._column_second(row, columns, "closed_at")
        if table == "completions":
            return self._column_second(row, columns, "completed_at")
        if table == "false_completions":
            return self._column_second(row, columns, "decided_at")
        if table == "moves":
            order, sequence = _field(row, columns, "work_order_id"), _field(row, columns, "sequence")
            named = self.found.columns["journal", "events"]
            for event in self.rows("journal", "events"):
                if (_field(event, named, "subject"), _field(event, named, "sequence")) == (order, sequence) and _field(
                    event, named, "topic"
                ) == b"dispatch.work-orders.v1":
                    return self._column_second(event, named, "time")
            raise LookupError(f"no event {order!r}/{sequence!r}")
        named = self.found.columns["dispatch", "work_orders"]
        for order_row in self.rows("dispatch", "work_orders"):
            if _field(row, columns, "appeal_id") in order_row:
                return self._column_second(order_row, named, "opened_at")
        raise LookupError("a repeat without its order")

    def _slot(self, match: re.Match[bytes]) -> Slot | None:
        if name := match["id"]:
            return ("id", *self.ids[name])
        if text := match["instant"]:
            second = self._second(text, match["rest"])
            kind = "local" if match["rest"].endswith(b"+08:00") else "utc" if text[10:11] == b"T" else "column"
            return (kind, second)
        if text := match["hex"]:
            if text in self.tokens:
                return ("token", *self.tokens[text])
            if text in self.people:
                return ("pseudonym", self.people[text])
            if text in self.externals:
                return ("external", self.externals[text])
            return None
        if text := match["words"]:
            return ("words", self.minutes[text]) if text in self.minutes else None
        if text := match["reference"]:
            number = self.references.get(text)
            if number is None:
                return None
            received = list(self.snapshots.values())[number]["received_at"]
            return ("reference", number, int(datetime.fromisoformat(received).timestamp()))
        if text := match["mark"]:
            kind, _, value = text.decode().partition(" ")
            return (kind, int(value))
        return ("place",) if match["place"] else ("pair", _PAIRS.index(match["pair"]))


def in_words(second: int) -> bytes:
    """An instant as the timeline says it (services/intake/words)."""
    local = datetime.fromtimestamp(second, ZONE)
    return f"{local.month}月{local.day}日 {local:%H:%M}".encode()


def _field(row: bytes, columns: list[str], name: str) -> bytes:
    return row[:-1].split(b"\t")[columns.index(name)]


def _with(row: bytes, columns: list[str], values: dict[str, bytes]) -> bytes:
    fields = row[:-1].split(b"\t")
    for name, value in values.items():
        fields[columns.index(name)] = value
    return b"\t".join(fields) + b"\n"


def _plain(text: bytes) -> bytes:
    """A COPY field without its escapes."""
    return text.replace(b"\\\\", b"\\")
