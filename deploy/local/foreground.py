"""Runs one program of a stack alone, for tests or a look: says in one line that it is ready, ends with its parent."""

import asyncio
import contextlib
import signal
import sys
from collections.abc import Callable

from deploy.local.errors import StackError
from deploy.local.process import Program, spawn, stop, tail

READY_WITHIN_S = 60.0


def run_in_foreground(make: Callable[[], Program], ready_line: Callable[[], str]) -> None:
    """Start, print `ready_line()` once ready, wait for SIGINT, SIGTERM or the program's end; exits the interpreter."""
    try:
        sys.exit(asyncio.run(_run(make(), ready_line)))
    except StackError as error:
        print(f"sushu: {error}", file=sys.stderr)
        sys.exit(1)


async def _run(program: Program, ready_line: Callable[[], str]) -> int:
    asked_to_end = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, asked_to_end.set)
    if program.before_start is not None:
        await asyncio.to_thread(program.before_start)
    process = spawn(program, die_with_parent=True)
    try:
        give_up = loop.time() + READY_WITHIN_S
        while not asked_to_end.is_set() and not await program.is_ready():
            if process.poll() is not None or loop.time() > give_up:
                raise StackError(f"{program.name} did not start. The end of {program.log}:\n{tail(program.log)}")
            await asyncio.sleep(0.05)
        if not asked_to_end.is_set():
            print(ready_line(), flush=True)
        while process.poll() is None:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(asked_to_end.wait(), 0.1)
                break
        return 0 if asked_to_end.is_set() else 1
    finally:
        await stop(process, program)
