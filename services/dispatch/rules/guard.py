"""Asks the rules of the chain and keeps any of them from delaying everybody's cases (domain.md, Dispatch 1).

A rule runs in the worker's own thread, so one that is slow makes all wait, and one that never returns stops the worker.
Slower than `SLOW_S`: recorded, and switched off the third time. Not back after `STUCK_S`: interrupted, switched off.
One that cannot be interrupted either: written down as switched off, and the process ends, to be started again by
whoever keeps it running. What is off stays off in every replica until a person switches it on.
"""

from __future__ import annotations

import asyncio
import faulthandler
import logging
import os
import resource
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType

from prometheus_client import Counter

from services.dispatch.domain.case import Case
from services.dispatch.domain.routing import Context, Pass, Proposal, RoutingRule, SwitchedOff

log = logging.getLogger(__name__)

SLOW = Counter("sushu_routing_rule_slow_total", "Answers of a rule that took longer than 50 ms", ["rule"])

SLOW_S = 0.05
TIMES = 3
STUCK_S = 2.0
HOPELESS_S = 6.0
"""an interrupted rule that has still not ended by then cannot be stopped from inside"""
LOOK_S = 0.5
EXIT_STATUS = 70
"""EX_SOFTWARE of sysexits.h"""


class Stuck(BaseException):
    """Raised inside a rule that does not return; no `except Exception` of the rule holds it up."""


@dataclass(slots=True)
class Figures:
    """How a rule has done in this process."""

    asked: int = 0
    seconds: float = 0.0
    slow: int = 0
    failed: int = 0


class _Begun(threading.local):
    """Since this thread asks about `case`: how long it had worked and how often let go of the processor before."""

    case: Case | None = None
    worked = 0.0
    switches = 0


@dataclass(slots=True)
class Guard:
    """One for the chain of a process."""

    off: dict[str, str] = field(default_factory=dict)
    """rules that are not asked, and why"""
    figures: dict[str, Figures] = field(default_factory=dict)
    news: asyncio.Event = field(default_factory=asyncio.Event)
    """set when a rule was switched off here and the database does not know yet"""
    unsaved: dict[str, str] = field(default_factory=dict)
    _asking: tuple[str, float] | None = None
    _begun: _Begun = field(default_factory=_Begun)

    def ask(self, rule: RoutingRule, case: Case, context: Context) -> Proposal | Pass:
        """The rule's answer. Raises what the rule raises, `SwitchedOff`, and `TimeoutError` for one that is stuck."""
        name = rule.name
        if name in self.off:
            raise SwitchedOff(self.off[name])
        figures = self.figures.setdefault(name, Figures())
        begun = self._begun
        if case is not begun.case:  # two system calls a case, not two a rule
            begun.case, begun.worked, begun.switches = case, time.thread_time(), _switches()
        began = time.perf_counter()
        try:
            self._asking = name, time.monotonic()
            answer = rule.propose(case, context)
            self._asking = None
        except Stuck:
            self._asking = None
            self.turn_off(name, f"没有在 {STUCK_S:g} 秒内给出答复，已停用。")
            _arm()  # for the rules behind it
            raise TimeoutError(f"no answer within {STUCK_S:g} s: switched off") from None
        except Exception:
            figures.failed += 1
            raise
        finally:
            self._asking = None
            seconds = time.perf_counter() - began
            figures.asked += 1
            figures.seconds += seconds
            if seconds > SLOW_S:
                own, slept = time.thread_time() - begun.worked > SLOW_S / 2, _switches() > begun.switches
                if own or slept:  # else the machine was busy with others
                    self._was_slow(name, figures, seconds)
                begun.case = None  # the rules behind it have not used its time
        return answer

    def _was_slow(self, name: str, figures: Figures, seconds: float) -> None:
        figures.slow += 1
        SLOW.labels(name).inc()
        log.warning("a routing rule was slow", extra={"rule": name, "ms": round(seconds * 1000)})
        if figures.slow >= TIMES and name not in self.off:
            self.turn_off(name, f"{TIMES} 次超过 {SLOW_S * 1000:.0f} 毫秒，已停用。")

    def turn_off(self, name: str, why: str) -> None:
        """Ask it no more, here at once, elsewhere as soon as that is stored."""
        log.error("a routing rule is switched off", extra={"rule": name, "why": why})
        self.off[name] = why
        self.unsaved[name] = why
        self.news.set()

    def turned_on(self, name: str) -> None:
        """A person switched it on: what it did before is forgiven."""
        if name in self.figures:
            self.figures[name].slow = 0

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Interrupt a rule that is asked inside and does not return. In the main thread alone, where workers are."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = signal.signal(signal.SIGALRM, self._interrupt)
        _arm()
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)

    def _interrupt(self, _number: int, _frame: FrameType | None) -> None:
        if self._asking is not None:
            raise Stuck

    def watch_from_outside(self, save: Callable[[str, str], None]) -> None:
        """Start the thread that ends the process when a rule cannot be interrupted. `save(rule, why)` stores that it is
        off, in that thread, before the end."""

        def look() -> None:
            while True:
                time.sleep(LOOK_S)
                asking = self._asking
                if asking is None or time.monotonic() - asking[1] < HOPELESS_S:
                    continue
                name = asking[0]
                log.critical("a routing rule cannot be stopped: the process ends", extra={"rule": name})
                try:
                    save(name, f"没有在 {HOPELESS_S:g} 秒内给出答复且无法中断，已停用。")
                except Exception:
                    log.exception("that the rule is off could not be stored", extra={"rule": name})
                faulthandler.dump_traceback(file=2)
                os._exit(EXIT_STATUS)

        threading.Thread(target=look, name="rule-watchdog", daemon=True).start()


def _switches() -> int:
    """How often this thread let go of the processor by itself."""
    return resource.getrusage(resource.RUSAGE_THREAD).ru_nvcsw


def _arm() -> None:
    signal.setitimer(signal.ITIMER_REAL, STUCK_S)
