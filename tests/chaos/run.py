"""One run from start to verdict."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from tests.bench import load
from tests.bench.stack import TOKEN, machine
from tests.chaos import evidence, judge
from tests.chaos.conductor import GIVE_UP_S, NORMAL_WITHIN_S, Conductor, Incident
from tests.chaos.ledger import Ledger
from tests.chaos.lives import Lives
from tests.chaos.scene import Scene, scene

RATE = 100.0
LIVES_A_SECOND = 4.0
LINE_EVERY_S = 10.0
LAST_STEP_S = 3.2 * 3600
"""at the end the clock goes so far ahead: past levels 1 and 2 of what is urgent, 1 of most other clocks"""
DRAINED_WITHIN_S = 900.0


@dataclass
class Form:
    """How long and how hard."""

    transport: str
    rounds: int
    seed: int
    short: bool = False
    only: tuple[str, ...] = ()
    """names of disturbances, played in this order instead of all of them in a random one"""
    rate: float = RATE
    lives: float = LIVES_A_SECOND
    calm_s: float = 2.0


async def chaos(form: Form, say: Callable[[str], None] = print) -> dict[str, Any]:
    """Play and judge; the result as one JSON object. `result["faults"]` must be empty."""
    say(f"seed {form.seed}  transport {form.transport}  rounds {form.rounds}")
    async with scene(form.transport) as found:
        return await _play(found, form, say)


async def _play(found: Scene, form: Form, say: Callable[[str], None]) -> dict[str, Any]:
    began = time.monotonic()
    poster = load.Client(found.stack.port, TOKEN, connections=128)
    people = load.Client(found.stack.port, TOKEN, connections=16)
    ledger = Ledger(poster, form.seed)
    lives = Lives(ledger, people, form.lives)
    conductor = Conductor(found, ledger, form.seed, calm_s=form.calm_s, say=say)
    plan = conductor.plan(form.rounds, short=form.short, only=form.only)
    beside = [
        asyncio.create_task(ledger.post(form.rate)),
        asyncio.create_task(lives.run()),
        asyncio.create_task(_live_line(ledger, lives, conductor, len(plan), say)),
    ]
    try:
        await asyncio.sleep(3)
        playing = asyncio.create_task(conductor.play(plan))
        done, _ = await asyncio.wait({playing, *beside}, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            await task
        under_fire = time.monotonic() - began
        lives_over = asyncio.create_task(lives.stop())
        await ledger.stop()
        await lives_over
        await ledger.stop()
    finally:
        for task in beside:
            task.cancel()
        await asyncio.gather(*beside, return_exceptions=True)
    await poster.close()
    await people.close()
    say(f"{ledger.counts()}; {lives.ended} of {lives.begun} lives went to their end; waiting until all is applied …")
    await found.step_clock(0, stop=True)
    drained = [await _drained(found)]
    await found.step_clock(LAST_STEP_S)
    drained.append(await _drained(found))
    say(f"applied after {drained[0]:.0f} s, the last deadlines after {drained[1]:.0f} s; judging …")
    faults, differences = await _judge(found, ledger)
    result = _result(form, conductor.incidents, ledger, faults, differences)
    return result | {
        "lives": {"begun": lives.begun, "ended": lives.ended},
        "under_fire_s": round(under_fire),
        "drained_s": [round(seconds, 1) for seconds in drained],
        "seconds": round(time.monotonic() - began),
    }


async def _live_line(
    ledger: Ledger, lives: Lives, conductor: Conductor, planned: int, say: Callable[[str], None]
) -> None:
    began = time.monotonic()
    while True:
        await asyncio.sleep(LINE_EVERY_S)
        now = conductor.incidents[-1].name if conductor.incidents else "calm"
        say(
            f"{time.monotonic() - began:5.0f} s  {len(conductor.incidents)}/{planned} {now:<18}"
            f" stored {len(ledger.stored_appeals)}  writes {len(ledger.writes)}  lives {lives.ended}/{lives.begun}"
        )


async def _drained(found: Scene) -> float:
    """Wait until everything that is on its way has arrived, deadlines included; seconds."""
    began = time.monotonic()
    while time.monotonic() < began + DRAINED_WITHIN_S:
        if not await found.ready() and not await evidence.due_timers(found) and not await evidence.reconcile(found):
            break
        await asyncio.sleep(1)
    return time.monotonic() - began


async def _judge(found: Scene, ledger: Ledger) -> tuple[judge.Findings, dict[str, int]]:
    differences = await evidence.reconcile(found)
    business_now = await found.business_now()
    case = judge.Case()
    async for line in evidence.log_lines(found):
        case.read(line)
    findings = judge.verdict(ledger.writes, case, await evidence.tables(found, business_now), business_now)
    journal_ids = judge.journal(findings, case, [entry async for entry in evidence.journal_entries(found)])
    feed = await evidence.feed_ids(found)
    findings.add("feed is not the journal", f"{len(feed)} of {len(journal_ids)}", int(feed != journal_ids))
    await _look_at_some(found, ledger, findings)
    findings.examples["repeats in the log"] = [str(case.repeats)]
    findings.examples["events"] = [str(len(case.ids))]
    findings.examples["escalations"] = [str(sum(case.standing().values()))]
    return findings, differences


async def _look_at_some(found: Scene, ledger: Ledger, findings: judge.Findings) -> None:
    """A few hundred cases as the centre sees them: one order, and no event twice in the timeline."""
    ids = [appeal for _, appeal in ledger.stored_appeals]
    for appeal in ids[:: max(1, len(ids) // 200)]:
        case = await found.http.get(f"/v1/appeals/{appeal}")
        if case.status_code != 200 or len(case.json()["work_orders"]) != 1:
            findings.add("lost: case as the centre sees it", f"{appeal}: {case.status_code} {case.text[:200]}")
            continue
        items = (await found.http.get(f"/v1/appeals/{appeal}/timeline")).json()["items"]
        seen = Counter((item["time"], item["type"], item["words"]) for item in items)
        findings.each("doubled: line of a timeline", (f"{appeal} {what}" for what, n in seen.items() if n > 1))


def _result(
    form: Form, incidents: list[Incident], ledger: Ledger, faults: judge.Findings, differences: dict[str, int]
) -> dict[str, Any]:
    # the short form is a test, not a measurement: it runs beside other tests
    within = GIVE_UP_S if form.short else NORMAL_WITHIN_S
    slow = [one.name for one in incidents if one.seconds is None or one.seconds > within]
    seconds: dict[str, list[float]] = {}
    for one in incidents:
        if one.seconds is not None and one.not_possible is None:
            seconds.setdefault(one.name, []).append(one.seconds)
    every = [value for values in seconds.values() for value in values]
    by_check = dict(faults.counts)
    if slow:
        by_check["not back to normal in time"] = len(slow)
        faults.examples["not back to normal in time"] = slow
    return {
        "chaos": "short" if form.short else "long",
        **machine(),
        **asdict(form),
        "disturbances": dict(Counter(one.name for one in incidents if one.not_possible is None)),
        "not_possible": {one.name: one.not_possible for one in incidents if one.not_possible},
        **ledger.counts(),
        "appeals_accepted": len(ledger.stored_appeals),
        "events": int(faults.examples.pop("events")[0]),
        "repeats_in_the_log": int(faults.examples.pop("repeats in the log")[0]),
        "escalations": int(faults.examples.pop("escalations")[0]),
        **judge.totals(faults.counts),
        "reconcile_differences": sum(differences.values()),
        "faults": by_check | differences,
        "examples": {check: examples for check, examples in faults.examples.items() if by_check.get(check)},
        "back_to_normal_s": {
            "max": max(every, default=0.0),
            "p50": load.percentile(every, 0.5),
            "max_by_name": {name: max(values) for name, values in sorted(seconds.items())},
        },
    }
