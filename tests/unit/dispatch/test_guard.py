"""A rule that is slow, stuck or cannot be stopped delays nobody for long."""

import json
import subprocess
import sys
import textwrap
import time
from dataclasses import dataclass

import pytest

from services.dispatch.domain import Case, Context, HandlingClass, Outcome, Pass, Proposal, decide
from services.dispatch.rules import guard as guard_module
from services.dispatch.rules.guard import SLOW_S, TIMES, Guard
from services.dispatch.rules.last_resort import LastResort
from services.dispatch.testing import NOON, demo_context

CASE = Case("a", "01010101", HandlingClass.GENERAL, NOON, region_code="460106001")


@dataclass
class Dawdler:
    """Answers after a while, by sleeping or by working."""

    seconds: float
    works: bool = False
    name: str = "dawdler"

    def propose(self, case: Case, context: Context) -> Proposal | Pass:
        if self.works:
            end = time.thread_time() + self.seconds  # of its own: others may have the machine in between
            while time.thread_time() < end:
                pass
        else:
            time.sleep(self.seconds)
        return Pass("想了很久。")


class Endless:
    """Never returns, and holds up every exception that it can."""

    name = "endless"

    def propose(self, case: Case, context: Context) -> Proposal | Pass:
        while True:
            try:
                time.sleep(0)
            except Exception:
                continue


def outcomes(guard: Guard, *rules: object) -> list[Outcome]:
    with guard.watching():
        decision = decide([*rules, LastResort()], CASE, demo_context(), guard.ask)  # type: ignore[list-item]
    return [answer.outcome for answer in decision.answers]


@pytest.mark.parametrize("works", [True, False])
def test_a_slow_rule_is_switched_off_the_third_time(works: bool) -> None:
    guard, rule = Guard(), Dawdler(SLOW_S * 1.3, works)
    for _ in range(TIMES):
        assert outcomes(guard, rule) == [Outcome.PASSED, Outcome.CHOSEN]
    assert outcomes(guard, rule) == [Outcome.OFF, Outcome.CHOSEN]
    assert guard.unsaved == guard.off
    assert "50 毫秒" in guard.off["dawdler"]


def test_a_quick_rule_is_asked_for_ever() -> None:
    guard = Guard()
    for _ in range(10 * TIMES):
        assert outcomes(guard, Dawdler(0.0)) == [Outcome.PASSED, Outcome.CHOSEN]
    assert guard.figures["dawdler"].slow == 0


def test_a_busy_machine_is_not_held_against_a_rule(monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock on the wall goes on while the thread does not run: neither work nor sleep of the rule."""
    now = iter([0.0, 0.2])
    monkeypatch.setattr("services.dispatch.rules.guard.time.perf_counter", lambda: next(now, 1.0))
    guard = Guard()
    guard.ask(Dawdler(0.0, works=True), CASE, demo_context())
    assert guard.figures["dawdler"].slow == 0


def test_a_rule_that_does_not_return_is_interrupted_and_the_chain_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard_module, "STUCK_S", 0.2)
    guard = Guard()
    began = time.monotonic()
    assert outcomes(guard, Endless()) == [Outcome.FAILED, Outcome.CHOSEN]
    assert time.monotonic() - began < 2
    assert outcomes(guard, Endless()) == [Outcome.OFF, Outcome.CHOSEN]


def test_two_stuck_rules_are_both_interrupted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard_module, "STUCK_S", 0.2)
    again = Endless()
    again.name = "endless_again"
    assert outcomes(Guard(), Endless(), again) == [Outcome.FAILED, Outcome.FAILED, Outcome.CHOSEN]


def test_a_rule_that_cannot_be_interrupted_is_written_down_and_ends_the_process() -> None:
    program = textwrap.dedent(
        """
        import json, sys
        from services.dispatch.rules import guard as module
        module.STUCK_S, module.HOPELESS_S, module.LOOK_S = 0.1, 0.5, 0.05
        from tests.unit.dispatch.test_guard import outcomes

        class Hopeless:
            name = "hopeless"
            def propose(self, case, context):
                while True:
                    try:
                        while True:
                            pass
                    except BaseException:
                        pass

        guard = module.Guard()
        guard.watch_from_outside(lambda rule, why: print(json.dumps([rule, why]), flush=True))
        outcomes(guard, Hopeless())
        print("it came back")
        """
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == guard_module.EXIT_STATUS, done.stderr
    rule, why = json.loads(done.stdout)
    assert rule == "hopeless"
    assert "无法中断" in why


def test_a_rule_that_raises_is_failed_and_asked_again() -> None:
    class Broken:
        name = "broken"

        def propose(self, case: Case, context: Context) -> Proposal | Pass:
            raise ZeroDivisionError

    guard = Guard()
    for _ in range(5):
        assert outcomes(guard, Broken()) == [Outcome.FAILED, Outcome.CHOSEN]
    assert guard.figures["broken"].failed == 5
