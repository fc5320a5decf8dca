"""Three platforms that hand cases to each other while lines break and one of them is killed; judged by their tables."""

import asyncio
import base64
import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import psutil

from services.intake.domain.appeal import query_code
from shared.ids import uuid7
from tests.bench.stack import ROOT, TOKEN, Stack, environment, free_port, machine, wait_ready
from tests.federation.proxy import Line
from tests.integration.federation.towns import Atlas
from tools.seed.cost import load_average

PROVINCE, EAST, WEST = "460000", "460100", "460200"
PLACES = {EAST: "460106", WEST: "460204"}
"""a district of each city"""
HEADERS = {"Authorization": f"Bearer {TOKEN}"}
TEXTS = (
    "马路上的路灯坏了三天，晚上很黑，请派人来修。",
    "小区门口的垃圾没有人清运，气味难闻。",
    "流动摊贩占满人行道，走不过去，希望城管来管。",
)
SEATS = 50
"""people who act at once in a city"""
EQUAL_WITHIN_S = 60.0
NOT_NOW = (httpx.HTTPError, asyncpg.PostgresError, asyncpg.InterfaceError, OSError, ValueError, KeyError)
"""what meets who asks a platform that is killed or starts just now: he asks again"""


@dataclass
class Form:
    """How many hand-overs, how fast, how bad."""

    n: int = 2_000
    rate: float = 50.0
    seed: int = 1
    down_s: float = 600.0
    """how long the receiver's line is down"""
    cut: float = 0.05
    complete: float = 0.3
    """share of the arrived cases that are answered while all this goes on"""
    give_up_s: float = 900.0
    direct: bool = False
    """two cities under an agreement, without the province between them: a third less to start"""


@dataclass
class Town:
    """One platform: its processes, its database, its line."""

    code: str
    stack: Stack
    line: Line
    atlas: Atlas
    process: subprocess.Popen[bytes] | None = None
    pool: Any = None
    """connections to its database `at` that address, kept: those who look must not be what is measured"""
    at: str = ""
    posted: dict[str, str] = field(default_factory=dict)
    """appeal id → reference number"""

    def start(self) -> None:
        variables = environment(
            self.stack.folder,
            self.stack.port,
            {
                "SUSHU_PLATFORM": self.code,
                "SUSHU_PLATFORMS": str(self.atlas.path),
                "SUSHU_KEY_DIR": str(self.atlas.key_dir(self.code)),
                "SUSHU_BASE_URL": self.atlas.urls[self.code],
            },
        )
        with (self.stack.folder.parent / f"{self.code}.out").open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "deploy.local", "run"], cwd=ROOT, env=variables, stdout=output, stderr=output
            )

    def wait(self) -> None:
        wait_ready(self.stack, self.process, 180)

    def kill(self) -> None:
        """SIGKILL to every process of the platform, its database included."""
        assert self.process is not None
        found = [psutil.Process(self.process.pid), *psutil.Process(self.process.pid).children(recursive=True)]
        for pids in self.stack.facts["pids"].values():
            for pid in pids if isinstance(pids, list) else [pids]:
                if not pid:
                    continue
                with contextlib.suppress(psutil.NoSuchProcess):
                    found += [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
        for one in found:
            with contextlib.suppress(psutil.NoSuchProcess):
                one.send_signal(signal.SIGKILL)
        psutil.wait_procs(found, timeout=20)
        self.process.wait(20)

    def stop(self) -> None:
        if self.process is None or self.process.poll() is not None:
            return
        self.process.terminate()
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()

    async def rows(self, sql: str, *values: Any) -> list[Any]:
        url = self.stack.facts["database_url"]
        if url != self.at:  # another one after it was killed
            self.close()
            self.pool = asyncpg.create_pool(url, min_size=0, max_size=3, timeout=5, command_timeout=20)
            self.at = url
            await self.pool
        return list(await self.pool.fetch(sql, *values))

    def close(self) -> None:
        if self.pool is not None:
            self.pool.terminate()


async def run(form: Form, say: Callable[[str], None] = print) -> dict[str, Any]:
    """Play and judge; the result as one JSON object. `result["faults"]` must be empty."""
    with tempfile.TemporaryDirectory(prefix="sushu-federation-", ignore_cleanup_errors=True) as name:
        towns = _towns(Path(name), form)
        try:
            for town in towns.values():
                await town.line.start()
                town.start()
            await asyncio.gather(*(asyncio.to_thread(town.wait) for town in towns.values()))
            say(f"{len(towns)} platforms are ready")
            return await _Play(towns, form, say).run()
        finally:
            for town in towns.values():
                town.close()
            await asyncio.gather(*(asyncio.to_thread(town.stop) for town in towns.values()))
            for town in towns.values():
                await town.line.stop()
            if os.environ.get("KEEP"):
                shutil.copytree(name, os.environ["KEEP"], ignore=shutil.ignore_patterns(".s.*"), dirs_exist_ok=True)


def _towns(folder: Path, form: Form) -> dict[str, Town]:
    levels: dict[str, tuple[int, str | None]] = {EAST: (2, None), WEST: (2, None)}
    if form.direct:
        atlas = Atlas(folder, levels, [{"platforms": [EAST, WEST], "until": "2030-12-31"}])
    else:
        levels = {PROVINCE: (1, None), EAST: (2, PROVINCE), WEST: (2, PROVINCE)}
        atlas = Atlas(folder, levels)
    dice = random.Random(form.seed)
    found = {}
    for code in levels:
        data = folder / f"data-{code}"
        data.mkdir()
        port = free_port()
        line = Line(int(atlas.urls[code].rpartition(":")[2]), port, random.Random(dice.random()), cut=form.cut)
        found[code] = Town(code, Stack("embedded", data, port), line, atlas)
    return found


class _Play:
    """The load, the disturbances, and those who watch."""

    def __init__(self, towns: dict[str, Town], form: Form, say: Callable[[str], None]) -> None:
        self.towns = towns
        self.form = form
        self.say = say
        self.dice = random.Random(form.seed)
        self.faults: list[str] = []
        self.looks = 0
        self.answered: set[str] = set()
        self.ghosts = Counter[str]()
        self.back = 0.0
        """when the last disturbance was over: the killed platform was ready again"""
        self.used_s: dict[str, float] = {}
        """CPU seconds of all platforms, by process, until then"""
        self.client = httpx.AsyncClient(headers=HEADERS, timeout=30, trust_env=False)

    async def run(self) -> dict[str, Any]:
        began = time.monotonic()
        async with self.client:
            watching = asyncio.create_task(self._watch())
            working = asyncio.create_task(self._work())
            haunting = asyncio.create_task(self._haunt())
            posting = asyncio.create_task(self._post())
            await asyncio.sleep(self.form.n / self.form.rate / 3)
            await self._disturb()
            await posting
            equal_s = await self._until_equal()
            cpu_s = {name: round(used - self.used_s.get(name, 0.0), 1) for name, used in self._cpu_s().items()}
            load = load_average()
            for task in (working, haunting, watching):
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task  # raises what ended it early: a watch that nobody keeps proves nothing
            rated = await self._one_rating()
            told = await self._judge()
        if equal_s > EQUAL_WITHIN_S:
            self.faults.append(f"states were equal only {equal_s:.0f} s after the killed platform was ready again")
        return {
            **machine(),
            "handed_over": sum(len(town.posted) for town in self.towns.values()),
            "rate": self.form.rate,
            "line_down_s": self.form.down_s,
            "equal_after_s": round(equal_s, 1),
            "cpu_s_until_equal": cpu_s,
            "load_average": load,
            "requests": sum(town.line.requests for town in self.towns.values()),
            "cut_after_send": sum(town.line.cuts for town in self.towns.values()),
            "receipts_repeated_late": sum(self.ghosts.values()),
            "answers_to_these": dict(self.ghosts),
            "looks_at_owners": self.looks,
            "answered": len(self.answered),
            "rated_through_both": rated,
            **told,
            "seconds": round(time.monotonic() - began, 1),
            "faults": self.faults[:20],
        }

    # --- load -----------------------------------------------------------------------------------------------------

    async def _post(self) -> None:
        """Citizens tell each city about the other one, at the planned times."""
        began, waiting = time.monotonic(), set()
        for number in range(self.form.n):
            await asyncio.sleep(max(0.0, began + number / self.form.rate - time.monotonic()))
            here, there = (EAST, WEST) if number % 2 else (WEST, EAST)
            task = asyncio.create_task(self._one(self.towns[here], PLACES[there], number))
            waiting.add(task)
            task.add_done_callback(waiting.discard)
        await asyncio.gather(*waiting)

    async def _one(self, town: Town, region: str, number: int) -> None:
        body = {
            "channel": "web",
            "text": f"{TEXTS[number % len(TEXTS)]}（第{number}件）",
            "external_id": f"load-{number}-{uuid7()}",
            "reporter": {"name": "王小明", "phone": f"139{number:08d}"},
            "location": {"region_code": region},
        }
        while True:  # the platform may be killed just now; the external id makes the repetition harmless
            try:
                answer = await self.client.post(f"{town.stack.url}/v1/appeals", json=body)
                if answer.status_code in (200, 201):
                    town.posted[answer.json()["id"]] = answer.json()["reference_no"]
                    return
            except httpx.HTTPError:
                pass
            await asyncio.sleep(0.5)

    async def _work(self) -> None:
        """People: labels are reviewed everywhere, some of what arrived is answered."""
        while True:
            for town in (self.towns[EAST], self.towns[WEST]):
                with contextlib.suppress(*NOT_NOW):
                    await self._review(town)
                    await self._answer(town)
            await asyncio.sleep(0.1)

    async def _review(self, town: Town) -> None:
        pending = (await self._get(town, "/v1/work-orders", status="pending", limit=SEATS))["items"]
        await asyncio.gather(
            *(
                self.client.post(
                    f"{town.stack.url}/v1/reviews/{order['appeal_ids'][0]}", json={"matter": order["matter"]}
                )
                for order in pending
            )
        )

    async def _answer(self, town: Town) -> None:
        """The same share of the cases is answered in every run: the last two digits of the hand-over decide."""
        arrived = await town.rows(
            "SELECT h.id, o.id AS order_id FROM intake.handoffs h JOIN dispatch.cases c ON c.appeal_id = h.appeal_id"
            " JOIN dispatch.work_orders o ON o.id = c.work_order_id"
            " WHERE h.role = 'receiver' AND h.state = 'accepted' AND o.status = 'dispatched'"
            "   AND right(h.id, 2) < $1 LIMIT $2",
            f"{round(256 * self.form.complete):02x}",
            SEATS,
        )
        await asyncio.gather(*(self._complete(town, row["id"], row["order_id"]) for row in arrived))

    async def _complete(self, town: Town, handoff_id: str, order_id: str) -> None:
        address = f"{town.stack.url}/v1/work-orders/{order_id}"
        await self.client.post(f"{address}/accept", json={})
        done = await self.client.post(f"{address}/complete", json={"result": "已处理", "solved": True})
        if done.status_code == 200:
            self.answered.add(handoff_id)

    async def _get(self, town: Town, path: str, **params: Any) -> Any:
        answer = await self.client.get(f"{town.stack.url}{path}", params=params)
        answer.raise_for_status()
        return answer.json()

    # --- disturbances ---------------------------------------------------------------------------------------------

    async def _disturb(self) -> None:
        west = self.towns[WEST]
        west.line.down = True
        self.say(f"the line to {WEST} is down")
        await asyncio.sleep(self.form.down_s)
        west.line.down = False
        self.say(f"{WEST} is killed and started again")
        await asyncio.to_thread(west.kill)
        west.start()
        await asyncio.to_thread(west.wait)
        self.say("it is back")
        self.back = time.monotonic()
        self.used_s = self._cpu_s()

    async def _haunt(self) -> None:
        """Receipts that went through long ago come again, freshly signed, in any order."""
        while True:
            await asyncio.sleep(0.2)
            to = self.dice.choice(list(self.towns.values()))
            if not to.line.kept:
                continue
            path, body = self.dice.choice(to.line.kept)
            by = self._signer(to, body)
            headers = to.atlas.signed(by, to.code, "POST", path, body)
            with contextlib.suppress(httpx.HTTPError):
                answer = await self.client.post(f"{to.stack.url}{path}", content=body, headers=headers)
                self.ghosts[str(answer.status_code)] += 1
                if answer.status_code >= 500:
                    self.faults.append(f"a repeated receipt was answered with {answer.status_code}")

    def _signer(self, to: Town, body: bytes) -> str:
        if self.form.direct:
            return WEST if to.code == EAST else EAST
        if to.code != PROVINCE:
            return PROVINCE
        return EAST if json.loads(body).get("state") == "acknowledged" and self.dice.random() < 0.5 else WEST

    # --- verdict --------------------------------------------------------------------------------------------------

    async def _watch(self) -> None:
        """At every look, the receiver first: a case that somebody received belongs to its sender no more."""
        while True:
            await asyncio.sleep(1)
            for there, here in ((EAST, WEST), (WEST, EAST)):
                with contextlib.suppress(*NOT_NOW):
                    taken = await self.towns[there].rows(
                        "SELECT id FROM intake.handoffs WHERE role = 'receiver' AND appeal_id IS NOT NULL"
                    )
                    owned = await self.towns[here].rows(
                        "SELECT h.id FROM dispatch.handoffs h JOIN dispatch.work_orders o ON o.id = h.work_order_id"
                        " WHERE h.id = ANY($1) AND o.status <> 'handed_off'",
                        [row["id"] for row in taken],
                    )
                    self.looks += 1
                    self.faults += [f"{row['id']} has two owners" for row in owned]

    async def _until_equal(self) -> float:
        """Seconds from the last disturbance until all platforms tell the same, what people do meanwhile included."""
        if left := await self._until_nothing(self._unequal, self.form.give_up_s):
            self.faults.append(f"never equal: {left[:3]}")
        return time.monotonic() - self.back

    def _cpu_s(self) -> dict[str, float]:
        """CPU seconds so far: of each platform's hub and database, and of this test with its lines and people."""
        found = {
            f"{town.code} {name}": used / 1000
            for town in self.towns.values()
            for name, used in town.stack.cpu_ms().items()
        }
        return found | {"test": time.process_time()}

    async def _until_nothing(self, look: Callable[[], Awaitable[list[str]]], seconds: float) -> list[str]:
        """Look until nothing is left, for so long at most; what was left at the last look."""
        deadline = time.monotonic() + seconds
        told = 0.0
        while True:
            try:
                left = await look()
            except NOT_NOW as error:
                left = [repr(error)]
            if not left or time.monotonic() > deadline:
                return left
            if time.monotonic() > told + 5:
                told = time.monotonic()
                self.say(f"not yet: {len(left)}, the first of them {left[0]}")
            await asyncio.sleep(1)

    async def _states(self) -> dict[str, dict[str, Any]]:
        """Hand-over → platform → its row."""
        found: dict[str, dict[str, Any]] = {}
        for code, town in self.towns.items():
            rows = await town.rows(
                "SELECT id, role, state, appeal_id, sender, coalesce(told, mirror)::json ->> 'status' AS status"
                " FROM intake.handoffs"
            )
            for row in rows:
                found.setdefault(row["id"], {})[code] = dict(row)
        return found

    async def _unequal(self) -> list[str]:
        states = await self._states()
        posted = sum(len(town.posted) for town in self.towns.values())
        left = [] if len(states) == posted else [f"{posted} appeals, {len(states)} hand-overs"]
        for handoff_id, rows in states.items():
            known = {code: row["state"] for code, row in rows.items()}
            ends = {row["role"]: row["status"] for row in rows.values() if row["role"] != "relay"}
            if len(known) < len(self.towns) or len(set(known.values())) > 1 or "offered" in known.values():
                left.append(f"{handoff_id}: {known}")
            elif ends["sender"] != ends["receiver"] or not ends["receiver"]:
                left.append(f"{handoff_id}: {ends}")
            elif handoff_id in self.answered and "completed" not in known.values():
                left.append(f"{handoff_id}: {known}, but it was answered")
        return left

    async def _one_rating(self) -> bool:
        """A citizen rates, at the receiver, by the way that his own platform shows him; both know it in the end."""
        for town in (self.towns[EAST], self.towns[WEST]):
            rows = await town.rows(
                "SELECT appeal_id FROM intake.handoffs WHERE role = 'sender' AND state = 'completed' LIMIT 1"
            )
            if not rows:
                continue
            appeal_id = rows[0]["appeal_id"]
            codes = json.loads((town.atlas.key_dir(town.code) / "intake.json").read_bytes())["codes"]
            query = {"reference_no": town.posted[appeal_id], "query_code": _query_code(codes, appeal_id)}
            track = await self._get(town, "/v1/track", **query)
            await self._rate(track["rating_url"])
            for _ in range(200):
                shown = (await self._get(town, f"/v1/appeals/{appeal_id}"))["handoff"]
                if shown["state"] == "acknowledged" and shown["rating"]["satisfaction"] == 5:
                    return True
                await asyncio.sleep(0.1)
            self.faults.append(f"the rating did not come back: {shown}")
        return False

    async def _rate(self, url: str) -> None:
        """The citizen's line breaks like every other one: he presses again, and is told when his answer had arrived."""
        for _ in range(20):
            with contextlib.suppress(httpx.HTTPError):
                answer = await self.client.post(url, json={"contacted": True, "solved": True, "satisfaction": 5})
                if answer.status_code != 200 and answer.json().get("code") != "rating_used":
                    self.faults.append(f"rating: {answer.text}")
                return
        self.faults.append("rating: no answer arrived")

    async def _judge(self) -> dict[str, Any]:
        states = await self._states()
        lost = doubled = 0
        for code, there in ((EAST, WEST), (WEST, EAST)):
            appeals = await self.towns[there].rows(
                "SELECT snapshot ->> 'text' AS text, count(*) AS n FROM intake.appeals WHERE source_platform = $1"
                " GROUP BY 1",
                code,
            )
            doubled += sum(row["n"] - 1 for row in appeals)
            lost += len(self.towns[code].posted) - len(appeals)
            kept = await self.towns[code].rows(
                "SELECT count(*) AS n FROM dispatch.work_orders o JOIN dispatch.handoffs h ON h.work_order_id = o.id"
                " WHERE o.status <> 'handed_off'"
            )
            lost += kept[0]["n"]
        if lost or doubled:
            self.faults.append(f"{lost} lost, {doubled} doubled")
        self.faults += await self._until_nothing(self._unfinished, EQUAL_WITHIN_S)
        ends = Counter(row["state"] for rows in states.values() for row in rows.values() if row["role"] == "sender")
        return {"lost": lost, "doubled": doubled, "states": dict(ends)}

    async def _unfinished(self) -> list[str]:
        """What is still to be sent (the acknowledgement of the rating has just been written), or told differently."""
        left = []
        for town in self.towns.values():
            rows = await town.rows("SELECT kind, seq, body, attempts, error FROM intake.peer_messages")
            left += [f"{town.code} still has to send {dict(row)}" for row in rows]
            for name in ("intake", "dispatch", "sla"):
                different = await self._get(town, f"/ops/{name}/reconcile")
                if different["differences"]:
                    left.append(f"{town.code} {name}: {different}")
        return left


def _query_code(codes: str, appeal_id: str) -> str:
    return query_code(base64.b64decode(codes), appeal_id)
