"""An event loop whose clock stands still until it is told to jump, and that says when nothing can go on by itself.

Sleeps cost nothing. The network is real (the statements of PostgreSQL go through it), and only statements that are on
their way make the loop wait for it.
"""

import asyncio
import heapq
import selectors
from collections.abc import Callable, Mapping

PATIENCE_S = 0.002
"""real seconds without an answer before somebody asks PostgreSQL whether the statement waits for a lock"""
SURE_S = 1.0
"""the same when nobody is known to hold one"""


class _Selector(selectors.DefaultSelector):
    """Looks at the network only for statements on their way; otherwise wakes who waits for quiet."""

    in_flight = 0
    """statements that will answer without anybody's help"""
    quiet: "asyncio.Future[bool] | None" = None
    may_wait = True
    """whether a statement on its way may be waiting for a lock"""
    at_once: "Callable[[], bool] | None" = None
    """chooses what happens next when that needs no waiting; False: it does"""

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is not None and timeout <= 0:
            return []  # tasks go first, as far as they can: what the network has to say may wait
        if self.in_flight or self.quiet is None:
            events = super().select(PATIENCE_S if self.may_wait and self.quiet is not None else SURE_S)
            if events or self.quiet is None:
                return events
        elif self.at_once is not None and self.at_once():
            return []
        waiter, self.quiet = self.quiet, None
        waiter.set_result(self.in_flight == 0)
        return []


class SimulatedLoop(asyncio.SelectorEventLoop):
    """`time()` is virtual; `settled` resolves when no task can run; `jump` moves the clock to the next timer."""

    def __init__(self) -> None:
        self.instant = 0.0
        self.network = _Selector()
        super().__init__(self.network)
        self.set_exception_handler(_say_nothing)

    def time(self) -> float:
        return self.instant

    async def settled(self, at_once: Callable[[], bool] | None = None) -> bool:
        """Wait until no task can run. False: a statement is on its way that takes longer than `PATIENCE_S`.
        `at_once` may choose what happens next without waking who waits here."""
        self.network.quiet = self.create_future()
        self.network.at_once = at_once
        return await self.network.quiet

    def next_timer(self) -> float | None:
        """The instant at which the next sleep ends."""
        timers = self._scheduled  # type: ignore[attr-defined]
        while timers and timers[0]._cancelled:
            timers[0]._scheduled = False
            self._timer_cancelled_count -= 1  # type: ignore[attr-defined]
            heapq.heappop(timers)
        return float(timers[0]._when) if timers else None

    def jump(self, instant: float) -> None:
        """It is `instant` now: sleeps up to it end."""
        self.instant = max(self.instant, instant)


def _say_nothing(_loop: asyncio.AbstractEventLoop, _context: Mapping[str, object]) -> None:
    """Tasks of dead processes leave exceptions behind that nobody reads."""
