"""Fills the blanks of a template: one case like the one that was played, at another time, of another citizen."""

import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from services.intake.domain import appeal as rules
from services.intake.keys import Keys
from services.intake.receiving import external_digest
from services.intake.vault import Vault
from tools.seed.stories import PLACE
from tools.seed.templates import JOURNAL, LOCAL_S, Table, Template

_FIRST = "锦翠碧金银云海星春秋明华兴福祥瑞永安康乐凤龙鹏鹤松竹梅兰桂荷"
_SECOND = "绣竹波湖桥滨岸辰晖园泰庭府苑湾台阁轩居郡城港岭泉溪塘洲屿坊里"
_THIRD = "苑庭里坊居阁"
PLACES: Final = len(_FIRST) * len(_SECOND) * len(_THIRD)
_CLOCK = [b"%02d:%02d:%02d" % (s // 3600, s // 60 % 60, s % 60) for s in range(86400)]


@dataclass
class Chunk:
    """Rows of some clones, ready for COPY; the journal's are told when their positions are known."""

    rows: dict[Table, list[bytes]] = field(default_factory=dict)
    told: list[tuple[Template, list[bytes]]] = field(default_factory=list)
    labels: dict[tuple[str, str], Counter[str]] = field(default_factory=dict)
    appeals: int = 0

    @property
    def events(self) -> int:
        """How many the journal gets."""
        return sum(len(template.positions) for template, _ in self.told)

    def journal(self, position: int, step: int) -> Iterator[bytes]:
        """Rows of the journal, `step` clones at a time; the first has `position`."""
        for start in range(0, len(self.told), step):
            parts = []
            for template, values in self.told[start : start + step]:
                for place, slot in enumerate(template.positions, position):
                    values[slot] = b"%d" % place
                position += len(template.positions)
                form = template.forms[JOURNAL]
                parts.append(form.text % form.fill(values))
            yield b"".join(parts)


class Days:
    """Days as they are written, each made once."""

    def __init__(self) -> None:
        self._made: dict[int, tuple[bytes, bytes, bytes, bytes]] = {}

    def of(self, number: int) -> tuple[bytes, bytes, bytes, bytes]:
        """2026-11-02, 20261102, 2026-11 and 11月2日 of a day since 1970."""
        made = self._made.get(number)
        if made is None:
            day = datetime.fromtimestamp(number * 86400, UTC)
            made = self._made[number] = (
                f"{day:%Y-%m-%d}".encode(),
                f"{day:%Y%m%d}".encode(),
                f"{day:%Y-%m}".encode(),
                f"{day.month}月{day.day}日 ".encode(),
            )
        return made


class Copier:
    """Makes clones for one platform with the keys of the hub that is seeded, so that its codes, links and seals are
    those that intake would have made."""

    def __init__(self, keys: Keys, platform: str, seed: int) -> None:
        self.keys = keys
        self.platform = platform
        self.seed = seed
        self.vault = Vault(keys.vault, keys.current)
        self.days = Days()

    def add(
        self,
        chunk: Chunk,
        template: Template,
        shift: int,
        serial: int,
        reference: int,
        chance: random.Random,
        *,
        told: bool = True,
    ) -> None:
        """One more clone, `shift` seconds after its template. `serial` tells it from all others of this seed; its
        appeals take `reference` and the numbers after it. `told`: the journal has its events."""
        tail = b"%08x" % serial
        place = _place(chance)
        pairs = (place[:2].encode(), place[1:].encode())
        name = place.encode()
        phones = [f"100{chance.randrange(10**8):08d}" for _ in range(template.people)]
        days = self.days.of
        values: list[bytes] = []
        ids: dict[int, str] = {}
        later: list[int] = []
        for number, slot in enumerate(template.slots):
            kind = slot[0]
            if kind == "id":
                head = b"%012x" % (slot[1] + shift * 1000)
                values.append(b"%b-%b-%b%b" % (head[:8], head[8:], slot[2], tail))
            elif kind == "utc":
                day, second = divmod(slot[1] + shift, 86400)
                values.append(b"%bT%b" % (days(day)[0], _CLOCK[second]))
            elif kind == "column":
                day, second = divmod(slot[1] + shift, 86400)
                values.append(b"%b %b" % (days(day)[0], _CLOCK[second]))
            elif kind == "local":
                day, second = divmod(slot[1] + shift + LOCAL_S, 86400)
                values.append(b"%bT%b" % (days(day)[0], _CLOCK[second]))
            elif kind == "place":
                values.append(name)
            elif kind == "pair":
                values.append(pairs[slot[1]])
            elif kind == "words":
                day, second = divmod(slot[1] + shift + LOCAL_S, 86400)
                values.append(days(day)[3] + _CLOCK[second][:5])
            elif kind == "month":
                values.append(days((slot[1] + shift + LOCAL_S) // 86400)[2])
            elif kind == "reference":
                day = (slot[2] + shift + LOCAL_S) // 86400
                values.append(b"%b-%b-%06d" % (self.platform.encode(), days(day)[1], (reference + slot[1]) % 1_000_000))
            elif kind == "external":
                values.append(external_digest(self.platform, self._external(serial, slot[1])).hex().encode())
            elif kind == "pseudonym":
                values.append((rules.pseudonym(self.keys.pseudonym, phones[slot[1]], None, False) or "").encode())
            else:
                values.append(b"")
                if kind != "position":  # token, sealed: need the ids
                    later.append(number)
        for place_in, held in enumerate(template.sealed):
            ids[place_in] = values[held.id_slot].decode()
        digests: dict[int, list[str]] = {}
        for number in later:
            kind, appeal = template.slots[number][:2]
            if kind == "token":
                if appeal not in digests:
                    digests[appeal] = rules.rating_token_digests(rules.appeal_secret(self.keys.codes, ids[appeal]))
                values[number] = digests[appeal][template.slots[number][2]].encode()
            else:
                held = template.sealed[appeal]
                fields: dict[str, Any] = {**held.fields, "text": held.fields["text"].replace(PLACE, place)}
                if held.person >= 0:
                    fields["phone"] = phones[held.person]
                if "external_id" in fields:
                    fields["external_id"] = self._external(serial, appeal)
                values[number] = self.vault.seal(ids[appeal], fields).hex().encode()
        for table, form in template.forms.items():
            if table != JOURNAL:
                chunk.rows.setdefault(table, []).append(form.text % form.fill(values))
        if told and template.positions:
            chunk.told.append((template, values))
        for model, second, counts in template.labels:
            day = days((second + shift + LOCAL_S) // 86400)[0].decode()
            chunk.labels.setdefault((model, day), Counter()).update(counts)
        chunk.appeals += template.appeals

    def _external(self, serial: int, appeal: int) -> str:
        return f"seed-{self.seed}-{serial}-{appeal}"


def _place(chance: random.Random) -> str:
    number = chance.randrange(PLACES)
    first, rest = divmod(number, len(_SECOND) * len(_THIRD))
    second, third = divmod(rest, len(_THIRD))
    return _FIRST[first] + _SECOND[second] + _THIRD[third]
