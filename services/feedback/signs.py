"""Signs that ratings were made: many from one device, many in the same words. Told to the centre, never scored.

What an answer leaves for this (`rated`) is a digest of the device, keyed by a random key of the month, and one of the
words. The key goes when its month is over, the digests after `KEPT`; what leaves the service are counts and the cases
to look at (docs/privacy.md, docs/adr/0027).
"""

from __future__ import annotations

import hmac
import secrets
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime, time, timedelta
from typing import Any, Final

from services.feedback.domain import CallingHours, Fact, FactKind
from services.feedback.tables import rated, rating_keys, signs
from shared.clock import period_bounds, period_of
from shared.db import bulk
from shared.events.catalog.signs import Sign, SignFound
from shared.outbox.uow import Timer, Uow

TIMER: Final = "signs"
AT: Final = time(3)
"""of the day, in the platform's zone"""
KEPT: Final = timedelta(days=45)
LATE: Final = timedelta(days=10)
"""so long after its end a month is looked at still"""
FEWEST: Final = 5
"""ratings of a unit from one device, or in the same words, below which nothing is said"""
REPORTERS: Final = 3
"""one citizen who often calls is no sign: so many different ones (or as many anonymous appeals) must share a device"""
SHORTEST: Final = 10
"""letters and figures; shorter words ("很好，谢谢") are alike by nature"""
SHOWN: Final = 20

_ALIKE: Final = {
    "one_device": ("device", f"count(*) >= {FEWEST} AND count(DISTINCT coalesce(reporter, appeal_id)) >= {REPORTERS}"),
    "same_words": ("words", f"count(*) >= {FEWEST}"),
}


class Signs:
    """Keeps what answers leave and looks through it every night."""

    def __init__(self, hours: CallingHours) -> None:
        self.zone = hours.zone
        self._keys: dict[str, bytes] = {}

    async def rows(
        self, uow: Uow, told: Sequence[Fact], devices: Mapping[str, str], reporters: Mapping[str, str | None]
    ) -> list[dict[str, Any]]:
        """The rows of `rated` for the answers among the facts. `devices`: address and browser of an appeal's answer;
        `reporters`: pseudonyms by appeal."""
        rows = []
        for fact in told:
            if fact.kind is not FactKind.ANSWERED:
                continue
            asked, appeal_id = fact.after.rounds[-1], fact.after.appeal_id
            key = await self._key(uow, period_of(fact.at, self.zone), fact.at)
            words = "".join(sign for sign in (asked.answer and asked.answer.words) or "" if sign.isalnum())
            rows.append(
                {
                    "appeal_id": appeal_id,
                    "round": asked.number,
                    "work_order_id": asked.completion.work_order_id,
                    "unit": asked.completion.unit,
                    "reporter": reporters.get(appeal_id),
                    "at": fact.at,
                    "device": _digest(key, devices[appeal_id]) if appeal_id in devices else None,
                    "words": _digest(key, words.lower()) if len(words) >= SHORTEST else None,
                }
            )
        return rows

    async def on_night(self, timers: Sequence[Timer], uow: Uow) -> None:
        """Tell what is new of this month and the last one, and forget what is old."""
        now = timers[-1].due_at
        for period in sorted({period_of(now - LATE, self.zone), period_of(now, self.zone)}):
            await self._tell(uow, period)
        await uow.pg.execute(f"DELETE FROM {rated.fullname} WHERE at < $1", now - KEPT)
        await uow.pg.execute(f"DELETE FROM {rating_keys.fullname} WHERE period < $1", period_of(now, self.zone))
        if await uow.pg.fetchval(
            f"SELECT EXISTS (SELECT FROM {rated.fullname}) OR EXISTS (SELECT FROM {rating_keys.fullname})"
        ):
            uow.arm(Timer(TIMER, "", self._next_night(now)))

    async def _tell(self, uow: Uow, period: str) -> None:
        start, end = period_bounds(period, self.zone)
        found: dict[tuple[str, str], list[Any]] = defaultdict(list)
        for name, (column, bound) in _ALIKE.items():
            for row in await uow.pg.fetch(
                f"SELECT unit, count(*)::int AS n, array_agg(appeal_id ORDER BY at, appeal_id) AS appeals"
                f" FROM {rated.fullname} WHERE at >= $1 AND at < $2 AND {column} IS NOT NULL"
                f" GROUP BY unit, {column} HAVING {bound} ORDER BY unit, n DESC, appeals",
                start,
                end,
            ):
                found[row["unit"], name].append(row)
        if not found:
            return
        whole = dict(
            await uow.pg.fetch(
                f"SELECT unit, count(*)::int FROM {rated.fullname} WHERE at >= $1 AND at < $2 GROUP BY unit", start, end
            )
        )
        ids = {f"{period}/{unit}/{name}": (unit, name, groups) for (unit, name), groups in sorted(found.items())}
        known = {
            row["id"]: row
            for row in await uow.pg.fetch(f"SELECT * FROM {signs.fullname} WHERE id = ANY($1) FOR UPDATE", list(ids))
        }
        told = []
        for key, (unit, name, groups) in ids.items():
            number = sum(group["n"] for group in groups)
            before = known.get(key)
            if before is not None and before["number"] == number:
                continue
            sequence = before["sequence"] + 1 if before else 1
            told.append({"id": key, "sequence": sequence, "number": number})
            sign = Sign(
                id=key,
                period=period,
                unit=unit,
                sign=name,
                number=number,
                of=whole[unit],
                groups=len(groups),
                appeal_ids=[appeal for group in groups for appeal in group["appeals"]][:SHOWN],
            )
            uow.emit(SignFound(actor="system:feedback", after=sign), key=key, sequence=sequence)
        await bulk.insert(uow.pg, signs, told, conflict=("id",), update=("sequence", "number"))

    async def _key(self, uow: Uow, period: str, at: datetime) -> bytes:
        known = self._keys.get(period)
        if known is not None:
            return known
        made: bytes | None = await uow.pg.fetchval(
            f"INSERT INTO {rating_keys.fullname} VALUES ($1, $2) ON CONFLICT DO NOTHING RETURNING key",
            period,
            secrets.token_bytes(32),
        )
        if made is not None:  # the month's first answer: somebody looks from now on
            uow.arm(Timer(TIMER, "", self._next_night(at)))
        key = made or await uow.pg.fetchval(f"SELECT key FROM {rating_keys.fullname} WHERE period = $1", period)
        uow.after_commit(lambda: self._keep(period, key))
        return bytes(key)

    def _keep(self, period: str, key: bytes) -> None:
        self._keys = {period: key}

    def _next_night(self, at: datetime) -> datetime:
        local = at.astimezone(self.zone)
        night = datetime.combine(local.date(), AT, self.zone)
        return night if night > local else night + timedelta(days=1)


def _digest(key: bytes, material: str) -> str:
    return hmac.digest(key, material.encode("utf-8", "replace"), "sha256")[:16].hex()
