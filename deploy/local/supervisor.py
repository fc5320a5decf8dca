"""Starts programs, watches them, starts a dead one again with back-off, and stops all of them.

One loop looks at all children ten times a second: simple, the same on every system, and nothing beside it to wait for.
"""

import asyncio
import subprocess
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from deploy.local.errors import StackError
from deploy.local.process import Identity, Program, spawn, stop, tail

LOOK_EVERY_S = 0.1
FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 10.0
STEADY_AFTER_S = 30.0
"""A program that ran this long starts with the first pause again."""


@dataclass
class Child:
    """One program and its present process."""

    program: Program
    process: "subprocess.Popen[bytes] | None" = None
    identity: Identity | None = None
    started_at: float = 0.0
    deaths: int = 0
    """Deaths in a row, each sooner than STEADY_AFTER_S after its start."""
    trouble: str | None = None
    """Why it is not running now; None while it runs."""
    start_at: float = field(default=0.0, repr=False)

    @property
    def pid(self) -> int | None:
        """Pid of the present process."""
        return self.process.pid if self.process is not None and self.trouble is None else None


class Supervisor:
    """Keeps a set of programs running until `stop_all`.

    `on_change` is called after every start and end of a process, so that stack.json stays true; `say` gets one line for
    every event. Use it in the main thread: children bound to their parent's life die with the thread that started them.
    """

    def __init__(
        self, *, on_change: Callable[[], None], say: Callable[[str], None], die_with_parent: bool = False
    ) -> None:
        self.children: dict[str, Child] = {}
        self._on_change = on_change
        self._say = say
        self._die_with_parent = die_with_parent
        self._stopping = False
        self._restarts: set[asyncio.Task[None]] = set()

    async def start(self, program: Program, *, within_s: float) -> None:
        """Start a program for the first time and wait until it is ready; raises StackError with the end of its log."""
        if program.before_start is not None:
            await asyncio.to_thread(program.before_start)
        child = Child(program)
        self.children[program.name] = child
        self._spawn(child)
        give_up = time.monotonic() + within_s
        while not await program.is_ready():
            exited = child.process.poll() if child.process is not None else None
            if exited is not None or time.monotonic() > give_up:
                what = f"ended with status {exited}" if exited is not None else f"was not ready within {within_s:.0f} s"
                raise StackError(f"{program.name} {what}. The end of {program.log}:\n{tail(program.log)}")
            await asyncio.sleep(0.05)

    def identities(self) -> list[Identity]:
        """Every process that runs now."""
        return [
            child.identity for child in self.children.values() if child.identity is not None and child.pid is not None
        ]

    def troubles(self) -> dict[str, str]:
        """Programs that are not running now, and why."""
        return {name: child.trouble for name, child in self.children.items() if child.trouble is not None}

    async def watch(self) -> None:
        """Run for ever: notice deaths and start again."""
        while not self._stopping:
            now = time.monotonic()
            for child in self.children.values():
                if child.trouble is None and child.process is not None:
                    exited = child.process.poll()
                    if exited is not None:
                        self._died(child, exited, now)
                elif child.trouble is not None and child.start_at <= now:
                    child.start_at = float("inf")  # one attempt at a time
                    task = asyncio.create_task(self._start_again(child))
                    self._restarts.add(task)
                    task.add_done_callback(self._restarts.discard)
            await asyncio.sleep(LOOK_EVERY_S)

    async def stop_all(self, order: Iterable[str] = ()) -> None:
        """Stop every program: first those that `order` does not name, together; then the named ones one by one."""
        self._stopping = True
        for task in list(self._restarts):
            task.cancel()
        await asyncio.gather(*self._restarts, return_exceptions=True)
        named = [name for name in order if name in self.children]
        await asyncio.gather(*(self._stop(child) for name, child in self.children.items() if name not in named))
        for name in named:
            await self._stop(self.children[name])

    def _spawn(self, child: Child) -> None:
        child.process = spawn(child.program, die_with_parent=self._die_with_parent)
        child.identity = Identity.of(child.program.name, child.process.pid)
        child.started_at = time.monotonic()
        child.trouble = None
        self._on_change()

    def _died(self, child: Child, status: int, now: float) -> None:
        child.deaths = 1 if now - child.started_at > STEADY_AFTER_S else child.deaths + 1
        how = f"was killed by signal {-status}" if status < 0 else f"ended with status {status}"
        self._pause(child, f"{how}", now)
        self._on_change()

    def _pause(self, child: Child, why: str, now: float) -> None:
        pause = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2 ** (child.deaths - 1))
        child.trouble = why
        child.start_at = now + pause
        self._say(f"{child.program.name} {why}; starting it again in {pause:.1f} s")

    async def _start_again(self, child: Child) -> None:
        try:
            if child.program.before_start is not None:
                await asyncio.to_thread(child.program.before_start)
            self._spawn(child)
        except (StackError, OSError) as error:
            child.deaths += 1
            self._pause(child, str(error), time.monotonic())
        else:
            self._say(f"{child.program.name} runs again, pid {child.pid}")

    @staticmethod
    async def _stop(child: Child) -> None:
        if child.process is not None:
            await stop(child.process, child.program)
