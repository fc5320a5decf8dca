"""One process of a stack: how to start it, how to know that it is still the same one, how to end it."""

import asyncio
import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import psutil

_SAME_START_S = 2.0
"""Two readings of one process's start time may differ by this much after the system clock was stepped."""
_PR_SET_PDEATHSIG = 1


_COMMAND_S = 2.0


def _command(process: psutil.Process) -> str:
    """The command line. In the instant of its `exec` a process shows none: that instant is waited out."""
    give_up = time.monotonic() + _COMMAND_S
    while not (words := process.cmdline()) and time.monotonic() < give_up:
        if process.status() == psutil.STATUS_ZOMBIE:
            break
        time.sleep(0.005)
    return " ".join(words)[:500]


@dataclass(frozen=True)
class Identity:
    """A process that cannot be mistaken for a later one with the same pid."""

    name: str
    pid: int
    started: float
    command: str

    @classmethod
    def of(cls, name: str, pid: int) -> Self | None:
        """Identity of a running process, None when there is none."""
        try:
            process = psutil.Process(pid)
            return cls(name, pid, process.create_time(), _command(process))
        except psutil.Error:
            return None

    def is_running(self) -> bool:
        """True when this very process lives; a stranger with its pid does not count, nor does a zombie."""
        try:
            process = psutil.Process(self.pid)
            return (
                process.status() != psutil.STATUS_ZOMBIE
                and abs(process.create_time() - self.started) < _SAME_START_S
                and _command(process) == self.command
            )
        except psutil.Error:
            return False

    def send(self, signal_number: int) -> None:
        """Signal this process if it still is the same one."""
        if self.is_running():
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal_number)

    def to_json(self) -> dict[str, Any]:
        return {"name": self.name, "pid": self.pid, "started": self.started, "command": self.command}

    @classmethod
    def from_json(cls, entry: Mapping[str, Any]) -> Self:
        return cls(str(entry["name"]), int(entry["pid"]), float(entry["started"]), str(entry["command"]))


def services_of(data_dir: str) -> list[Identity]:
    """Service processes of a data folder by their environment: also one that a supervisor had started and was killed
    before it could record it."""
    found: list[Identity] = []
    for process in psutil.process_iter():
        try:
            command = process.cmdline()
            module = next((word for word in command if word.startswith("services.")), None)
            if module and "-m" in command and process.environ().get("SUSHU_DATA_DIR") == data_dir:
                identity = Identity.of(module.removeprefix("services."), process.pid)
                if identity is not None:
                    found.append(identity)
        except psutil.Error:
            continue
    return found


def end_all(processes: Iterable[Identity], *, patience_s: float = 20.0) -> list[Identity]:
    """Ask recorded processes to stop, kill those that stay; returns the ones that were running.

    PostgreSQL reads SIGTERM as "wait for clients", so it gets SIGINT, its fast shutdown.
    """
    running = [process for process in processes if process.is_running()]
    for process in running:
        process.send(signal.SIGINT if process.name == "postgres" else signal.SIGTERM)
    give_up = time.monotonic() + patience_s
    while any(process.is_running() for process in running) and time.monotonic() < give_up:
        time.sleep(0.05)
    for process in running:
        process.send(signal.SIGKILL)
    give_up = time.monotonic() + 5
    while any(process.is_running() for process in running) and time.monotonic() < give_up:
        time.sleep(0.02)
    return running


async def _at_once() -> bool:
    return True


@dataclass(frozen=True)
class Program:
    """What a supervisor starts and keeps running."""

    name: str
    argv: tuple[str, ...]
    log: Path
    env: Mapping[str, str] | None = None
    """Whole environment; None passes on the present one."""
    user: tuple[int, int] | None = None
    """uid and gid to run as; None keeps the present ones."""
    before_start: Callable[[], None] | None = None
    """Called, in a thread, before every start and restart: clears what a killed one left behind."""
    is_ready: Callable[[], Awaitable[bool]] = _at_once
    stop_signal: signal.Signals = signal.SIGTERM
    stop_patience_s: float = 15.0


def _die_with_parent(stop_signal: signal.Signals) -> Callable[[], None] | None:
    if not sys.platform.startswith("linux"):
        return None  # elsewhere the next start ends the leftover
    prctl = ctypes.CDLL(None, use_errno=True).prctl

    def before_exec() -> None:
        prctl(_PR_SET_PDEATHSIG, int(stop_signal), 0, 0, 0)

    return before_exec


def spawn(program: Program, *, die_with_parent: bool = False) -> "subprocess.Popen[bytes]":
    """Start the program, output appended to its log, own session (a Ctrl-C in the terminal does not reach it)."""
    uid, gid = program.user or (None, None)
    with program.log.open("ab") as log:
        return subprocess.Popen(  # noqa: S603 - the command line is ours
            program.argv,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=None if program.env is None else dict(program.env),
            user=uid,
            group=gid,
            extra_groups=[] if program.user else None,
            start_new_session=True,
            preexec_fn=_die_with_parent(program.stop_signal) if die_with_parent else None,
        )


async def stop(process: "subprocess.Popen[bytes]", program: Program) -> None:
    """Ask the program to end, kill it after its patience; returns when it is gone."""
    if process.poll() is None:
        process.send_signal(program.stop_signal)
    give_up = time.monotonic() + program.stop_patience_s
    while process.poll() is None:
        if time.monotonic() > give_up:
            process.kill()
        await asyncio.sleep(0.02)


def tail(log: Path, lines: int = 12) -> str:
    """The last lines of a log, to show why a program did not start."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - 20_000))
            return "\n".join(file.read().decode("utf-8", "replace").splitlines()[-lines:])
    except FileNotFoundError:
        return ""
