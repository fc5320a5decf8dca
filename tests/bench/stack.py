"""A stack of its own for a bench or a system test: started as a user would, on free ports and an empty data folder."""

import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any, NoReturn

import psutil

from deploy.local import ports
from tools.seed.cost import load_average

ROOT = Path(__file__).parents[2]
CATCHES_UP_S = 1.5
"""after a rest"""
TOKEN = "bench-admin-token-0123456789abcdef"  # a stack of our own on loopback


@dataclass
class Stack:
    """A running stack."""

    transport: str
    folder: Path
    port: int

    @property
    def facts(self) -> dict[str, Any]:
        """`stack.json`."""
        found: dict[str, Any] = json.loads((self.folder / "stack.json").read_text())
        return found

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def processes(self) -> dict[str, list[psutil.Process]]:
        """Processes by name, children included."""
        found: dict[str, list[psutil.Process]] = {}
        seen: set[int] = set()
        for name, pids in self.facts["pids"].items():
            for pid in pids if isinstance(pids, list) else [pids]:
                if not pid or pid in seen or not psutil.pid_exists(pid):
                    continue
                process = psutil.Process(pid)
                own = [process] + (process.children(recursive=True) if name in ("postgres", "kafka") else [])
                seen.update(one.pid for one in own)
                one_process = self.transport == "embedded" and name != "postgres"
                found.setdefault("hub" if one_process else name, []).extend(own)
        return found

    @contextmanager
    def resting(self) -> Iterator[None]:
        """While the block runs, none of the stack's processes computes."""
        supervisor = psutil.Process(self.facts["supervisor"])
        processes = [supervisor, *supervisor.children(recursive=True)]
        try:
            for process in processes:
                with suppress(psutil.NoSuchProcess):
                    process.suspend()
            yield
        finally:
            for process in processes:
                with suppress(psutil.NoSuchProcess):
                    process.resume()
            time.sleep(CATCHES_UP_S)

    def cpu_ms(self) -> dict[str, float]:
        """CPU milliseconds used so far, by process name."""
        used: dict[str, float] = {}
        for name, processes in self.processes().items():
            for process in processes:
                try:
                    times = process.cpu_times()
                except psutil.NoSuchProcess:
                    continue
                used[name] = used.get(name, 0.0) + (times.user + times.system) * 1000
        return used

    def rss_mb(self) -> dict[str, float]:
        """Resident memory in MB, by process name (for PostgreSQL: unique memory is smaller, pages are shared)."""
        return {
            name: round(sum(process.memory_info().rss for process in processes if process.is_running()) / 1e6, 1)
            for name, processes in self.processes().items()
        }


def free_port() -> int:
    """A port with free neighbours (Kafka takes the next two), none that the system gives to outgoing connections."""
    while True:
        port = ports.free_port()
        if all(ports.is_free(port + near) for near in range(1, 4)):
            return port


def environment(folder: Path, port: int, extra: Mapping[str, str]) -> dict[str, str]:
    return {
        **os.environ,
        "SUSHU_PORT": str(port),
        "SUSHU_DATA_DIR": str(folder),
        "SUSHU_ADMIN_TOKEN": TOKEN,
        "SUSHU_DEMO_STREAM": "off",
        "SUSHU_PUBLIC_RATE": "0",
        **extra,
    }


def wait_ready(stack: Stack, process: subprocess.Popen[bytes] | None, seconds: float) -> None:
    """Until `GET /health/ready` answers 200. Raises `RuntimeError` with the last reasons."""
    deadline = time.monotonic() + seconds
    last = "no answer"
    while time.monotonic() < deadline:
        if process is not None and process.poll() is not None:
            raise RuntimeError(f"the stack ended with status {process.returncode}")
        try:
            with urllib.request.urlopen(f"{stack.url}/health/ready", timeout=5) as answer:
                if answer.status == 200:
                    return
        except (OSError, HTTPException) as error:  # it may be killed while it answers
            last = str(error)
        time.sleep(0.1)
    raise RuntimeError(f"the stack was not ready after {seconds} s: {last}")


@contextmanager
def running(
    transport: str = "embedded", folder: Path | None = None, port: int | None = None, **extra: str
) -> Iterator[Stack]:
    """A stack on `transport` (embedded: `make run`; kafka: `make up`), ended at the end; a given `folder` is kept."""
    own = folder is None
    target = folder or Path(tempfile.mkdtemp(prefix="sushu-bench-"))
    stack = Stack(transport, target, port or free_port())
    variables = environment(target, stack.port, extra)
    process: subprocess.Popen[bytes] | None = None
    output = (target.parent / f"{target.name}.out").open("ab")
    ended_by_signal = signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # ends the stack on the way out, too
    try:
        if transport == "embedded":
            process = subprocess.Popen(
                [sys.executable, "-m", "deploy.local", "run"], cwd=ROOT, env=variables, stdout=output, stderr=output
            )
            wait_ready(stack, process, 180)
        else:
            subprocess.run(
                [sys.executable, "-m", "deploy.local", "up"],
                cwd=ROOT,
                env=variables,
                stdout=output,
                stderr=output,
                check=True,
                timeout=240,
            )
            wait_ready(stack, None, 60)
        yield stack
    finally:
        if process is not None:
            if process.poll() is None:
                process.terminate()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
        else:
            subprocess.run(
                [sys.executable, "-m", "deploy.local", "down"],
                cwd=ROOT,
                env=variables,
                stdout=output,
                stderr=output,
                check=False,
                timeout=120,
            )
        output.close()
        signal.signal(signal.SIGTERM, ended_by_signal)
        if own:
            shutil.rmtree(target, ignore_errors=True)
            (target.parent / f"{target.name}.out").unlink(missing_ok=True)


def machine() -> dict[str, Any]:
    """What a figure was measured on."""
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False
    ).stdout.strip()
    model = ""
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                model = line.split(":", 1)[1].strip()
                break
    return {
        "cores": os.cpu_count(),
        "cpu": model or platform.processor(),
        "memory_gb": round(psutil.virtual_memory().total / 1e9, 1),
        "python": platform.python_version(),
        "commit": commit,
    }


def tell(bench: str, figures: Mapping[str, Any], *, held: bool) -> NoReturn:
    """Print the figures as the last line, a JSON object, and end: with status 1 when the bar is missed."""
    told = {"bench": bench, **machine(), "load_average": load_average(), **figures, "bar_held": held}
    print(json.dumps(told, ensure_ascii=False))
    sys.exit(not held)
