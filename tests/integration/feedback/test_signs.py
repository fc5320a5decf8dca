"""Ratings from one device and in the same words are told to the centre; what was kept for it goes."""

from datetime import datetime, timedelta
from typing import Any

from shared.clock import ZONE
from shared.testing.harness import Harness
from tests.integration.feedback.stories import Case

PRAISE = "非常满意，工作人员态度很好！"


async def rated(hub: Harness, unit: str, browser: str, words: str | None = None, pseudonym: str | None = None) -> Case:
    case = Case(hub, unit=unit, pseudonym=pseudonym)
    await case.ready_to_rate()
    body = {"contacted": True, "solved": True, "satisfaction": 5, "words": words}
    headers = {"User-Agent": browser}
    answer = await hub.http.post(f"/v1/ratings/{case.tokens[0]}", json=body, headers=headers)
    assert answer.status_code == 200, answer.text
    return case


async def signs(hub: Harness) -> list[tuple[str, str, int, int, int]]:
    await hub.settle()
    events = await hub.events("feedback.signs.v1")
    found = []
    for event in events:
        sign = event.data.after
        assert event.key == f"{sign.period}/{sign.unit}/{sign.sign}"
        found.append((sign.unit, sign.sign, sign.number, sign.of, event.sequence))
    return sorted(found)


async def test_signs_are_found_at_night_and_their_traces_are_forgotten(server_url: str) -> None:
    async with Harness.fresh(server_url, "feedback") as hub:
        hub.clock.set(datetime(2026, 11, 2, 10, 0, tzinfo=ZONE))
        clerk = [await rated(hub, "u1", "Clerk/1.0", pseudonym=f"p{n}") for n in range(5)]
        await rated(hub, "u1", "Citizen/1.0", pseudonym="p9")
        for _ in range(6):  # one citizen who often calls, always from his own phone
            await rated(hub, "u2", "Often/1.0", pseudonym="often")
        for n in range(5):  # different devices, the same words but for a sign
            await rated(hub, "u3", f"Phone/{n}", PRAISE + "。" * n, pseudonym=f"q{n}")
        for n in range(6):  # short words are alike by nature
            await rated(hub, "u4", f"Phone/{n}", "很好，谢谢", pseudonym=f"r{n}")
        assert await signs(hub) == []
        await hub.advance(17 * 3600 + 60)
        assert await signs(hub) == [("u1", "one_device", 5, 6, 1), ("u3", "same_words", 5, 5, 1)]
        (first,) = await hub.events("feedback.signs.v1", key="2026-11/u1/one_device")
        assert first.data.after.appeal_ids == [case.id for case in clerk]
        everything = await hub.query("SELECT * FROM feedback.rated")
        assert "Clerk" not in repr(everything)
        assert "127.0.0.1" not in repr(everything)
        await hub.advance(86_400)
        assert len(await signs(hub)) == 2, "what is known is not told again"
        await rated(hub, "u1", "Clerk/1.0", pseudonym="p7")
        await hub.advance(86_400)
        assert (await signs(hub))[1] == ("u1", "one_device", 6, 7, 2)
        devices = await _devices(hub)
        await hub.advance(28 * 86_400)  # December: the key of November is gone, its digests are not yet
        assert await hub.query("SELECT * FROM feedback.rating_keys") == []
        assert await _devices(hub) == devices
        await hub.advance(20 * 86_400)
        assert await hub.query("SELECT * FROM feedback.rated") == []
        armed = await hub.query("SELECT * FROM feedback.timers WHERE kind = 'signs'")
        assert armed == [], "nothing is left to look at"
        await rated(hub, "u1", "Clerk/1.0", pseudonym="p1")
        assert (await _devices(hub)).isdisjoint(devices), "another month, another key"
        (timer,) = await hub.query("SELECT due_at FROM feedback.timers WHERE kind = 'signs'")
        assert timer["due_at"] - hub.clock.now() <= timedelta(days=1)


async def _devices(hub: Harness) -> set[Any]:
    return {row["device"] for row in await hub.query("SELECT device FROM feedback.rated")}
